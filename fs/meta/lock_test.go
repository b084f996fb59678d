package meta_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

func (h *leasehold) lock(mode, want meta.LockMode) *meta.SetLock {
	return &meta.SetLock{Ino: h.data.Ino, Lock: meta.Lock{Mode: mode, Want: want, Until: h.slot + meta.LockTerm}}
}

// wants has a device try an operation that is refused, or is not.
func (h *leasehold) wants(what string, d meta.Device, op meta.Op, ok bool) {
	h.t.Helper()
	_, err := h.try(d, op)
	if ok && err != nil || !ok && !errors.Is(err, meta.ErrLeased) {
		h.t.Errorf("%s: %v", what, err)
	}
}

// Who may have the lock of a file beside whom, and what others may do to the file.
func TestLocks(t *testing.T) {
	const no, sh, ex = meta.LockNone, meta.LockShared, meta.LockExclusive
	h := newLeasehold(t)
	h.wants("shared, of nobody", 1, h.lock(sh, no), true)
	h.wants("shared beside shared", 2, h.lock(sh, no), true)
	h.wants("exclusive beside shared", 1, h.lock(ex, no), false)
	h.wants("wanted beside shared", 1, h.lock(sh, ex), true)
	h.wants("written beside shared", 3, write(h.data, 7), true)
	h.wants("given back", 2, &meta.SetLock{Ino: h.data.Ino}, true)
	h.wants("given back twice", 2, &meta.SetLock{Ino: h.data.Ino}, true)
	h.wants("exclusive", 1, h.lock(ex, no), true)
	h.wants("shared beside exclusive", 2, h.lock(sh, no), false)
	h.wants("exclusive beside exclusive", 2, h.lock(ex, no), false)
	h.wants("wanted beside exclusive", 2, h.lock(no, ex), true)
	h.wants("for too long", 1, &meta.SetLock{Ino: h.data.Ino, Lock: meta.Lock{Mode: ex, Until: h.slot + meta.MaxLockTerm + 1}}, false)

	h.wants("written by another", 2, write(h.data, 8), false)
	h.wants("truncated by another", 2, &meta.Truncate{Ref: h.data, Size: 1}, false)
	h.wants("attributes, by another", 2, &meta.Setattr{Ref: h.data, Valid: meta.SetPerm, Perm: 0o777}, true)
	h.wants("written by the holder", 1, write(h.data, 9), true)
	h.wants("another file", 2, write(h.deep, 9), true)

	// Nobody changes what another has.
	for what, b := range map[string]*meta.Batch{
		"deleted by another": {Deletes: [][]byte{meta.LockKey(h.data.Ino, 1)}},
		"put by another":     {Puts: []meta.KV{{Key: meta.LockKey(h.data.Ino, 1), Value: meta.AppendLock(nil, meta.Lock{Mode: sh, Until: 1})}}},
	} {
		if err := meta.Fence(h.state, b, 2, h.slot); !errors.Is(err, meta.ErrLeased) {
			t.Errorf("%s: %v", what, err)
		}
	}

	h.slot += meta.LockTerm
	h.wants("in the last slot", 2, h.lock(sh, no), false)
	h.slot++
	h.wants("exclusive, when it has run out", 2, h.lock(ex, no), true)
	h.wants("kept when another has it", 1, h.lock(ex, no), false)
	h.wants("written late", 1, write(h.data, 10), false)
	h.wants("given back late", 1, &meta.SetLock{Ino: h.data.Ino}, true)
}

// A batch that passes operation by operation passes as a whole.
func TestLocksOfManyOperations(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	kept, refused := 0, 0
	for range 300 {
		h := newLeasehold(t)
		step := func() meta.Op {
			mode := meta.LockMode(rng.IntN(3))
			switch op := h.lock(mode, 0); {
			case rng.IntN(3) == 0:
				return write(h.data, uint64(rng.IntN(99)))
			case mode == meta.LockNone:
				return &meta.SetLock{Ino: h.data.Ino}
			default:
				op.Lock.Until = h.slot + uint64(rng.IntN(40))
				return op
			}
		}
		for range 3 {
			_, _ = h.try(2, step())
			_, _ = h.try(3, step())
			h.slot += uint64(rng.IntN(20))
		}
		before := h.state.Clone()
		var whole meta.Builder
		for range 8 {
			if b, err := h.try(1, step()); err == nil {
				whole.Add(b)
				kept++
			} else {
				refused++
			}
		}
		for _, later := range []uint64{0, 1, uint64(rng.IntN(300))} {
			if err := meta.Fence(before, whole.Batch(), 1, h.slot+later); err != nil {
				t.Fatalf("as a whole, %d slots later: %v", later, err)
			}
		}
	}
	if kept < 300 || refused < 100 {
		t.Errorf("%d kept, %d refused: that tests nothing", kept, refused)
	}
}
