package volume

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/hushfs/hushfs/fs/meta"
)

// deed is one step of a history: what a program does, or, with a name of events,
// what happens to the machine in between. Its fields mean what Do makes of them; see
// plain.do, and player.happen.
type deed struct {
	Do       string
	At, To   string
	Off, Len int64
	Num      uint64 // also the seed of what is written
	Hold     int    // which of the open files
}

// GoString is the deed as it stands in a test.
func (d deed) GoString() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{Do: %q", d.Do)
	for _, f := range []struct{ name, s string }{{"At", d.At}, {"To", d.To}} {
		if f.s != "" {
			fmt.Fprintf(&b, ", %s: %q", f.name, f.s)
		}
	}
	for _, f := range []struct {
		name string
		n    int64
	}{{"Off", d.Off}, {"Len", d.Len}, {"Hold", int64(d.Hold)}} {
		if f.n != 0 {
			fmt.Fprintf(&b, ", %s: %d", f.name, f.n)
		}
	}
	if d.Num != 0 {
		fmt.Fprintf(&b, ", Num: %#x", d.Num)
	}
	return b.String() + "}"
}

// events are what can happen between the deeds of programs.
var events = []string{
	"flush", "fsync", "persist", "publish", "leave", "shift", // when things are written where
	"crash", "lose", "die", // the process ends: with all, or with what was acknowledged
	"lock", "forget cache", "spoil cache", "copy", "move", // the machine is another afterwards
}

func isEvent(do string) bool { return slices.Contains(events, do) }

// author writes histories. It lives them on a model as it goes, so that most deeds
// are possible, and knows what is where.
type author struct {
	rng  *rand.Rand
	m    *plain
	left int64 // bytes that may still be written
}

// history is n deeds of programs.
func (a *author) history(n int) (l []deed) {
	for len(l) < n {
		for _, d := range a.next() {
			_ = a.m.do(d) // a deed that is refused is one too
			l = append(l, d)
		}
	}
	return l
}

// next is a deed, or some that belong together.
func (a *author) next() []deed {
	r := a.rng
	switch k := r.IntN(100); {
	case k < 13:
		return one(deed{Do: "make", At: a.fresh(), Num: uint64(a.perm())<<8 | uint64(meta.File), Off: a.owner(), Len: a.owner()})
	case k < 19:
		return one(deed{Do: "make", At: a.fresh(), Num: uint64(a.perm()|0o700)<<8 | uint64(meta.Dir), Off: a.owner(), Len: a.owner()})
	case k < 21:
		return one(deed{Do: "make", At: a.fresh(), To: strings.Repeat("t", 1+r.IntN(300)), Num: 0o777<<8 | uint64(meta.Symlink), Off: 1000, Len: 1000})
	case k < 23:
		kind := []meta.Kind{meta.Fifo, meta.Char, meta.Block, meta.Socket}[r.IntN(4)]
		d := deed{Do: "make", At: a.fresh(), Num: uint64(a.perm())<<8 | uint64(kind), Off: 1000, Len: 1000}
		if kind == meta.Char || kind == meta.Block {
			d.Num |= uint64(r.Uint32()) << 32
		}
		return one(d)
	case k < 25:
		return one(deed{Do: "tmplink", At: a.fresh(), Off: int64(r.IntN(10_000)), Len: a.length(), Num: r.Uint64()})
	case k < 42:
		path, t := a.file()
		return one(deed{Do: "write", At: path, Off: a.offset(t), Len: a.length(), Num: r.Uint64()})
	case k < 47:
		path, t := a.file()
		d := deed{Do: "truncate", At: path, Off: a.offset(t)}
		if r.IntN(3) == 0 {
			d.Off = 0
		}
		if r.IntN(2) == 0 {
			d.Num = uint64(r.Uint32()) + 1
		}
		return one(d)
	case k < 50:
		path, t := a.file()
		return one(deed{Do: "punch", At: path, Off: a.offset(t), Len: 1 + a.length()})
	case k < 60:
		flags := []meta.RenameFlags{0, 0, 0, meta.NoReplace, meta.Exchange}[r.IntN(5)]
		to := a.fresh()
		if flags == meta.Exchange || r.IntN(2) == 0 {
			to = a.any()
		}
		return one(deed{Do: "rename", At: a.any(), To: to, Num: uint64(flags)})
	case k < 64:
		return one(deed{Do: "link", At: a.any(), To: a.fresh()})
	case k < 70:
		return one(deed{Do: "unlink", At: a.any()})
	case k < 73:
		return one(deed{Do: "rmdir", At: a.directory()})
	case k < 78:
		d := deed{Do: "setxattr", At: a.any(), To: a.attribute(), Len: int64(r.IntN(200)), Num: r.Uint64() & (1<<32 - 1)}
		if r.IntN(8) == 0 && a.left > 1<<20 {
			d.Len = meta.MaxXattr - int64(r.IntN(2))
			a.left -= d.Len
		}
		d.Num |= uint64(r.IntN(3)) << 32
		return one(d)
	case k < 80:
		return one(deed{Do: "rmxattr", At: a.any(), To: a.attribute()})
	case k < 82:
		return one(deed{Do: "chmod", At: a.any(), Num: uint64(r.IntN(0o10000))})
	case k < 84:
		return one(deed{Do: "chown", At: a.any(), Off: a.owner(), Len: a.owner()})
	case k < 85:
		return one(deed{Do: "demote", At: a.any()})
	case k < 88:
		return one(deed{Do: "times", At: a.any(), Off: a.second(), Len: a.second(), Num: uint64(r.IntN(1e9))})
	case k < 90:
		path, _ := a.file()
		return one(deed{Do: "open", At: path, Hold: r.IntN(heldMax)})
	case k < 91:
		return one(deed{Do: "close", Hold: r.IntN(heldMax)})
	case k < 95:
		h := r.IntN(heldMax)
		return one(deed{Do: "hwrite", Off: a.offset(a.m.held[h]), Len: a.length(), Num: r.Uint64(), Hold: h})
	case k < 99:
		path, t := a.file()
		return one(deed{Do: "read", At: path, Off: a.offset(t), Len: a.length()})
	}
	if r.IntN(3) > 0 {
		return nil
	}
	// Enough names for several blocks of a table, and for a few batches.
	dir, all := a.directory(), []deed(nil)
	for i := range 50 + r.IntN(300) {
		all = append(all, deed{Do: "make", At: fmt.Sprintf("%s/many-%04d%s", dir, i, strings.Repeat("x", r.IntN(100))), Num: 0o644<<8 | uint64(meta.File), Off: 1000, Len: 1000})
	}
	return all
}

