package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/store"
)

// caughtUp has the machine see what others did.
func caughtUp(m *machine) error { return m.v.sync.CatchUp(context.Background()) }

// opens takes a handle of a file.
func (m *machine) opens(path string, write bool) meta.Ref {
	m.t.Helper()
	m.mustOpen()
	_, _, a, err := m.find(path)
	if err != nil {
		m.t.Fatal(err)
	}
	as, err := m.v.Open(m.t.Context(), a.Ref, write)
	if err != nil {
		m.t.Fatal(err)
	}
	return as
}

// shows says that a handle shows exactly a content, at every offset, and its size.
func shows(as meta.Ref, content string) act {
	return func(m *machine) error {
		a, err := m.v.Attr(m.t.Context(), as)
		if err != nil {
			return err
		}
		if a.Inode.Size != uint64(len(content)) {
			return fmt.Errorf("the handle shows %d bytes, want %d", a.Inode.Size, len(content))
		}
		for off := 0; off <= len(content); off += max(1, len(content)/7) {
			b := make([]byte, len(content)-off+3)
			n, err := m.v.Read(m.t.Context(), as, uint64(off), b)
			if err != nil {
				return err
			}
			if string(b[:n]) != content[off:] {
				return fmt.Errorf("the handle shows %.40q (%d bytes) from %d on, want %.40q", b[:n], n, off, content[off:])
			}
		}
		return nil
	}
}

// puts writes through a handle.
func puts(as meta.Ref, off uint64, data string) act {
	return func(m *machine) error { return m.v.Write(m.t.Context(), as, off, []byte(data)) }
}

// copyOf finds the one name in a directory that is a conflict copy of name.
func (m *machine) copyOf(dir, name string) string {
	m.t.Helper()
	list, ref := m.list(dir)
	stem, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		stem, ext = name[:i], name[i:]
	}
	var found []string
	for _, n := range list {
		if strings.HasPrefix(n, stem+" (conflict, "+m.name+", ") && strings.HasSuffix(n, ")"+ext) {
			found = append(found, n)
		}
	}
	if len(found) != 1 {
		m.t.Fatalf("%d conflict copies of %s, among %q of inode %d", len(found), name, list, ref.Ino)
	}
	if dir != "" {
		return dir + "/" + found[0]
	}
	return found[0]
}

// list returns the names in a directory.
func (m *machine) list(dir string) (names []string, ref meta.Ref) {
	m.t.Helper()
	m.mustOpen()
	ref = meta.RootRef
	if dir != "" {
		_, _, a, err := m.find(dir)
		if err != nil {
			m.t.Fatal(err)
		}
		ref = a.Ref
	}
	entries, err := m.v.List(m.t.Context(), ref)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, string(e.Name))
	}
	return names, ref
}

