package view

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// A pair is two machines that begin with one tree. Scripts change it, a command a line:
//
//	put PATH TEXT     make the file or write it anew, as a program that opens and writes
//	save PATH TEXT    write another file and rename it over PATH, as an editor
//	add PATH TEXT     write behind its end
//	chmod PATH [PERM], own PATH UID, mtime PATH SECONDS, atime PATH SECONDS
//	attr PATH VALUE   of user.x; PATH VALUE NAME: of user.NAME
//	at SECONDS        what comes then has later times than this, and times are shown
//	mkdir, rm, rmdir, mv, swap, ln, symlink
//
// In a PATH _ stands for a space.
type pair struct {
	*fleet
	texts map[meta.PackNo]string
	timed bool
}

// epoch is when the stories begin.
const epoch = 1772323200

func newPair(t *testing.T) *pair {
	return &pair{fleet: newFleet(t, 2), texts: map[meta.PackNo]string{}}
}

func (p *pair) find(m *machine, path string) (dir meta.Ref, name string, d meta.Dirent, there bool) {
	p.t.Helper()
	dir = meta.RootRef
	parts := strings.Split(path, "/")
	for i, part := range parts {
		d, err := meta.Lookup(m.view.merged(), dir.Ino, []byte(part))
		if i == len(parts)-1 {
			return dir, part, d, err == nil
		}
		if err != nil {
			p.t.Fatalf("%s: %v", path, err)
		}
		dir = d.Ref
	}
	return
}

func (p *pair) must(m *machine, op meta.Op) {
	p.t.Helper()
	p.clock++
	m.no++
	at := meta.Stamp{Device: m.id, No: m.no, Time: meta.Time{Sec: epoch + p.clock}}
	b, err := m.view.Execute(op, at)
	if err != nil {
		p.t.Fatalf("%T: %v", op, err)
	}
	if b.Empty() { // it is not kept
		m.no--
		return
	}
	m.made = append(m.made, Pending{Op: op, Stamp: at})
}

func (p *pair) version(m *machine, ref meta.Ref) uint64 {
	n, err := meta.GetInode(m.view.merged(), ref)
	must(p.t, err)
	return n.Version
}

// write puts a text into a file. The pack says what it is.
func (p *pair) write(m *machine, ref meta.Ref, off uint64, text string) {
	p.packs++
	no := meta.MakePack(m.id, p.packs)
	p.texts[no] = text
	p.must(m, &meta.Write{Ref: ref, Observed: p.version(m, ref), Extents: []meta.Extent{{Off: off, Len: uint64(len(text)), Pack: no}}})
}

func (p *pair) make(m *machine, path string, kind meta.Kind, target string) meta.Ref {
	dir, name, _, _ := p.find(m, path)
	ino, _ := m.newIno()
	ref := meta.Ref{Home: dir.Ino, Ino: ino}
	p.must(m, &meta.Make{Parent: dir, Name: []byte(name), Ref: ref, Kind: kind, Perm: 0o755, Target: []byte(target)})
	return ref
}

