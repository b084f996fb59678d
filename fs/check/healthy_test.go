package check

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// historyRounds is how many random histories are checked: HUSHFS_CHECK_ROUNDS.
func historyRounds(t *testing.T) int {
	if s := os.Getenv("HUSHFS_CHECK_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		must(t, err)
		return n
	}
	return 4
}

// Whatever programs do, with hard links, holes, renames, attributes, files that were
// deleted while they were open, folds and remounts: a check finds nothing.
func TestHealthyHistories(t *testing.T) {
	t.Parallel()
	for range historyRounds(t) {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := &historian{world: newWorld(t), rng: rand.New(rand.NewPCG(seed, 1)), dirs: []meta.Ref{meta.RootRef}}
			h.folds = 1 + h.rng.IntN(12)
			for i := range 6 {
				for range 25 {
					h.do()
				}
				if h.rng.IntN(3) == 0 {
					must(t, h.open().WaitStored(t.Context()))
					h.clean(i) // while it is mounted
				}
				h.lock()
				h.clean(i)
			}
			if h.did < 40 {
				t.Errorf("only %d operations did something", h.did)
			}
		})
	}
}

// historian does what comes to its mind.
type historian struct {
	*world
	rng  *rand.Rand
	dirs []meta.Ref
	did  int
}

func (h *historian) clean(round int) {
	h.t.Helper()
	r := h.check(1)
	if len(r.Findings) > 0 || !r.Whole {
		h.t.Fatalf("round %d: %+v", round, r.Findings)
	}
}

// do does one thing; what the tree does not allow is no failure.
func (h *historian) do() {
	h.t.Helper()
	ctx, v := context.Background(), h.open()
	dir, to := h.dirs[h.rng.IntN(len(h.dirs))], h.dirs[h.rng.IntN(len(h.dirs))]
	name := fmt.Appendf(nil, "n%d", h.rng.IntN(12))
	other := fmt.Appendf(nil, "n%d", h.rng.IntN(12))
	a, err := v.Lookup(ctx, dir, name)
	if err == nil && a.Inode.Kind != meta.Dir && h.rng.IntN(3) > 0 {
		err = h.change(a)
	} else {
		switch k := h.rng.IntN(20); {
		case k < 8:
			kind := []meta.Kind{meta.File, meta.File, meta.File, meta.Dir, meta.Symlink, meta.Fifo}[h.rng.IntN(6)]
			n := volume.Node{Kind: kind, Perm: 0o755, UID: 1000, GID: 1000}
			if kind == meta.Symlink {
				n.Target = []byte("elsewhere")
			}
			if a, err = v.Make(ctx, dir, name, n, false); err == nil && kind == meta.Dir {
				h.dirs = append(h.dirs, a.Ref)
			} else if err == nil && kind == meta.File {
				err = v.Write(ctx, a.Ref, 0, pattern(byte(h.rng.IntN(256)), h.rng.IntN(3000)))
			}
		case k < 11:
			err = v.Rename(ctx, dir, name, to, other, []meta.RenameFlags{0, 0, meta.NoReplace, meta.Exchange}[h.rng.IntN(4)])
		case k < 14 && err == nil:
			_, err = v.Link(ctx, a.Ref, to, other)
		case k < 16 && err == nil:
			if as, must := v.Open(ctx, a.Ref, true); must == nil { // deleted while it is open, and written
				err = v.Unlink(ctx, dir, name)
				if a.Inode.Kind == meta.File {
					_ = v.Write(ctx, as, 5, []byte("nobody will read this"))
				}
				v.Release(as)
			}
		case k < 17:
			err = v.Rmdir(ctx, dir, name)
		case k < 18:
			a, err = v.Tmpfile(ctx, dir, volume.Node{Kind: meta.File, Perm: 0o600, UID: 1000, GID: 1000})
			if err == nil {
				err = v.Write(ctx, a.Ref, 0, []byte("without a name"))
				if h.rng.IntN(2) == 0 {
					_, err = v.Link(ctx, a.Ref, to, other)
				}
				v.Release(a.Ref)
			}
		default:
			err = v.WaitStored(ctx)
		}
	}
	switch {
	case err == nil:
		h.did++
	case !meta.Refused(err) && !errors.Is(err, volume.ErrStale):
		h.t.Fatalf("seeded history: %v", err)
	}
}

// change does something to one inode.
func (h *historian) change(a volume.Attr) error {
	ctx, v := context.Background(), h.open()
	far := uint64(h.rng.IntN(200_000))
	switch k := h.rng.IntN(8); {
	case k < 1:
		return v.SetXattr(ctx, a.Ref, fmt.Appendf(nil, "user.%d", h.rng.IntN(3)), pattern(1, h.rng.IntN(50)), 0)
	case k < 2 && a.Inode.Xattrs:
		return v.RemoveXattr(ctx, a.Ref, fmt.Appendf(nil, "user.%d", h.rng.IntN(3)))
	case a.Inode.Kind != meta.File:
		return nil
	case k < 3:
		return v.Truncate(ctx, a.Ref, far, nil)
	case k < 4:
		return v.PunchHole(ctx, a.Ref, far/2, 1+far/3)
	case k < 5:
		return v.Fsync(ctx, a.Ref)
	}
	return v.Write(ctx, a.Ref, far, pattern(byte(far), 1+h.rng.IntN(9000)))
}
