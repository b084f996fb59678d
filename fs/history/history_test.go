package history

import (
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// story is a history in which everything happens, and what is told of it, the oldest
// first. With folds there is a checkpoint now and then.
func story(t testing.TB, folds bool) (w *world, laptop *device, want []string) {
	w, laptop = newWorld(t)
	want = append(want, "laptop: created /")
	desktop := laptop
	step := func(d *device, told string, ops ...func(w *world) meta.Op) {
		w.do(d, ops...)
		want = append(want, d.name+": "+told)
	}
	fold := func(d *device) {
		if folds {
			w.fold(d, nil, nil)
			want = append(want, d.name+": checkpoint")
		}
	}
	step(laptop, "created /docs; created /docs/a", mkdir("/docs"), mk("/docs/a"))
	step(laptop, "changed /docs/a", write("/docs/a", 5))
	fold(laptop)
	desktop = w.enroll("desktop")
	want = append(want, "desktop: device enrolled desktop")
	step(desktop, "changed /docs/a", write("/docs/a", 7))
	step(desktop, "renamed /docs/b from /docs/a", mv("/docs/a", "/docs/b"))
	step(laptop, "attributes /docs/b (mode)", chmod("/docs/b", 0o600))
	fold(desktop)
	step(laptop, "renamed /papers from /docs", mv("/docs", "/papers"))
	step(laptop, "changed /papers/b", write("/papers/b", 9))
	step(laptop, "renamed /b from /papers/b", mv("/papers/b", "/b"))
	fold(laptop)
	step(laptop, "changed /b", write("/b", 11))
	step(laptop, "linked /papers/again from /b", ln("/b", "/papers/again"))
	step(laptop, "attributes /b (xattr user.x)", xattr("/b", "user.x"))
	step(laptop, "unlinked /b", rm("/b"))
	step(laptop, "changed /papers/again", write("/papers/again", 1))
	step(laptop, "created /new", mk("/new"))
	step(laptop, "removed /papers/again; renamed /papers/again from /new", mv("/new", "/papers/again", "/papers/again"))
	fold(laptop)
	step(laptop, "removed /papers/again", rm("/papers/again"))
	step(laptop, "removed /papers", rmdir("/papers"))
	step(laptop, "created /link", create("/link", meta.Symlink))
	step(laptop, "", mk("/t"), rm("/t"))
	want[len(want)-1] = "laptop:"
	return w, laptop, want
}

// What happened is told, in either order, with one checkpoint, many or none.
func TestStory(t *testing.T) {
	t.Parallel()
	for name, folds := range map[string]bool{"folded": true, "never folded": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _, want := story(t, folds)
			if got := w.lines(Walk{Onward: true}); !slices.Equal(got, want) {
				t.Errorf("onward:\n%q\nwant\n%q", got, want)
			}
			if got := w.lines(Walk{}); !slices.Equal(got, reversed(want)) {
				t.Errorf("newest first:\n%q\nwant\n%q", got, reversed(want))
			}
			v := w.verify()
			if len(v.Findings) > 0 || v.Commits != len(want) || v.Signed+v.Unproven > 0 || folds && v.Checkpoints != 4 {
				t.Errorf("%+v", v)
			}
		})
	}
}

// A path means the file that has it now, whatever it was called before, and a folder all
// that was ever in it. A path that nothing has any more means what was called so.
func TestPath(t *testing.T) {
	t.Parallel()
	w, laptop, _ := story(t, true)
	w.do(laptop, mkdir("/x"), mk("/x/one"))
	w.do(laptop, mv("/x/one", "/two"))
	w.do(laptop, write("/two", 3))
	w.fold(laptop, nil, nil)
	w.do(laptop, mv("/x", "/y"))
	w.do(laptop, mk("/y/three"))
	w.do(laptop, mkdir("/far"), mk("/y/four"))
	w.do(laptop, mv("/y/four", "/far/four"))
	w.fold(laptop, nil, nil)
	w.do(laptop, write("/far/four", 4))
	w.fold(laptop, nil, nil)
	for _, c := range []struct {
		path string
		want []string
	}{
		{"/two", []string{"laptop: created /x/one", "laptop: renamed /two from /x/one", "laptop: changed /two"}},
		{"y", []string{"laptop: created /x; created /x/one", "laptop: renamed /two from /x/one", "laptop: renamed /y from /x", "laptop: created /y/three", "laptop: created /y/four", "laptop: renamed /far/four from /y/four"}},
		{"/far/four", []string{"laptop: created /y/four", "laptop: renamed /far/four from /y/four", "laptop: changed /far/four"}},
		{"/docs/b", []string{"desktop: renamed /docs/b from /docs/a", "laptop: attributes /docs/b (mode)"}},
		{"/never", nil},
	} {
		if got := w.lines(Walk{Path: c.path, Onward: true}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.path, got, c.want)
		}
		if got := w.lines(Walk{Path: c.path}); !slices.Equal(got, reversed(c.want)) {
			t.Errorf("%s, newest first: %q, want %q", c.path, got, reversed(c.want))
		}
	}
}