// conflicts lists the kinds of the records that there are.
func (m *machine) conflicts() (kinds []meta.ConflictKind) {
	m.t.Helper()
	err := m.v.view.Read(func(r meta.Reader) error {
		kinds = nil
		return meta.Conflicts(r, func(_ meta.ConflictID, c meta.Conflict) bool {
			kinds = append(kinds, c.Kind)
			return true
		})
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return kinds
}

// two is a drive with a file f that the laptop made, and a desktop that is a device.
func two(t *testing.T, content string) (laptop, desk *machine) {
	w := newWorld(t)
	as(w.laptop, mkdir("d"), write("d/f.txt", content), drained)
	desk = w.machine("desktop")
	as(desk, mkdir("mine"), drained, read("d/f.txt", content))
	as(w.laptop, caughtUp)
	return w.laptop, desk
}

// What is open stays what it was, whatever another machine makes of the file.
func TestWhatIsOpenStays(t *testing.T) {
	long := strings.Repeat("a long content. ", 40<<10)
	for name, c := range map[string]struct {
		was   string
		elses []act
		is    string // empty: it is gone
	}{
		"grown":            {"base", []act{rewrite("d/f.txt", "base and more")}, "base and more"},
		"shrunk":           {"a long one", []act{rewrite("d/f.txt", "short")}, "short"},
		"of one size":      {"base", []act{rewrite("d/f.txt", "else")}, "else"},
		"emptied":          {"base", []act{truncated("d/f.txt", 0)}, " "},
		"cut":              {"base", []act{truncated("d/f.txt", 2)}, "ba"},
		"large":            {long, []act{rewrite("d/f.txt", "small")}, "small"},
		"written in part":  {long, []act{patched("d/f.txt", 100_000, "X")}, long[:100_000] + "X" + long[100_001:]},
		"appended to":      {"base", []act{patched("d/f.txt", 4, "tail")}, "basetail"},
		"replaced":         {"base", []act{write("d/g", "new"), rename("d/g", "d/f.txt")}, "new"},
		"deleted":          {"base", []act{unlink("d/f.txt")}, ""},
		"made again":       {"base", []act{unlink("d/f.txt"), write("d/f.txt", "again")}, "again"},
		"written often":    {"base", []act{rewrite("d/f.txt", "1"), drained, rewrite("d/f.txt", "22"), drained, rewrite("d/f.txt", "333")}, "333"},
		"renamed, written": {"base", []act{rename("d/f.txt", "d/h"), rewrite("d/h", "x"), rename("d/h", "d/f.txt")}, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			laptop, desk := two(t, c.was)
			h := desk.opens("d/f.txt", true)
			as(laptop, append(c.elses, drained)...)
			as(desk, shows(h, c.was), caughtUp, shows(h, c.was))
			switch c.is {
			case "":
				as(desk, missing("d/f.txt"))
			case " ":
				as(desk, read("d/f.txt", ""))
			default:
				as(desk, read("d/f.txt", c.is))
			}
			if c.is != "" && c.is != " " {
				again := desk.opens("d/f.txt", false)
				as(desk, shows(again, c.is), shows(h, c.was))
				desk.v.Release(again)
			}
			desk.v.Release(h)
			if n := len(desk.v.open) + len(desk.v.held) + len(desk.v.orphans); n != 0 {
				t.Errorf("%d things are kept of a file that nobody has open", n)
			}
			as(desk, drained)
			if got := desk.conflicts(); len(got) != 0 {
				t.Errorf("conflicts %v, though nothing was written", got)
			}
		})
	}
}

// truncated sets a file's size, patched writes a part of it.
func truncated(path string, size uint64) act {
	return func(m *machine) error {
		_, _, a, err := m.find(path)
		if err == nil {
			err = m.v.Truncate(m.t.Context(), a.Ref, size, nil)
		}
		return err
	}
}

func patched(path string, off uint64, data string) act {
	return func(m *machine) error {
		_, _, a, err := m.find(path)
		if err == nil {
			err = m.v.Write(m.t.Context(), a.Ref, off, []byte(data))
		}
		return err
	}
}

// What is written to a file that another machine changed meanwhile becomes a file beside
// it, and who has it open goes on with that.
func TestWrittenAfterItWasChangedElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		write func(as meta.Ref) act
		want  string
	}{
		"a write":      {func(h meta.Ref) act { return puts(h, 0, "XX") }, "XXse"},
		"an append":    {func(h meta.Ref) act { return puts(h, 4, "tail") }, "basetail"},
		"behind a gap": {func(h meta.Ref) act { return puts(h, 6, "x") }, "base\x00\x00x"},
		"truncation": {func(h meta.Ref) act {
			return func(m *machine) error { return m.v.Truncate(m.t.Context(), h, 1, nil) }
		}, "b"},
		"to nothing": {func(h meta.Ref) act {
			return func(m *machine) error { return m.v.Truncate(m.t.Context(), h, 0, nil) }
		}, ""},
		"a hole": {func(h meta.Ref) act {
			return func(m *machine) error { return m.v.PunchHole(m.t.Context(), h, 1, 2) }
		}, "b\x00\x00e"},
		"a clone": {func(h meta.Ref) act {
			return func(m *machine) error {
				_, err := m.v.Copy(m.t.Context(), Span{h, 0, 2}, Span{h, 2, 0})
				return err
			}
		}, "baba"},
	} {
		for when, before := range map[string]bool{"before it followed": true, "after": false} {
			t.Run(name+" "+when, func(t *testing.T) {
				laptop, desk := two(t, "base")
				h := desk.opens("d/f.txt", true)
				as(laptop, rewrite("d/f.txt", "IMPORTANT from the laptop"), drained)
				if before {
					as(desk, c.write(h), caughtUp)
				} else {
					as(desk, caughtUp, shows(h, "base"), c.write(h))
				}
				as(desk, shows(h, c.want), read("d/f.txt", "IMPORTANT from the laptop"))
				name := desk.copyOf("d", "f.txt")
				as(desk, read(name, c.want))
				if got := desk.conflicts(); !slices.Equal(got, []meta.ConflictKind{meta.ConflictCopy}) {
					t.Errorf("conflicts: %v", got)
				}
				// The handle is the copy's now.
				as(desk, puts(h, uint64(len(c.want)), "!"), shows(h, c.want+"!"), read(name, c.want+"!"))
				_, _, a, err := desk.find(name)
				if err != nil || desk.v.Ino(h) != a.Ref.Ino {
					t.Errorf("the handle is inode %d, the copy %d: %v", desk.v.Ino(h), a.Ref.Ino, err)
				}
				desk.v.Release(h)
				as(desk, drained, read("d/f.txt", "IMPORTANT from the laptop"))
				as(laptop, caughtUp, read(name, c.want+"!"), read("d/f.txt", "IMPORTANT from the laptop"))
				if list, _ := laptop.list("d"); len(list) != 2 {
					t.Errorf("left in the folder: %q", list)
				}
			})
		}
	}
}

