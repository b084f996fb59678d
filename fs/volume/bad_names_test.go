package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/table"
)

// onADay sets a machine's clock, whose day is in the names of its copies.
func onADay(m *machine) *machine {
	m.set = func(o *Options) { o.Clock = func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) } }
	return m
}

// listed are the names in the root, in the order of their bytes.
func (m *machine) listed() (l []string) {
	m.t.Helper()
	all, err := m.v.List(context.Background(), meta.RootRef)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range all {
		l = append(l, string(e.Name))
	}
	slices.Sort(l)
	return l
}

// A name is its bytes. What another system takes for one name, two machines that are
// given it at once keep as two.
func TestNamesThatOtherSystemsTakeForOne(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desk")
	as(w.laptop, write("x", "1"), drained)
	as(desk, write("y", "1"), drained)
	as(w.laptop, upToDate)
	want := []string{"x", "y"}
	for i, p := range [][2]string{
		{"Readme", "README"}, {"caf\u00e9", "cafe\u0301"}, {"\u212b", "\u00c5"}, {"stra\u00dfe", "strasse"}, {"\u0130", "i"}, {"K", "\u212a"},
		{"\xff", "\xfe"}, {"\u00e9", "\xe9"}, {"\xc3", "\ufffd"}, {"\xed\xa0\x80", "\xed\xb0\x80"}, {"a\u200bb", "ab"}, {"\x1b[2J", "[2J"}, {"n\nl", "n\rl"},
		{"end ", "end."}, {"end", "end.."}, {"CON", "con"}, {"a:b", "a\\b"}, {"...", ".. "}, {"~1", "-rf"}, {"*", "?"},
	} {
		for k, m := range []*machine{w.laptop, desk} {
			name := p[k]
			if i%3 == 0 {
				as(m, mkdir(name), write(name+"/in", fmt.Sprint(i, k)))
			} else {
				as(m, write(name, fmt.Sprint(i, k)))
			}
			want = append(want, name)
		}
		as(w.laptop, drained)
		as(desk, drained)
		as(w.laptop, upToDate)
		for k, name := range p {
			at := name
			if i%3 == 0 {
				at += "/in"
			}
			as(w.laptop, read(at, fmt.Sprint(i, k)))
			as(desk, read(at, fmt.Sprint(i, k)))
		}
	}
	slices.Sort(want)
	third := w.machine("third")
	third.mustOpen()
	for _, m := range []*machine{w.laptop, desk, third} {
		if got := m.listed(); !slices.Equal(got, want) {
			t.Errorf("%s lists\n%q, want\n%q", m.name, got, want)
		}
		if l := m.unresolved(); len(l) > 0 {
			t.Errorf("%s tells of conflicts: %+v", m.name, l)
		}
	}
	// To change a letter to its capital is a rename like any other.
	as(desk, rename("README", "rEADME"), write("rEADME/in", "new"), drained, missing("README"))
	as(w.laptop, upToDate, missing("README"), read("rEADME/in", "new"), read("Readme/in", "0 0"))
}

// A copy whose name is taken gets the next number, whatever has the name: also when it is
// taken while the copy waits to be sent.
func TestNameOfACopyIsTaken(t *testing.T) {
	w := newWorld(t)
	desk := onADay(w.machine("desk"))
	as(w.laptop, write("f.odt", "0"), drained)
	as(desk, read("f.odt", "0"), write("y", "1"), drained)
	name := func(n string) string { return "f (conflict" + n + ", desk, 2026-03-01).odt" }
	as(w.laptop, upToDate, write(name(""), "taken"), mkdir(name(" 2")), write("f.odt", "theirs"), drained)
	as(desk, write("f.odt", "mine"), fsync("f.odt"), upToDate, read(name(" 3"), "mine"))
	as(w.laptop, write(name(" 3"), "taken as well"), drained)
	as(desk, drained)
	third := w.machine("third")
	for _, m := range []*machine{desk, w.laptop, third} {
		m.mustOpen()
		as(m, upToDate, read("f.odt", "theirs"), read(name(""), "taken"), read(name(" 3"), "taken as well"))
		held := 0
		for _, n := range m.listed() {
			if strings.HasPrefix(n, "f (conflict ") && strings.HasSuffix(n, ".odt") && n != name(" 2") && read(n, "mine")(m) == nil {
				held++
			}
		}
		if held != 1 {
			t.Errorf("%s shows what desk wrote %d times: %q", m.name, held, m.listed())
		}
	}
}