func (p *pair) run(m *machine, script string) {
	p.t.Helper()
	for line := range strings.Lines(script) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		f = append(f, "", "", "")
		f[1], f[2] = strings.ReplaceAll(f[1], "_", " "), strings.ReplaceAll(f[2], "_", " ")
		dir, name, d, there := p.find(m, f[1])
		number := func(field, base int) int64 {
			n, err := strconv.ParseInt(f[field], base, 64)
			must(p.t, err)
			return n
		}
		switch f[0] {
		case "put":
			ref := d.Ref
			if !there {
				ref = p.make(m, f[1], meta.File, "")
			} else {
				p.must(m, &meta.Truncate{Ref: ref, Observed: p.version(m, ref)})
			}
			p.write(m, ref, 0, f[2])
		case "add":
			n, err := meta.GetInode(m.view.merged(), d.Ref)
			must(p.t, err)
			p.write(m, d.Ref, n.Size, f[2])
		case "save":
			p.write(m, p.make(m, f[1]+"~", meta.File, ""), 0, f[2])
			p.run(m, "mv "+f[1]+"~ "+f[1])
		case "mkdir":
			p.make(m, f[1], meta.Dir, "")
		case "symlink":
			p.make(m, f[1], meta.Symlink, f[2])
		case "rm":
			p.must(m, &meta.Unlink{Parent: dir, Name: []byte(name), Ref: d.Ref, Observed: p.version(m, d.Ref)})
		case "rmdir":
			p.must(m, &meta.Rmdir{Parent: dir, Name: []byte(name), Ref: d.Ref})
		case "ln":
			to, as, _, _ := p.find(m, f[2])
			p.must(m, &meta.Link{Ref: d.Ref, Parent: to, Name: []byte(as)})
		case "chmod":
			perm := int64(0o600)
			if f[2] != "" {
				perm = number(2, 8)
			}
			p.must(m, &meta.Setattr{Ref: d.Ref, Valid: meta.SetPerm, Perm: uint16(perm)})
		case "own":
			p.must(m, &meta.Setattr{Ref: d.Ref, Valid: meta.SetUID, UID: uint32(number(2, 10))})
		case "mtime":
			p.must(m, &meta.Setattr{Ref: d.Ref, Valid: meta.SetMtime, Mtime: meta.Time{Sec: epoch + number(2, 10)}})
		case "atime":
			p.must(m, &meta.Setattr{Ref: d.Ref, Valid: meta.SetAtime, Atime: meta.Time{Sec: epoch + number(2, 10)}})
		case "attr":
			as := f[3]
			if as == "" {
				as = "x"
			}
			p.must(m, &meta.Setxattr{Ref: d.Ref, Name: []byte("user." + as), Value: []byte(f[2])})
		case "at":
			p.clock, p.timed = number(1, 10), true
		case "mv", "swap":
			to, as, over, taken := p.find(m, f[2])
			o := &meta.Rename{Parent: dir, Name: []byte(name), Ref: d.Ref, NewParent: to, NewName: []byte(as)}
			if taken {
				o.Replaced = &over.Ref
				if over.Kind == meta.File {
					o.Observed = p.version(m, over.Ref)
				}
			}
			if f[0] == "swap" {
				o.Flags = meta.Exchange
			}
			p.must(m, o)
		default:
			p.t.Fatalf("no command: %s", line)
		}
	}
}

// show lists a tree: paths with their texts, sorted.
func (p *pair) show(r meta.Reader) []string {
	var out []string
	var walk func(dir meta.Ref, path string)
	walk = func(dir meta.Ref, path string) {
		must(p.t, meta.ReadDir(r, dir.Ino, nil, func(name []byte, d meta.Dirent) bool {
			at := path + string(name)
			n, err := meta.GetInode(r, d.Ref)
			must(p.t, err)
			line := at + "="
			switch d.Kind {
			case meta.Dir:
				line = at + "/"
				defer walk(d.Ref, at+"/")
			case meta.Symlink:
				line += ">" + string(n.Target)
			default:
				must(p.t, meta.Extents(r, d.Ref, n, 0, meta.MaxFileSize, func(e meta.Extent) bool {
					line += p.texts[e.Pack]
					return true
				}))
			}
			if n.Perm != 0o755 {
				line += fmt.Sprintf(" %o", n.Perm)
			}
			if n.UID != 0 {
				line += fmt.Sprint(" of ", n.UID)
			}
			if p.timed {
				line += fmt.Sprint(" m:", n.Mtime.Sec-epoch, " a:", n.Atime.Sec-epoch, " c:", n.Ctime.Sec-epoch)
			}
			for _, name := range []string{"x", "y"} {
				if v, err := meta.GetXattr(r, d.Ref, n, []byte("user."+name)); err == nil {
					line += " " + name + ":" + string(v)
				}
			}
			out = append(out, line)
			return true
		}))
	}
	walk(meta.RootRef, "")
	slices.Sort(out)
	return out
}