// Deletes lose to writes.
func TestWrittenAfterItWasDeletedElsewhere(t *testing.T) {
	for name, elses := range map[string][]act{
		"the file":   {unlink("d/f.txt")},
		"the folder": {unlink("d/f.txt"), rmdir("d")},
	} {
		t.Run(name, func(t *testing.T) {
			laptop, desk := two(t, "base")
			h := desk.opens("d/f.txt", true)
			as(laptop, append(elses, drained)...)
			as(desk, caughtUp, missing("d/f.txt"), shows(h, "base"))
			if a, err := desk.v.Attr(t.Context(), h); err != nil || a.Inode.Nlink != 0 {
				t.Errorf("%d names: %v", a.Inode.Nlink, err)
			}
			as(desk, puts(h, 4, "!"), shows(h, "base!"), read("d/f.txt", "base!"), drained)
			as(laptop, caughtUp, read("d/f.txt", "base!"))
			desk.v.Release(h)
			if !slices.Contains(desk.conflicts(), meta.ConflictRevived) {
				t.Errorf("conflicts: %v", desk.conflicts())
			}
		})
	}
}

func rmdir(path string) act {
	return func(m *machine) error {
		dir, name, _, err := m.find(path)
		if err != nil {
			return err
		}
		return m.v.Rmdir(context.Background(), dir, name)
	}
}

// A machine becomes a device as it writes to a file that it has open, and sees only then
// that another one has changed it.
func TestFirstWriteAfterItWasChangedElsewhere(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("f", "base"), drained)
	m := w.machine("desktop")
	h := m.opens("f", false)
	as(w.laptop, rewrite("f", "IMPORTANT from the laptop"), drained)
	as(m, puts(h, 0, "XX"), shows(h, "XXse"), drained)
	as(m, read(m.copyOf("", "f"), "XXse"))
	as(w.machine("third"), read("f", "IMPORTANT from the laptop"), read(m.copyOf("", "f"), "XXse"))
}