// Names that leave no room for what is said in the name of a copy are cut, between two
// characters, and keep their extension; two that are cut to one name stay two.
func TestCopiesOfLongNames(t *testing.T) {
	fill := func(s, ext string) string {
		n := (meta.MaxName - len(ext)) / len(s)
		return strings.Repeat("x", meta.MaxName-len(ext)-n*len(s)) + strings.Repeat(s, n) + ext
	}
	names := []string{
		fill("n", ""), fill("n", ".odt"), fill("\u00e4", ".odt"), fill("\u65e5", ".tar"), fill("\U0001f600", ".e\u0301"), fill("e\u0301", ".x"), fill("\x80", ""),
		fill("\xff\xfe", ".bin"), fill("n", "."+strings.Repeat("e", 15)), fill("n", "."+strings.Repeat("e", 16)), fill(".", "x"), "." + fill("h", "")[1:],
	}
	for _, n := range names[:4] { // the same but for the end of what is before the extension
		stem, ext := n, ""
		if dot := strings.LastIndexByte(n, '.'); dot > 0 {
			stem, ext = n[:dot], n[dot:]
		}
		names = append(names, stem[:len(stem)-4]+"zzzz"+ext)
	}
	w := newWorld(t)
	desk := onADay(w.machine(strings.Repeat("\u00e4", 32)))
	for _, n := range names[:4] {
		if len(n) != meta.MaxName {
			t.Fatalf("%d bytes", len(n))
		}
	}
	as(w.laptop, write("x", "1"), drained)
	as(desk, write("y", "1"), drained)
	as(w.laptop, upToDate)
	for i, n := range names {
		as(w.laptop, write(n, fmt.Sprint("theirs ", i)))
		as(desk, write(n, fmt.Sprint("mine ", i)))
	}
	as(w.laptop, drained)
	as(desk, drained)
	as(w.laptop, upToDate)
	all := w.laptop.unresolved()
	if len(all) != len(names) {
		t.Errorf("%d conflicts of %d", len(all), len(names))
	}
	seen := map[string]bool{}
	for _, c := range all {
		if len(c.Mine.Paths) != 1 || len(c.Theirs.Paths) != 1 {
			t.Fatalf("%+v", c)
		}
		name, meant := c.Mine.Paths[0][1:], c.Theirs.Paths[0][1:]
		i := slices.Index(names, meant)
		if i < 0 || c.Meant != "/"+meant {
			t.Fatalf("%q was meant for %q", name, meant)
		}
		as(w.laptop, read(meant, fmt.Sprint("theirs ", i)), read(name, fmt.Sprint("mine ", i)))
		ext := ""
		if dot := strings.LastIndexByte(meant, '.'); dot > 0 && len(meant)-dot <= 16 {
			ext = meant[dot:]
		}
		tail := ", 2026-03-01)" + ext
		if len(name) > meta.MaxName || len(name) < meta.MaxName-utf8.UTFMax || utf8.ValidString(meant) && !utf8.ValidString(name) || !strings.HasSuffix(name, tail) || !strings.Contains(name, " (conflict") {
			t.Errorf("the copy of %q is called %q (%d bytes)", meant, name, len(name))
		}
		if seen[name] {
			t.Errorf("two are called %q", name)
		}
		seen[name] = true
	}
	third := w.machine("third")
	third.mustOpen()
	if got := third.listed(); !slices.Equal(got, w.laptop.listed()) || len(got) != 2*len(names)+2 {
		t.Errorf("a new machine lists %d names: %q", len(got), got)
	}
}