// same compares texts, as a machine that reads both files.
func (p *pair) same(ours, theirs meta.Content) (bool, error) {
	sum := func(n meta.Content) uint32 {
		h := crc32.NewIEEE()
		for _, e := range n.Extents {
			fmt.Fprint(h, p.texts[e.Pack])
		}
		return h.Sum32()
	}
	return sum(ours) == sum(theirs), nil
}

func (p *pair) publish(m *machine) {
	p.follow(m)
	t := m.view.Take(m.no, 1<<20)
	if t.Ops.Len() == 0 {
		return
	}
	must(p.t, t.Batch.Validate())
	slot := uint64(len(p.chain) + 1)
	p.chain = append(p.chain, Slot{slot, t.Batch, t.Usage})
	p.state.Apply(t.Batch)
	m.view.Settle(slot, t.Ops.Last().No, t.Batch, t.Usage)
	m.next++
	m.settled = t.Ops.Last().No
}

func (p *pair) follow(m *machine) {
	if m.next == len(p.chain) {
		return
	}
	device := []string{"", "laptop", "desktop"}[m.id]
	_, err := m.view.Follow(p.chain[m.next:], meta.RebaseOptions{Device: device, NewIno: m.newIno, Place: m.places, Same: p.same}, m.note)
	must(p.t, err)
	m.next = len(p.chain)
	sound(p.fleet, m.view.merged())
}

const copied = " (conflict, laptop, 2026-03-01)"

