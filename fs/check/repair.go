package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// LostFound is the folder in the root that holds what was saved.
const LostFound = "lost+found"

const readMe = "READ ME.txt"

// Repaired is what a repair did.
type Repaired struct {
	Mended  int      `json:"mended"`  // counts, names and the like that were put right
	Saved   []string `json:"saved"`   // files and directories in lost+found
	Folder  string   `json:"folder"`  // of these; empty: none was needed
	Folded  bool     `json:"folded"`  // the metadata was folded again, and a hint written
	Header  string   `json:"header"`  // object that was written; empty: none
	Skipped []string `json:"skipped"` // what was left alone, and why
}

// Mendable is how many things a repair would do something about, besides what it may
// find on the way.
func (r *Report) Mendable() int { return len(r.fixes) }

// SavedFiles is how many files and directories it would bring to lost+found.
func (r *Report) SavedFiles() (n int) {
	for _, f := range r.fixes {
		switch f.do {
		case fixFile, fixAdopt, fixCut:
			n++
		}
	}
	return n
}

// FromCommits says whether the volume that is to be repaired must be opened from its
// commits, since a table is damaged: see volume.Distrust.
func (r *Report) FromCommits() bool { return r.fixing(fixTables) }

// NeedsVolume says whether a repair needs a volume at all.
func (r *Report) NeedsVolume() bool {
	for _, f := range r.fixes {
		if f.do != fixHeader {
			return true
		}
	}
	return false
}

func (r *Report) fixing(do action) bool {
	for _, f := range r.fixes {
		if f.do == do {
			return true
		}
	}
	return false
}

// mender is a repair at work.
type mender struct {
	v        *volume.Volume
	r        *Report
	now      time.Time
	uid, gid uint32
	done     Repaired
	folder   meta.Ref
	taken    map[string]bool
	story    strings.Builder
}

// Repair puts right what the report found, as operations of the volume, which was
// opened after the check. Of a file that was changed meanwhile nothing is touched. Bytes
// are in the store when the volume is drained; nothing there is deleted.
func Repair(ctx context.Context, v *volume.Volume, r *Report, uid, gid uint32) (*Repaired, error) {
	m := &mender{v: v, r: r, now: time.Now(), uid: uid, gid: gid, taken: map[string]bool{}, done: Repaired{Saved: []string{}, Skipped: []string{}}}
	if r.blind {
		return &m.done, ErrBlind
	}
	for _, step := range []struct {
		do action
		fn func(context.Context, *fix) error
	}{
		{fixTail, m.tail},
		{fixMend, m.mend},
		{fixLinks, m.mend},
		{fixCut, m.cut},
		{fixAdopt, m.adopt},
		{fixFile, m.file},
	} {
		for i := range r.fixes {
			f := &r.fixes[i]
			if f.do != step.do {
				continue
			}
			err := step.fn(ctx, f)
			if meta.Refused(err) || errors.Is(err, volume.ErrStale) {
				m.done.Skipped = append(m.done.Skipped, fmt.Sprintf("inode %d: %v", f.ino, err))
				continue
			}
			if err != nil {
				return &m.done, err
			}
		}
	}
	return &m.done, m.end(ctx)
}

// end writes down what was done, brings it to the store, and folds.
func (m *mender) end(ctx context.Context) error {
	if m.story.Len() > 0 {
		if err := m.tellStory(ctx); err != nil {
			return fmt.Errorf("write %s: %w", readMe, err)
		}
	}
	if err := m.v.SyncTree(); err != nil {
		return err
	}
	if err := m.v.WaitStored(ctx); err != nil {
		return err
	}
	if m.r.fixing(fixTables) || m.r.fixing(fixFold) || m.r.fixing(fixHint) || m.r.fixing(fixLedger) {
		if err := m.v.Refold(ctx, m.r.fixing(fixLedger)); err != nil {
			return err
		}
		m.done.Folded = true
	}
	return nil
}

func (m *mender) mend(ctx context.Context, f *fix) error {
	if err := m.v.Mend(ctx, f.mend); err != nil {
		return err
	}
	m.done.Mended++
	return nil
}

// errChanged: a file is not the one that was checked.
var errChanged = fmt.Errorf("%w since the check", meta.ErrConflict)

// same returns the inode of a file that is as it was checked.
func (m *mender) same(ctx context.Context, f *fix) (*meta.Inode, error) {
	a, err := m.v.Attr(ctx, f.ref)
	if err != nil {
		return nil, err
	}
	if a.Inode.Version != f.version || a.Inode.Size != f.size {
		return nil, errChanged
	}
	return a.Inode, nil
}

// tail takes away what is kept behind the end of a file.
func (m *mender) tail(ctx context.Context, f *fix) error {
	n, err := m.same(ctx, f)
	if err != nil {
		return err
	}
	if err := m.v.Truncate(ctx, f.ref, f.end, nil); err != nil {
		return err
	}
	if err := m.v.Truncate(ctx, f.ref, f.size, nil); err != nil {
		return err
	}
	m.done.Mended++
	return m.times(ctx, f.ref, n)
}