// A copy lies beside the file also when nobody looked the file up here: the kernel knows
// what it made, renamed or linked itself.
func TestCopyOfWhatWasMadeHereLiesBesideIt(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	as(w.laptop, mkdir("d"), drained)
	desk := w.machine("desktop")
	desk.mustOpen()
	_, _, d, err := desk.find("d")
	if err != nil {
		t.Fatal(err)
	}
	name := []byte("f.txt")
	for what, rename := range map[string]func() error{
		"made":    func() error { return nil },
		"renamed": func() error { return desk.v.Rename(ctx, d.Ref, name, d.Ref, []byte("r.txt"), 0) },
		"linked": func() error {
			a, err := desk.v.Lookup(ctx, d.Ref, name)
			if err == nil {
				_, err = desk.v.Link(ctx, a.Ref, d.Ref, []byte("l.txt"))
			}
			if err == nil {
				err = desk.v.Unlink(ctx, d.Ref, name)
			}
			return err
		},
	} {
		a, err := desk.v.Make(ctx, d.Ref, name, Node{Kind: meta.File, Perm: 0o644}, false)
		if err == nil {
			err = rename()
		}
		if err != nil {
			t.Fatal(what, err)
		}
		names, _ := desk.list("d")
		now := names[len(names)-1]
		as(desk, puts(a.Ref, 0, "base"), drained)
		as(w.laptop, caughtUp, rewrite("d/"+now, "theirs"), drained)
		as(desk, puts(a.Ref, 0, "mine"), drained, read("d/"+now, "theirs"))
		as(desk, read(desk.copyOf("d", now), "mine"))
		as(desk, unlink(desk.copyOf("d", now)), unlink("d/"+now), drained)
		if names, _ := desk.list("d"); len(names) != 0 {
			t.Errorf("%s: %q is left", what, names)
		}
	}
}

// What was acknowledged of a copy outlives a crash.
func TestCopyOutlivesACrash(t *testing.T) {
	for _, size := range []int{10, 3 * inlineMax} {
		laptop, desk := two(t, "base")
		h := desk.opens("d/f.txt", true)
		as(laptop, rewrite("d/f.txt", "theirs"), drained)
		mine := strings.Repeat("x", size)
		as(desk, caughtUp, puts(h, 4, mine), func(m *machine) error { return m.v.Fsync(m.t.Context(), h) })
		desk.crash()
		as(desk, read("d/f.txt", "theirs"))
		as(desk, read(desk.copyOf("d", "f.txt"), "base"+mine), drained)
		as(laptop, caughtUp, read(desk.copyOf("d", "f.txt"), "base"+mine))
	}
}

// Attributes are the file's, whoever has which version of it open; times are those of
// what was written.
func TestAttributesOfWhatIsOpen(t *testing.T) {
	laptop, desk := two(t, "base")
	h := desk.opens("d/f.txt", true)
	chmod := func(ref meta.Ref, perm uint16) act {
		return func(m *machine) error {
			return m.v.Setattr(m.t.Context(), ref, meta.Setattr{Valid: meta.SetPerm, Perm: perm})
		}
	}
	_, _, f, err := laptop.find("d/f.txt")
	if err != nil {
		t.Fatal(err)
	}
	as(laptop, rewrite("d/f.txt", "theirs"), chmod(f.Ref, 0o600), drained)
	as(desk, caughtUp, chmod(h, 0o640), func(m *machine) error {
		return m.v.Setattr(m.t.Context(), h, meta.Setattr{Valid: meta.SetMtime | meta.SetCtime, Mtime: meta.Time{Sec: 7}, Ctime: meta.Time{Sec: 8}})
	}, func(m *machine) error {
		return m.v.SetXattr(m.t.Context(), h, []byte("user.a"), []byte("1"), 0)
	})
	a, err := desk.v.Attr(t.Context(), h)
	if err != nil || a.Inode.Perm != 0o640 || a.Inode.Mtime.Sec != 7 || a.Inode.Size != 4 || a.Ref != f.Ref {
		t.Errorf("%+v %v", a.Inode, err)
	}
	_, _, a, err = desk.find("d/f.txt")
	if err != nil || a.Inode.Perm != 0o640 || a.Inode.Mtime.Sec == 7 {
		t.Errorf("%+v %v", a.Inode, err)
	}
	as(desk, puts(h, 0, "B"), func(m *machine) error { return m.v.Flush(m.t.Context(), h) })
	if a, err = desk.v.Attr(t.Context(), h); err != nil || a.Inode.Mtime.Sec != 7 {
		t.Errorf("the copy: %+v %v", a.Inode, err)
	}
	as(desk, drained)
	as(laptop, caughtUp)
	if v, err := laptop.v.Xattr(t.Context(), f.Ref, []byte("user.a")); string(v) != "1" {
		t.Errorf("attribute %q: %v", v, err)
	}
}