// Theirs is in the chain first; mine is executed again over it.
func TestConflicts(t *testing.T) {
	for _, c := range []struct {
		name                string
		start, mine, theirs string
		want                []string
		records             string // kinds
	}{
		{"different names", "", "put a 1", "put b 2", []string{"a=1", "b=2"}, ""},
		{"a name, two files", "", "put a.txt 1", "put a.txt 2", []string{"a (conflict, laptop, 2026-03-01).txt=1", "a.txt=2"}, "name"},
		{"a name, two files of the same bytes", "", "put a 1", "put a 1", []string{"a=1"}, ""},
		{"a name, two symbolic links", "", "symlink a x", "symlink a y", []string{"a" + copied + "=>x", "a=>y"}, "name"},
		{"a name, two equal symbolic links", "", "symlink a x", "symlink a x", []string{"a=>x"}, ""},
		{"a name, two directories", "", "mkdir d\n put d/a 1\n mkdir d/e\n put d/e/x 1", "mkdir d\n put d/b 2\n mkdir d/e\n put d/e/x 2",
			[]string{"d/", "d/a=1", "d/b=2", "d/e/", "d/e/x" + copied + "=1", "d/e/x=2"}, "name"},
		{"a name, a directory and a file", "", "mkdir d\n put d/a 1", "put d 2", []string{"d" + copied + "/", "d" + copied + "/a=1", "d=2"}, "name"},
		{"the same tree unpacked twice", "", "mkdir d\n put d/a 1\n put d/b 2", "mkdir d\n put d/a 1\n put d/b 2", []string{"d/", "d/a=1", "d/b=2"}, ""},

		{"both write a file", "put a 0", "put a 1", "put a 2", []string{"a" + copied + "=1", "a=2"}, "copy"},
		{"both append", "put a 0", "add a 1", "add a 2", []string{"a" + copied + "=01", "a=02"}, "copy"},
		{"both write the same", "put a 0", "put a 1", "put a 1", []string{"a=1"}, ""},
		{"mine writes it many times", "put a 0", "add a 1\n add a 2\n chmod a\n attr a v\n add a 3", "add a 4",
			[]string{"a" + copied + "=0123 600 x:v", "a=04"}, "copy"},
		{"mine writes and renames", "put a 0", "put a 1\n mv a b", "put a 2", []string{"a=2", "b=1"}, "copy"},
		{"mine writes and renames to a name that they took", "put a 0", "put a 1\n mv a b", "put a 2\n put b 3", []string{"a=2", "b" + copied + "=1", "b=3"}, "copy"},
		{"mine writes and removes", "put a 0", "put a 1\n rm a", "put a 2", []string{"a=2"}, "kept"},
		{"an editor saves over mine", "put a 0", "put a 1", "save a 2", []string{"a" + copied + "=1", "a=2"}, "revived"},
		{"my editor saves over theirs", "put a 0", "save a 1", "put a 2", []string{"a" + copied + "=1", "a=2"}, "name"},
		{"two editors", "put a 0", "save a 1\n save a 3", "save a 2", []string{"a" + copied + "=3", "a=2"}, "name"},
		{"two editors save the same", "put a 0", "save a 1", "save a 1", []string{"a=1"}, ""},
		{"two link the same into place", "", "put b 1\n ln b a\n rm b", "put c 1\n ln c a\n rm c", []string{"a=1"}, ""},
		{"two link the same, made before", "put b 1\n put c 1", "ln b a\n rm b", "ln c a\n rm c", []string{"a=1"}, ""},
		{"two link other bytes into place", "", "put b 1\n ln b a\n rm b", "put c 2\n ln c a\n rm c", []string{"a" + copied + "=1", "a=2"}, "name"},
		{"linked into place, and other attributes", "", "put b 1\n ln b a\n rm b\n chmod a", "put c 1\n ln c a\n rm c", []string{"a=1 600"}, ""},
		{"a further name of the same, kept", "", "put b 1\n ln b a", "put c 1\n ln c a", []string{"a" + copied + "=1", "a=1", "b=1", "c=1"}, "name"},
		{"a write and other attributes", "put a 0", "put a 1", "chmod a", []string{"a=1 600"}, ""},
		{"a write and another name", "put a 0", "put a 1", "mv a b", []string{"b=1"}, ""},
		{"attributes of what they write", "put a 0", "chmod a\n attr a v", "put a 2", []string{"a=2 600 x:v"}, ""},

		{"they remove what I write", "put a 0", "put a 1", "rm a", []string{"a=1"}, "revived"},
		{"they rename what I remove", "put a 0", "rm a", "mv a b", []string{"b=0"}, "kept"},
		{"they rename what I write and remove", "put a 0", "put a 1\n rm a", "mv a b", []string{"b=1"}, "kept"},
		{"they rename a directory that I remove", "mkdir d", "rmdir d", "mv d e", []string{"e/"}, "kept"},
		{"they rename a directory that I remove with what is in it", "mkdir d\n put d/a 1", "rm d/a\n rmdir d", "mv d e", []string{"e/"}, "kept"},
		{"they move out of a directory what I remove with that", "mkdir d\n put d/a 1", "rm d/a\n rmdir d", "mv d/a a\n rmdir d", []string{"a=1"}, "kept"},
		{"they put another in the place of what I remove, and rename that", "put a 0", "rm a", "mv a b\n put a 2", []string{"a=2", "b=0"}, "kept"},
		{"they remove the directory as well", "mkdir d\n mkdir d/e\n put d/e/a 0", "add d/e/a 1", "rm d/e/a\n rmdir d/e\n rmdir d",
			[]string{"d/", "d/e/", "d/e/a=01"}, "revived revived revived"},
		{"I remove what they write", "put a 0", "rm a", "put a 2", []string{"a=2"}, "kept"},
		{"both remove", "put a 0", "rm a", "rm a", nil, ""},
		{"both remove directories", "mkdir d", "rmdir d", "rmdir d", nil, ""},
		{"they remove what I give attributes", "put a 0", "chmod a", "rm a", nil, "lost"},
		{"they remove what I give attributes and write", "put a 0", "chmod a\n put a 1", "rm a", []string{"a=1 600"}, "revived"},
		{"both give attributes", "put a 0", "chmod a 640\n own a 7\n attr a v", "chmod a 600\n own a 8\n attr a w", []string{"a=0 640 of 7 x:v"}, ""},
		{"each gives other attributes", "put a 0", "chmod a 640\n attr a v", "own a 8\n attr a w y", []string{"a=0 640 of 8 x:v y:w"}, ""},
		{"both set times, mine the earlier one", "at 10\n put a 0", "at 100\n mtime a 30\n atime a 31", "at 200\n mtime a 40", []string{"a=0 m:30 a:31 c:201"}, ""},
		{"each sets another time", "at 10\n put a 0", "at 100\n mtime a 30", "at 200\n atime a 41", []string{"a=0 m:30 a:41 c:201"}, ""},
		{"both give attributes to a directory", "mkdir d", "chmod d 700\n attr d v", "chmod d 711\n own d 8\n attr d w y", []string{"d/ 700 of 8 x:v y:w"}, ""},
		{"both make in a directory, mine earlier", "at 10\n mkdir d", "at 100\n mkdir d/a", "at 200\n mkdir d/b",
			[]string{"d/ m:201 a:11 c:201", "d/a/ m:101 a:101 c:101", "d/b/ m:201 a:201 c:201"}, ""},
		{"both make in a directory, theirs earlier", "at 10\n mkdir d", "at 200\n mkdir d/a", "at 100\n mkdir d/b",
			[]string{"d/ m:201 a:11 c:201", "d/a/ m:201 a:201 c:201", "d/b/ m:101 a:101 c:101"}, ""},
		{"both remove from a directory, mine earlier", "at 10\n mkdir d\n mkdir d/a\n mkdir d/b", "at 100\n rmdir d/a", "at 200\n rmdir d/b", []string{"d/ m:201 a:11 c:201"}, ""},
		{"they remove what I rename", "put a 0", "mv a b", "rm a", nil, ""},
		{"they remove what I link", "put a 0", "ln a b", "rm a", []string{"b=0"}, "revived"},
		{"they remove what I link, and take the name", "put a 0", "ln a b", "rm a\n put b 2", []string{"b" + copied + "=0", "b=2"}, "revived"},
		{"they remove what I write and link, and take the name", "put a 0", "put a 1\n ln a b", "rm a\n put b 2", []string{"b" + copied + "=1", "b=2"}, "revived"},
		{"I make in a directory that they remove", "mkdir d", "put d/a 1\n attr d v", "rmdir d", []string{"d/ x:v", "d/a=1"}, "revived"},
		{"they make in a directory that I remove", "mkdir d", "rmdir d", "put d/a 2", []string{"d/", "d/a=2"}, "kept"},
		{"they put a file where the directory was", "mkdir d", "put d/a 1", "rmdir d\n put d 2", []string{"d" + copied + "/", "d" + copied + "/a=1", "d=2"}, "revived"},

		{"both rename", "put a 0", "mv a b", "mv a c", []string{"c=0"}, "moved"},
		{"both rename alike", "put a 0", "mv a b", "mv a b", []string{"b=0"}, ""},
		{"mine takes a name that they took", "put a 0", "mv a b", "put b 2", []string{"b" + copied + "=0", "b=2"}, "name"},
		{"mine replaces what they removed", "put a 0\n put b 0", "mv a b", "rm b", []string{"b=0"}, ""},
		{"mine replaces what they wrote", "put a 0\n put b 0", "mv a b", "put b 2", []string{"b" + copied + "=0", "b=2"}, "name"},
		{"mine moves a directory into theirs", "mkdir d\n mkdir e", "mv d e/d", "mv e d/e", []string{"d/", "d/e/"}, "cycle"},
		{"both exchange", "put a 1\n put b 2\n put c 3", "swap a b", "swap a c", []string{"a=3", "b=2", "c=1"}, "moved"},
		{"mine exchanges what they write", "put a 1\n put b 2", "swap a b", "put a 3\n chmod b", []string{"a=2 600", "b=3"}, ""},
		{"mine exchanges what they rename", "put a 1\n put b 2", "swap a b", "mv a c", []string{"b=2", "c=1"}, "moved"},
		{"mine exchanges what they remove", "put a 1\n put b 2", "swap a b", "rm a", []string{"b=2"}, "moved"},
		{"mine exchanges what they save over", "put a 1\n put b 2", "swap a b", "save a 3", []string{"a=3", "b=2"}, "moved"},
		{"they write what I write and exchange", "put a 1\n put b 2", "add a 3\n swap a b", "put a 9", []string{"a=9", "b" + copied + "=2", "b=13"}, "copy name"},
		{"they write what I write and exchange, the other way", "put a 1\n put b 2", "add a 3\n swap b a", "put a 9", []string{"a=9", "b" + copied + "=2", "b=13"}, "copy name"},
		{"they exchange what I write", "put a 1\n put b 2", "put a 3\n chmod b", "swap a b", []string{"a=2 600", "b=3"}, ""},
		{"they exchange what I rename", "put a 1\n put b 2", "mv a c", "swap a b", []string{"a=2", "b=1"}, "moved"},
		{"they exchange what I remove", "put a 1\n put b 2", "rm a", "swap a b", []string{"a=2", "b=1"}, "kept"},
		{"mine links into a directory that they remove", "mkdir d\n put a 1", "ln a d/b", "rmdir d", []string{"a=1", "d/", "d/b=1"}, "revived"},
		{"mine moves into a directory that they remove", "mkdir d\n put a 1", "mv a d/a", "rmdir d", []string{"d/", "d/a=1"}, "revived"},
		{"they rename a directory that I make in", "mkdir d", "put d/a 1", "mv d e", []string{"e/", "e/a=1"}, ""},

		{"a further name that they took", "put a 1", "ln a b", "put b 2", []string{"a=1", "b" + copied + "=1", "b=2"}, "name"},
		{"they take away one of two names that I write through", "put a 0\n ln a b", "put a 1", "rm a", []string{"b=1"}, ""},
		{"each takes away one of two names", "put a 0\n ln a b", "rm a", "rm b", []string{"a=0"}, "kept"},
		{"both take away the same of two names", "put a 0\n ln a b", "rm a", "rm a", []string{"b=0"}, ""},
		{"both take away one of two names, mine the other too", "put a 0\n ln a b", "rm a\n rm b", "rm a", nil, ""},
		{"both take away one of two names, mine replaces the other", "put a 0\n ln a b\n put x 1", "rm a\n mv x b", "rm a", []string{"b=1"}, ""},
		{"they rename one of two names that I take away", "put a 0\n ln a b", "rm a", "mv a c", []string{"b=0", "c=0"}, "kept"},
		{"they rename one of two names that I take away, and give more", "put a 0\n ln a b", "rm a\n ln b d", "mv a c", []string{"b=0", "c=0", "d=0"}, "kept"},
		{"they rename the last of two names that I take away", "put a 0\n ln a b", "rm a\n rm b", "mv b c", []string{"c=0"}, "kept"},
		{"I write, take away one name; they take away the other", "put a 0\n ln a b", "put a 1\n rm a", "rm b", []string{"a=1"}, "kept"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t)
			mine, theirs := p.all[0], p.all[1]
			p.run(theirs, c.start)
			p.publish(theirs)
			p.follow(mine)
			p.run(mine, c.mine)
			p.run(theirs, c.theirs)
			p.publish(theirs)
			p.publish(mine)
			p.follow(theirs)
			if got := p.show(mine.view.merged()); !slices.Equal(got, c.want) {
				t.Errorf("the tree is\n%q, want\n%q", got, c.want)
			}
			if mine.view.Dump() != theirs.view.Dump() {
				t.Error("the machines see different trees")
			}
			var kinds []string
			must(t, meta.Conflicts(p.state, func(_ meta.ConflictID, c meta.Conflict) bool {
				kinds = append(kinds, []string{"", "copy", "name", "revived", "kept", "moved", "cycle", "lost"}[c.Kind])
				return true
			}))
			if got := strings.Join(kinds, " "); got != c.records {
				t.Errorf("records: %s, want %s", got, c.records)
			}
		})
	}
}