func one(d deed) []deed { return []deed{d} }

// names that are used again and again, so that deeds meet.
var someNames = []string{"a", "b", "c", "d", "e", "f", strings.Repeat("n", 255), "\xff\x01 ", "…"}

// fresh is a path in a directory that is there; something may have it.
func (a *author) fresh() string {
	return a.directory() + "/" + someNames[a.rng.IntN(len(someNames))]
}

// pick is one of the paths for which ok says so; a path of nothing when there is none.
func (a *author) pick(ok func(*thing) bool) string {
	var l []string
	for path, t := range a.m.names {
		if path != "" && ok(t) {
			l = append(l, path)
		}
	}
	if len(l) == 0 || a.rng.IntN(30) == 0 {
		return "/nothing"
	}
	slices.Sort(l)
	return l[a.rng.IntN(len(l))]
}

func (a *author) any() string { return a.pick(func(*thing) bool { return true }) }

func (a *author) file() (string, *thing) {
	path := a.pick(func(t *thing) bool { return t.kind == meta.File })
	return path, a.m.names[path]
}

// directory is one that is not too deep; most often the root.
func (a *author) directory() string {
	if a.rng.IntN(3) == 0 {
		return ""
	}
	if p := a.pick(func(t *thing) bool { return t.kind == meta.Dir }); a.m.names[p] != nil && strings.Count(p, "/") < 4 {
		return p
	}
	return ""
}

func (a *author) attribute() string {
	return []string{"user.a", "user.b", "user." + strings.Repeat("l", 200), "system.posix_acl_access", "system.posix_acl_default", capability, "trusted.x"}[a.rng.IntN(7)]
}

func (a *author) perm() uint16 {
	return []uint16{0o644, 0o600, 0o755, 0o4755, 0o2755, 0o1777, 0o000, 0o2775}[a.rng.IntN(8)]
}

func (a *author) owner() int64 { return []int64{1000, 0, 1001, 65534, 1 << 31}[a.rng.IntN(5)] }

func (a *author) second() int64 {
	return []int64{0, -1, 1, 1 << 31, 1 << 32, -1 << 40, 1_700_000_000, 1 << 40}[a.rng.IntN(8)]
}

// length of a write: around the edges of pages, segments, and what goes inline.
func (a *author) length() int64 {
	edges := []int64{1, 100, page, 64 << 10, 64<<10 + 1, 128 << 10, inlineMax, 300_000}
	n := edges[min(a.rng.IntN(12), a.rng.IntN(len(edges)))]
	if a.rng.IntN(60) == 0 {
		n = 4<<20 + 100 // more than a pack
	}
	n = max(n+int64(a.rng.IntN(3))-1, 1)
	if n > a.left {
		return 1 + int64(a.rng.IntN(50))
	}
	a.left -= n
	return n
}

// offset in a file, or behind its end.
func (a *author) offset(t *thing) int64 {
	var size int64
	if t != nil {
		size = t.size
	}
	switch a.rng.IntN(10) {
	case 0, 1:
		return 0
	case 2, 3, 4:
		return size
	case 5, 6, 7:
		return a.rng.Int64N(size + 1)
	case 8:
		return size + a.rng.Int64N(200_000)
	}
	return []int64{1 << 32, 1 << 40, 1<<62 + 7, page, 64 << 10}[a.rng.IntN(5)]
}