// A file of which no list of extents is copied.
func TestFrozenWithManyExtents(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("f", ""))
	_, _, f, err := w.laptop.find("f")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 2*(frozenMax+900))
	for i := 0; i < len(want); i += 2 {
		want[i] = 'a' + byte(i%26)
		if err := w.laptop.v.Write(t.Context(), f.Ref, uint64(i), want[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	as(w.laptop, drained)
	desk := w.machine("desktop")
	as(desk, mkdir("mine"), drained)
	h := desk.opens("f", true)
	was := string(want[:len(want)-1])
	as(w.laptop, caughtUp, rewrite("f", "short"), drained)
	as(desk, caughtUp, shows(h, was), read("f", "short"))
	as(desk, puts(h, 1, "X"), shows(h, was[:1]+"X"+was[2:]), drained)
	as(w.laptop, caughtUp, read(desk.copyOf("", "f"), was[:1]+"X"+was[2:]))
}

// A file that was deleted here while it was open, and written elsewhere, is there again:
// deletes lose. Who has the deleted one open has nothing of that.
func TestDeletedHereWrittenElsewhere(t *testing.T) {
	laptop, desk := two(t, "base")
	h := desk.opens("d/f.txt", true)
	as(desk, unlink("d/f.txt"), puts(h, 0, "X"))
	as(laptop, rewrite("d/f.txt", "theirs"), drained)
	as(desk, caughtUp, shows(h, "Xase"), read("d/f.txt", "theirs"))
	as(desk, puts(h, 0, "Y"), shows(h, "Yase"), read("d/f.txt", "theirs"))
	again := desk.opens("d/f.txt", true)
	as(desk, puts(again, 0, "T"), shows(again, "Theirs"), shows(h, "Yase"))
	desk.v.Release(h)
	as(desk, shows(again, "Theirs"), drained)
	as(laptop, caughtUp, read("d/f.txt", "Theirs"))
}

// Packs that only a frozen file names are read from the store as long as it is open, and
// where they are gone the error names them.
func TestPacksOfAFrozenFileAreGone(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("f", big), drained)
	desk := w.machine("desktop")
	h := desk.opens("f", false)
	as(w.laptop, rewrite("f", "small"), drained)
	as(desk, caughtUp, read("f", "small"))
	for _, name := range w.names("p") {
		if err := w.objects.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 10)
	if _, err := desk.v.Read(t.Context(), h, 0, b); !errors.Is(err, pack.ErrDamaged) && !errors.Is(err, store.ErrNotExist) {
		t.Errorf("read %q, %v", b, err)
	}
	if s := desk.v.Status(); len(s.Damaged) != 1 {
		t.Errorf("named: %v", s.Damaged)
	}
}

// A change of another machine that leaves the content alone, or one of our own, makes
// no handle stale.
func TestOpenWhileSomethingElseChanges(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("f", "base"), drained)
	m := w.machine("desktop")
	as(m, mkdir("mine"), drained)
	_, _, f, err := m.find("f")
	if err != nil {
		t.Fatal(err)
	}
	h, err := m.v.Open(t.Context(), f.Ref, true)
	if err != nil {
		t.Fatal(err)
	}
	put := func(off uint64, s string) {
		t.Helper()
		if err := m.v.Write(t.Context(), h, off, []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	chmod := func(perm uint16) act {
		return func(o *machine) error {
			return o.v.Setattr(t.Context(), f.Ref, meta.Setattr{Valid: meta.SetPerm, Perm: perm})
		}
	}
	as(w.laptop, chmod(0o600), drained)
	as(m, mkdir("x"), drained)
	put(0, "B")
	as(m, drained)
	as(w.laptop, mkdir("y"), drained, chmod(0o640), drained)
	as(m, mkdir("z"), drained)
	put(1, "A")
	as(m, drained, read("f", "BAse"), shows(h, "BAse"))
	if list, _ := m.list(""); len(list) != 5 {
		t.Errorf("there is %q", list)
	}
}

// rewrite replaces a file's content.
func rewrite(name, content string) act {
	return func(m *machine) error {
		_, _, a, err := m.find(name)
		if err != nil {
			return err
		}
		if err := m.v.Truncate(m.t.Context(), a.Ref, 0, nil); err != nil {
			return err
		}
		return m.v.Write(m.t.Context(), a.Ref, 0, []byte(content))
	}
}
