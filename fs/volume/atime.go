package volume

import (
	"errors"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// accesses are the times at which inodes were read that are stored nowhere yet; Volume.mu
// guards them. Programs see them at once. They are worth no commit of their own, so they
// go along with other changes, and only so many: reading a large tree must not write
// one. Those that are left over stay here until there is room again, and end with the
// mount. The zero value is ready.
type accesses struct {
	at     map[meta.Ino]access
	stored []time.Time // when so many were stored last, oldest first
}

type access struct {
	ref  meta.Ref
	time meta.Time
}

const (
	accessesMax  = 1 << 16   // that are kept
	accessesKept = 1000      // that are stored in an accessHour
	accessHour   = time.Hour // in which relatime(8) would store one an inode
	accessDay    = 24 * 60 * 60
)

// Accessed says that an inode is being read. Its atime changes by the rule of
// relatime: when it is not after mtime and ctime, or is a day old.
func (v *Volume) Accessed(ref meta.Ref) {
	if v.o.ReadOnly || v.o.NoAtime {
		return
	}
	at := v.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.frozen(ref) != nil {
		return // what is read is the file no more
	}
	ref = v.at(ref)
	n, err := v.inode(ref)
	if err != nil || v.closing {
		return // it is not near, or gone
	}
	if n.Mtime.Before(n.Atime) && n.Ctime.Before(n.Atime) && at.Sec-n.Atime.Sec < accessDay {
		return
	}
	if v.accesses.at == nil {
		v.accesses.at = map[meta.Ino]access{}
	}
	if len(v.accesses.at) == accessesMax {
		for ino := range v.accesses.at {
			delete(v.accesses.at, ino)
			break
		}
	}
	v.accesses.at[ref.Ino] = access{ref, at}
}

// accessed shows in n the time at which it was read; v is locked.
func (v *Volume) accessed(ino meta.Ino, n *meta.Inode) {
	if a, ok := v.accesses.at[ino]; ok && n.Atime.Before(a.time) {
		n.Atime = a.time
	}
}

// joinAccess lets op, which changes an inode, store the time at which that was read;
// one that sets the time itself is the later; v is locked.
func (v *Volume) joinAccess(op *meta.Setattr) {
	a, ok := v.accesses.at[op.Ref.Ino]
	if !ok {
		return
	}
	delete(v.accesses.at, op.Ref.Ino)
	if op.Valid&meta.SetAtime == 0 {
		op.Valid |= meta.SetAtime
		op.Atime = a.time
	}
}

// keepAccesses makes operations of accesses where others wait to be journaled.
func (v *Volume) keepAccesses() {
	v.mu.Lock()
	defer v.mu.Unlock()
	a := &v.accesses
	if len(v.queue) == 0 || len(a.at) == 0 || v.device == 0 || v.broken != nil {
		return
	}
	for len(a.stored) > 0 && time.Since(a.stored[0]) >= accessHour {
		a.stored = a.stored[1:]
	}
	for ino, x := range a.at {
		if len(a.stored) == accessesKept {
			return
		}
		delete(a.at, ino)
		err := v.apply(x.ref, &meta.Setattr{Ref: x.ref, Valid: meta.SetAtime | meta.KeepCtime, Atime: x.time})
		switch {
		case err == nil:
			a.stored = append(a.stored, time.Now())
		case !errors.Is(err, ErrStale) && !errors.Is(err, meta.ErrUnknown) && !errors.Is(err, meta.ErrLeased): // gone, not near, or another's
			v.log.Debug("time of reading not kept", "inode", uint64(ino), "err", err)
			return
		}
	}
}
