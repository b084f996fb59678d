package meta

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

var stepOutcomes = map[string]error{"ok": nil, "malformed": ErrMalformed}

// stepVectors are the same on every run.
func stepVectors() (all []vectortest.Vector) {
	add := func(name, expect, comment string, b []byte) {
		all = append(all, vectortest.New(name, expect, comment, vectortest.Line("hex", b)))
	}
	at := Time{Sec: 1_750_000_000, Nsec: 123_456_789}
	ref := Ref{Home: Root, Ino: MakeIno(1, 7)}
	file := func() *restore {
		return &restore{
			ref: ref, parent: RootRef, name: []byte("report.odt"),
			inode:   Inode{Kind: File, Perm: 0o644, UID: 1000, GID: 1000, Nlink: 2, Size: 9000, Version: Stamp{Device: 1, No: 5}.Version(), Atime: at, Mtime: at, Ctime: at, Btime: at},
			extents: []Extent{{Off: 0, Len: 4096, Pack: MakePack(1, 1), PackOff: 70}, {Off: 5000, Len: 4000, Pack: MakePack(2, 3)}},
			xattrs:  []KV{{[]byte("user.a"), []byte("1")}, {[]byte("user.b"), nil}},
		}
	}
	with := func(change func(o *restore)) []byte {
		o := file()
		change(o)
		return EncodeStep(o)
	}
	good := EncodeStep(file())
	add("restore-file", "ok", "two extents with a hole between, two attributes", good)
	add("restore-bare", "ok", "an empty file without attributes", with(func(o *restore) { o.inode.Size, o.extents, o.xattrs = 0, nil, nil }))
	add("restore-dir", "ok", "", with(func(o *restore) {
		o.inode.Kind, o.inode.Size, o.inode.Parent, o.inode.Nlink, o.extents = Dir, 0, RootRef, 2, nil
	}))
	add("restore-symlink", "ok", "", with(func(o *restore) {
		o.inode.Kind, o.inode.Size, o.inode.Target, o.extents = Symlink, 0, []byte("a/b"), nil
	}))
	add("restore-long-name", "ok", "255 bytes", with(func(o *restore) { o.name = []byte(strings.Repeat("n", MaxName)) }))
	mine := &record{Conflict{Kind: ConflictCopy, Ours: ref, Theirs: Ref{Home: Root, Ino: MakeIno(2, 7)}, Parent: RootRef, Name: []byte("a"), As: []byte("a (conflict)"), Time: at}, 3}
	add("record", "ok", "the fourth of its operation", EncodeStep(mine))
	add("record-bare", "ok", "no names and no inode of theirs", EncodeStep(&record{Conflict{Kind: ConflictLost, Ours: ref, Time: at}, math.MaxUint8}))
	add("operation", "ok", "an operation stands for itself", EncodeStep(&Removexattr{Ref: ref, Name: []byte("user.a")}))

	add("restore-filled", "ok", "fills have brought what lies before", with(func(o *restore) { o.filled = true }))
	brought := &fill{ref.Ino, []Extent{{Off: 0, Len: 4096, Pack: MakePack(1, 1), PackOff: 70}, {Off: 5000, Len: 4000, Pack: MakePack(2, 3)}}}
	add("fill", "ok", "two extents with a hole between", EncodeStep(brought))

	add("bad-filled-dir", "malformed", "", with(func(o *restore) {
		o.inode.Kind, o.inode.Size, o.inode.Parent, o.inode.Nlink, o.extents, o.filled = Dir, 0, RootRef, 2, nil, true
	}))
	add("bad-fill-empty", "malformed", "", EncodeStep(&fill{ino: ref.Ino}))
	add("bad-fill-root", "malformed", "", EncodeStep(&fill{Root, brought.extents}))
	add("bad-fill-short", "malformed", "", EncodeStep(brought)[:20])
	add("bad-fill-trailing", "malformed", "", append(EncodeStep(brought), 0))
	add("bad-fill-long", "malformed", "an extent more than an operation has", func() []byte {
		o := &fill{ino: ref.Ino}
		for i := range uint64(MaxExtents + 1) {
			o.extents = append(o.extents, Extent{Off: i, Len: 1, Pack: MakePack(1, 1)})
		}
		return EncodeStep(o)
	}())
	add("bad-empty", "malformed", "", nil)
	add("bad-code", "malformed", "no step has the code 0x82", append([]byte{0x82}, good[1:]...))
	add("bad-short", "malformed", "", good[:len(good)-1])
	add("bad-trailing", "malformed", "", append(bytes.Clone(good), 0))
	add("bad-root", "malformed", "the root is never made again", with(func(o *restore) { o.ref = RootRef }))
	add("bad-name", "malformed", "a name with a slash", with(func(o *restore) { o.name = []byte("a/b") }))
	add("bad-no-links", "malformed", "", with(func(o *restore) { o.inode.Nlink = 0 }))
	add("bad-beyond-size", "malformed", "an extent behind the end", with(func(o *restore) { o.inode.Size = 8999 }))
	add("bad-extents-of-dir", "malformed", "", with(func(o *restore) { o.inode.Kind, o.inode.Size, o.inode.Parent = Dir, 0, RootRef }))
	add("bad-extent-empty", "malformed", "", with(func(o *restore) { o.extents[0].Len = 0 }))
	add("bad-attribute-order", "malformed", "", with(func(o *restore) { o.xattrs[0], o.xattrs[1] = o.xattrs[1], o.xattrs[0] }))
	add("bad-attribute-twice", "malformed", "", with(func(o *restore) { o.xattrs[1].Key = o.xattrs[0].Key }))
	add("bad-attribute-count", "malformed", "2^63 attributes in no bytes", append(with(func(o *restore) { o.xattrs = nil })[:len(with(func(o *restore) { o.xattrs = nil }))-1], 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1))
	add("bad-record-short", "malformed", "", []byte{byte(codeRecord)})
	add("bad-record-kind", "malformed", "", func() []byte { b := EncodeStep(mine); b[2] = 0; return b }())
	return all
}

func TestStepVectorFiles(t *testing.T) { vectortest.Keep(t, "step", stepVectors()) }

func TestStepVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "step") {
		c, err := DecodeStep(v.Bytes(t, "hex"))
		v.Check(t, stepOutcomes, err)
		if err == nil && !bytes.Equal(EncodeStep(c), v.Bytes(t, "hex")) {
			t.Errorf("%s encodes to %x", v.Name, EncodeStep(c))
		}
	}
	if _, err := DecodeStep(make([]byte, MaxStep+1)); !errors.Is(err, ErrMalformed) {
		t.Errorf("longer than any step: %v", err)
	}
}

func FuzzDecodeStep(f *testing.F) {
	for _, v := range vectortest.Read(f, "step") {
		f.Add(v.Bytes(f, "hex"))
	}
	same := func(i Ino) Ino { return i }
	packs := func(p PackNo) PackNo { return p }
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeStep(b)
		if err != nil {
			return
		}
		if again := EncodeStep(c); !bytes.Equal(again, b) {
			t.Errorf("%x is not canonical: %x", b, again)
		}
		_ = Contents(c)
		if again := EncodeStep(RenumberStep(c, same, packs)); !bytes.Equal(again, b) {
			if o, ok := c.(*restore); !ok || o.inode.Kind != Dir || o.inode.Parent == o.parent {
				t.Errorf("%x with the same numbers is %x", b, again)
			}
		}
	})
}