// times gives a file its time back, and makes its version the one to be expected now.
func (m *mender) times(ctx context.Context, ref meta.Ref, n *meta.Inode) error {
	if err := m.v.Setattr(ctx, ref, meta.Setattr{Ref: ref, Valid: meta.SetMtime, Mtime: n.Mtime}); err != nil {
		return err
	}
	a, err := m.v.Attr(ctx, ref)
	if err != nil {
		return err
	}
	for i := range m.r.fixes {
		if f := &m.r.fixes[i]; f.ref == ref && f.do == fixFile {
			f.version = a.Inode.Version
		}
	}
	return nil
}

// cut takes a directory out of a circle.
func (m *mender) cut(ctx context.Context, f *fix) error {
	if err := m.open(ctx); err != nil {
		return err
	}
	parent, err := m.ref(f)
	if err != nil {
		return err
	}
	name := m.free(fmt.Sprintf("%s (directory %d, found in itself)", f.name, f.ino))
	if err := m.v.Rename(ctx, parent, []byte(f.name), m.folder, []byte(name), meta.NoReplace); err != nil {
		return err
	}
	m.saved(name)
	m.tell("%s\n  a directory that lay in itself, so that no way led to it.\n", name)
	return nil
}

func (m *mender) ref(f *fix) (meta.Ref, error) {
	if f.name == "" {
		return meta.Ref{}, meta.ErrNotExist
	}
	return f.above, nil
}

// adopt gives what has no name one.
func (m *mender) adopt(ctx context.Context, f *fix) error {
	if err := m.open(ctx); err != nil {
		return err
	}
	what := "file"
	if f.kind == meta.Dir {
		what = "directory"
	}
	name := m.free(fmt.Sprintf("%s %d without a name", what, f.ino))
	if err := m.v.Mend(ctx, &meta.Mend{Act: meta.MendAdopt, Ref: f.ref, Parent: m.folder, Name: []byte(name)}); err != nil {
		return err
	}
	m.saved(name)
	m.tell("%s\n  a %s that had no name.\n", name, what)
	return nil
}

// file brings a file of which parts are lost to lost+found, by all its names, and
// makes the lost ranges zeros, so that what is left of it can be read.
func (m *mender) file(ctx context.Context, f *fix) error {
	n, err := m.same(ctx, f)
	if err != nil {
		return err
	}
	if err := m.open(ctx); err != nil {
		return err
	}
	for i, at := range f.names {
		name := at.name
		if at.dir != m.folder {
			name = m.free(foundName(at.path))
			if err := m.v.Rename(ctx, at.dir, []byte(at.name), m.folder, []byte(name), meta.NoReplace); err != nil {
				return err
			}
		}
		m.saved(name)
		if i == 0 {
			m.tell("%s\n  was %s\n", Printable(name), Printable(at.path))
		} else {
			m.tell("  and %s, which was %s\n", Printable(name), Printable(at.path))
		}
	}
	if len(f.names) == 0 {
		m.tell("inode %d\n", f.ino)
	}
	for _, b := range f.lost {
		if err := m.v.PunchHole(ctx, f.ref, b.Offset, b.Length); err != nil {
			return err
		}
		m.tell("  lost: bytes %d to %d of %d, which are zeros now\n", b.Offset, b.Offset+b.Length-1, f.size)
	}
	for _, why := range f.why {
		m.tell("  why: %s\n", why)
	}
	return m.times(ctx, f.ref, n)
}

// open makes lost+found, or finds it.
func (m *mender) open(ctx context.Context) error {
	if m.folder != (meta.Ref{}) {
		return nil
	}
	for i := 1; ; i++ {
		name := LostFound
		if i > 1 {
			name = fmt.Sprintf("%s %d", LostFound, i)
		}
		a, err := m.v.Lookup(ctx, meta.RootRef, []byte(name))
		if errors.Is(err, meta.ErrNotExist) {
			a, err = m.v.Make(ctx, meta.RootRef, []byte(name), volume.Node{Kind: meta.Dir, Perm: 0o700, UID: m.uid, GID: m.gid}, false)
		}
		if err != nil {
			return err
		}
		if a.Inode.Kind != meta.Dir {
			continue // a file of that name is the user's own
		}
		entries, err := m.v.List(ctx, a.Ref)
		if err != nil {
			return err
		}
		for _, e := range entries {
			m.taken[string(e.Name)] = true
		}
		m.folder, m.done.Folder = a.Ref, "/"+name
		return nil
	}
}

func (m *mender) saved(name string) {
	m.done.Saved = append(m.done.Saved, m.done.Folder+"/"+name)
}

func (m *mender) tell(format string, args ...any) { fmt.Fprintf(&m.story, format, args...) }

// tellStory adds what was done to the text in lost+found.
func (m *mender) tellStory(ctx context.Context) error {
	text := fmt.Sprintf("%s\n\nhushfs fsck --repair has put here what it could save. A name tells where it was.\n\n", m.now.Format("2006-01-02 15:04:05 MST"))
	a, err := m.v.Lookup(ctx, m.folder, []byte(readMe))
	if errors.Is(err, meta.ErrNotExist) {
		a, err = m.v.Make(ctx, m.folder, []byte(readMe), volume.Node{Kind: meta.File, Perm: 0o600, UID: m.uid, GID: m.gid}, false)
	}
	if err != nil {
		return err
	}
	if a.Inode.Size > 0 {
		text = "\n" + text
	}
	return m.v.Write(ctx, a.Ref, a.Inode.Size, []byte(text+m.story.String()))
}