// Where commits under checkpoints are trimmed, the rest is told as it was, and says
// where it begins.
func TestTrimmed(t *testing.T) {
	t.Parallel()
	w, laptop, want := story(t, true)
	for range leastKept {
		w.do(laptop, chmod("/", 0o700), chmod("/", 0o755))
		want = append(want, "laptop:")
	}
	var announce []chain.Slot
	h := w.open()
	for s := chain.Slot(1); s < 12; s++ {
		if c, err := h.state.Open(s, w.get(w.slot(s))); err == nil && c.Checkpoint == nil {
			w.delete(s)
		} else {
			announce = append(announce, s)
		}
	}
	h = w.open()
	if h.Begins() != 12 || len(announce) != 2 {
		t.Fatalf("begins at %d, announcements %v", h.Begins(), announce)
	}
	want[11] = "laptop: touched /; touched /b; touched /papers" // what it was called before stood in commits that are gone
	left := []string{}
	for i, l := range want {
		if s := chain.Slot(i + 1); s >= 12 || slices.Contains(announce, s) {
			left = append(left, l)
		}
	}
	if got := w.lines(Walk{}); !slices.Equal(got, reversed(left)) {
		t.Errorf("%q\nwant\n%q", got[leastKept:], reversed(left)[leastKept:])
	}
	if got := w.lines(Walk{Onward: true}); !slices.Equal(got, left) {
		t.Errorf("onward: %q\nwant\n%q", got[:15], left[:15])
	}
	if v := w.verify(); len(v.Findings) > 0 || v.Begins != 12 || v.Unproven == 0 || v.Signed == 0 {
		t.Errorf("%+v", v)
	}
}

// Who leased what, and from whom it was taken away, stands in the history.
func TestLeases(t *testing.T) {
	w, laptop := newWorld(t)
	desk := w.enroll("desk")
	w.do(laptop, mkdir("/db"), mk("/db/a"))
	set := func(act meta.LeaseAct, until uint64, from chain.Link) func(w *world) meta.Op {
		return func(w *world) meta.Op {
			o := &meta.SetLease{Act: act, Ref: w.ref("/db"), Until: until}
			if act == meta.LeaseTake {
				o.Parent, o.Name, o.Below = meta.RootRef, []byte("db"), []meta.Ino{w.ref("/db/a").Ino}
				if from.Slot > 0 {
					l, _, err := meta.LeaseOf(w.confirmed, o.Ref.Ino)
					must(t, err)
					o.From = l.Number
				}
			}
			return o
		}
	}
	var none chain.Link
	taken := w.do(laptop, set(meta.LeaseTake, 100, none))
	w.do(laptop, set(meta.LeaseRenew, 200, none))
	w.do(desk, set(meta.LeaseTake, 300, taken))
	w.do(desk, set(meta.LeaseRelease, 0, none))
	w.do(laptop, func(w *world) meta.Op {
		return &meta.SetLock{Ino: w.ref("/db/a").Ino, Lock: meta.Lock{Mode: meta.LockExclusive, Until: 300}}
	})
	want := []string{
		"laptop: lease leased /db 0",
		"laptop: lease kept /db 0",
		"desk: lease taken away /db 1",
		"desk: lease given back /db 0",
		"laptop: 1 locks",
	}
	for _, onward := range []bool{true, false} {
		got := w.lines(Walk{Onward: onward})
		if !onward {
			got = reversed(got)
		}
		if got = got[len(got)-len(want):]; !slices.Equal(got, want) {
			t.Errorf("onward %v:\n%q\nwant\n%q", onward, got, want)
		}
	}
	for path, leases := range map[string]int{"/db": 4, "/db/a": 0} {
		n := 0
		for _, l := range w.lines(Walk{Path: path}) {
			if strings.Contains(l, "lease ") {
				n++
			}
		}
		if n != leases {
			t.Errorf("%s: %d leases, want %d", path, n, leases)
		}
	}
}
