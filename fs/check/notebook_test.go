package check

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/vectortest"
	"github.com/hushfs/hushfs/store"
)

func (w *world) notebook(path string, want Title, restart bool) *Notebook {
	w.t.Helper()
	u := w.drive()
	defer u.Wipe()
	n, err := OpenNotebook(path, u.Root(), u.ID, want, restart)
	must(w.t, err)
	return n
}

const now = 1_800_000_000

// A check that was interrupted reads the rest, and only that; and what was found bad is
// found again.
func TestInterruptedCheckGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 12 {
		w.write(string(rune('a'+i)), pattern(byte(i), 300_000))
	}
	bad := w.at("c").Ref
	w.lock()
	w.flip(w.pack(bad), 5)
	path := filepath.Join(t.TempDir(), "fsck")
	title := Title{Begun: now, Parts: AllParts}

	b := &sick{Bucket: w.objects, after: 7}
	n := w.notebook(path, title, false)
	if _, err := w.try(b, Options{Data: 1, Notebook: n}); !errors.Is(err, store.ErrUnavailable) {
		t.Fatal(err)
	}
	must(t, n.Close(false))

	title.Begun += 60
	n = w.notebook(path, title, false)
	known := n.Known()
	if known == 0 || known > 7 || n.Title().Begun != now {
		t.Fatalf("%d packs are known, begun at %d", known, n.Title().Begun)
	}
	b = &sick{Bucket: w.objects}
	r, err := w.try(b, Options{Data: 1, Notebook: n})
	must(t, err)
	must(t, n.Close(true))
	if f := only(t, r); f.Kind != KindPack || f.Files[0].Paths[0] != "/c" {
		t.Errorf("%+v", f)
	}
	packs := len(w.names("p"))
	if r.Counts.Earlier != known || r.Counts.Read != packs-known || b.packs != packs-known+1 { // the bad one is asked for twice
		t.Errorf("%d packs: %d read earlier, %d now, with %d requests; %d were known", packs, r.Counts.Earlier, r.Counts.Read, b.packs, known)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("the notebook of a check that ended is still there")
	}
}

// A notebook is of one drive and one kind of check, for some days; and what is torn or
// altered in it is not believed.
func TestNotebook(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	path := filepath.Join(t.TempDir(), "fsck")
	all := Title{Begun: now, Parts: AllParts}
	fill := func() {
		t.Helper()
		must(t, os.RemoveAll(path))
		n := w.notebook(path, all, false)
		must(t, n.add(crypt.Name{1}))
		must(t, n.flush())
		must(t, n.add(crypt.Name{2}))
		must(t, n.Close(false))
	}
	for _, c := range []struct {
		name string
		do   func() (*world, Title, bool)
		want int
	}{
		{"goes on", func() (*world, Title, bool) { return w, all, false }, 2},
		{"another kind", func() (*world, Title, bool) { return w, Title{Begun: now, Parts: 5}, false }, 0},
		{"another seed", func() (*world, Title, bool) { return w, Title{Begun: now, Parts: AllParts, Seed: 7}, false }, 0},
		{"another drive", func() (*world, Title, bool) { return other, all, false }, 0},
		{"anew", func() (*world, Title, bool) { return w, all, true }, 0},
		{"a week later", func() (*world, Title, bool) { return w, Title{Begun: now + 7*24*3600, Parts: AllParts}, false }, 2},
		{"later", func() (*world, Title, bool) { return w, Title{Begun: now + 7*24*3600 + 1, Parts: AllParts}, false }, 0},
		{"from the future", func() (*world, Title, bool) { return w, Title{Begun: now - 1, Parts: AllParts}, false }, 0},
		{"torn", func() (*world, Title, bool) {
			b, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, b[:len(b)-1], 0o600))
			return w, all, false
		}, 1},
		{"altered", func() (*world, Title, bool) {
			b, err := os.ReadFile(path)
			must(t, err)
			b[len(b)-1] ^= 1
			must(t, os.WriteFile(path, b, 0o600))
			return w, all, false
		}, 1},
		{"of a claimed length", func() (*world, Title, bool) {
			must(t, os.WriteFile(path, []byte(notebookMagic+"\xff\xff\xff\xff"), 0o600))
			return w, all, false
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			fill()
			of, title, restart := c.do()
			n := of.notebook(path, title, restart)
			if n.Known() != c.want {
				t.Errorf("%d packs are known, want %d", n.Known(), c.want)
			}
			u := of.drive()
			defer u.Wipe()
			if _, err := OpenNotebook(path, u.Root(), u.ID, title, false); !errors.Is(err, ErrBusy) {
				t.Errorf("a second one: %v", err)
			}
			// What is added now is read the next time, whatever was there.
			must(t, n.add(crypt.Name{9}))
			must(t, n.Close(false))
			title.Seed = n.Title().Seed
			n = of.notebook(path, title, false)
			if !n.has(crypt.Name{9}) || n.Known() != c.want+1 {
				t.Errorf("%d packs are known at last", n.Known())
			}
			must(t, n.Close(false))
		})
	}
}