// What a writer folds that can be no name is shown to nobody: the folder that it is to be
// in cannot be listed, and all else goes on.
func TestFoldedNamesThatAreNone(t *testing.T) {
	for what, name := range map[string]string{"dot": ".", "dotdot": "..", "a slash": "a/b", "nul": "a\x00", "nothing": "", "too long": strings.Repeat("n", meta.MaxName+1)} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			evil := w.machine("evil")
			as(w.laptop, mkdir("d"), write("d/f", "1"), write("g", "1"), drained)
			as(evil, write("e", "1"), drained)
			_, _, d, err := evil.find("d")
			if err != nil {
				t.Fatal(err)
			}
			forgeFold(w, evil, asItIs, table.Entry{Key: meta.DirentKey(d.Ref.Ino, []byte(name)), Value: meta.AppendDirent(nil, meta.Dirent{Ref: d.Ref, Kind: meta.Dir})})
			third := w.machine("third")
			third.mustOpen()
			if all, err := third.v.List(t.Context(), d.Ref); !errors.Is(err, meta.ErrMalformed) {
				t.Errorf("the folder lists %v, %v", all, err)
			}
			if s := third.v.Status(); !slices.ContainsFunc(s.Warnings, func(w string) bool {
				return strings.Contains(w, fmt.Sprintf("cannot be listed: %d.", uint64(d.Ref.Ino)))
			}) {
				t.Errorf("status says %q", s.Warnings)
			}
			if a, err := third.v.Lookup(t.Context(), d.Ref, []byte(name)); err == nil {
				t.Errorf("it is found: %v", a.Ref)
			}
			as(third, read("g", "1"), read("d/f", "1"), write("d/new", "1"), drained, read("d/new", "1"))
			as(w.laptop, upToDate, read("d/new", "1"))
		})
	}
}

// Two machines that change one file of 100 GiB, of which next to nothing was ever written,
// keep both, and nobody reads it all, nor waits for that.
func TestConflictOfASparseFile(t *testing.T) {
	const size = 100 << 30
	w := newWorld(t)
	desk := w.machine("desk")
	at := func(off uint64, text string) act {
		return func(m *machine) error {
			a, err := m.touch("big")
			if err == nil {
				err = m.v.Write(context.Background(), a.Ref, off, []byte(text))
			}
			if err == nil {
				err = m.v.Flush(context.Background(), a.Ref)
			}
			return err
		}
	}
	holds := func(path, first, last string) act {
		return func(m *machine) error {
			_, _, a, err := m.find(path)
			if err != nil {
				return err
			}
			if a.Inode.Size != size {
				return fmt.Errorf("%s has %d bytes", path, a.Inode.Size)
			}
			for off, want := range map[uint64]string{0: first, size / 2: "middle", size - 4: last, 70 << 30: "\x00\x00"} {
				b := make([]byte, len(want))
				if n, err := m.v.Read(context.Background(), a.Ref, off, b); err != nil || string(b[:n]) != want {
					return fmt.Errorf("%s at %d: %q, %w", path, off, b[:n], err)
				}
			}
			return nil
		}
	}
	as(w.laptop, write("big", ""), truncated("big", size), at(0, "first"), at(size/2, "middle"), at(size-4, "last"), drained)
	as(desk, holds("big", "first", "last"), write("y", "1"), drained)
	as(w.laptop, upToDate, at(0, "FIRST"), drained)
	as(desk, at(size-4, "LAST"), write("after", "1"), drained)
	third := w.machine("third")
	third.mustOpen()
	for _, m := range []*machine{desk, w.laptop, third} {
		as(m, upToDate, read("after", "1"), holds("big", "FIRST", "last"))
		all := m.unresolved()
		if len(all) != 1 || all[0].Kind != "copy" || len(all[0].Mine.Paths) != 1 {
			t.Fatalf("%s: %+v", m.name, all)
		}
		as(m, holds(all[0].Mine.Paths[0][1:], "first", "LAST"))
	}
	as(desk, resolve(KeepMine), drained, holds("big", "first", "LAST"), lock)
}