// A notebook holds no name of an object in clear.
func TestNotebookIsSealed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "fsck")
	n := w.notebook(path, Title{Begun: now, Parts: AllParts}, false)
	name := crypt.Name(bytes.Repeat([]byte{0xa5}, 32))
	must(t, n.add(name))
	must(t, n.Close(false))
	b, err := os.ReadFile(path)
	must(t, err)
	if bytes.Contains(b, name[:8]) {
		t.Error("the name is there to be read")
	}
}

func notebookVectors(kind string) []vectortest.Vector {
	v := func(name, expect, comment string, b []byte) vectortest.Vector {
		return vectortest.New(name, expect, comment, vectortest.Hex("hex", b))
	}
	if kind == "title" {
		good := Title{Begun: now, Parts: 50_000, Seed: 7}.append(nil)
		return []vectortest.Vector{
			v("sample", "ok", "five percent", good),
			v("all", "ok", "everything", Title{Begun: -1, Parts: AllParts, Seed: 1<<64 - 1}.append(nil)),
			v("none", "malformed", "nothing is read", Title{Begun: now}.append(nil)),
			v("more", "malformed", "more than all", Title{Begun: now, Parts: AllParts + 1}.append(nil)),
			v("short", "malformed", "a byte is missing", good[1:]),
			v("long", "malformed", "a byte too many", append(good, 0)),
		}
	}
	return []vectortest.Vector{
		v("one", "ok", "one pack", appendPage(nil, []crypt.Name{{1}})),
		v("two", "ok", "two packs", appendPage(nil, []crypt.Name{{2}, {1}})),
		v("empty", "malformed", "no pack", nil),
		v("short", "malformed", "a byte is missing", make([]byte, 63)),
		v("many", "malformed", "one more than fits", make([]byte, 32*(pageNames+1))),
	}
}

var notebookWords = map[string]error{"ok": nil, "malformed": errPage}

func TestVectors(t *testing.T) {
	for _, kind := range []string{"title", "page"} {
		vectortest.Keep(t, kind, notebookVectors(kind))
	}
	for _, v := range vectortest.Read(t, "title") {
		_, err := decodeTitle(v.Bytes(t, "hex"))
		v.Check(t, notebookWords, err)
	}
	for _, v := range vectortest.Read(t, "page") {
		_, err := decodePage(v.Bytes(t, "hex"))
		v.Check(t, notebookWords, err)
	}
}

func FuzzDecodeTitle(f *testing.F) {
	for _, v := range vectortest.Read(f, "title") {
		f.Add(v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := decodeTitle(b); err == nil && !bytes.Equal(v.append(nil), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}

func FuzzDecodePage(f *testing.F) {
	for _, v := range vectortest.Read(f, "page") {
		f.Add(v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := decodePage(b); err == nil && !bytes.Equal(appendPage(nil, v), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}
