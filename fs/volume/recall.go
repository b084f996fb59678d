package volume

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// commitsDir is the folder of the cache with the newest commits, sealed as in the store.
// They are of use when a store that was set back has them no more: then they say what
// was in them. Nothing else needs them.
const commitsDir = "commits"

// slotsDir is the folder of the state with the commits that what waits was made on.
const slotsDir = "slots"

// openCommits opens the folder of the newest commits, where there is a cache.
func (v *Volume) openCommits() {
	if v.o.CacheSize > 0 && v.o.NoCache == nil {
		v.commits = publish.OpenLocalSlots(filepath.Join(v.o.Cache, commitsDir), v.log)
	}
}

// metCommit is a commit that was met while the chain was loaded.
type metCommit struct {
	slot   chain.Slot
	object []byte
}

// met notes a commit that the chain moved over. It is not kept near before it is known
// that the store was not set back: what is kept there would be overwritten.
func (v *Volume) met(slot chain.Slot, object []byte) {
	v.begun = append(v.begun[max(0, len(v.begun)+1-chain.RememberedMax):], metCommit{slot, object})
}

// recallAll remembers the newest commits of a chain that was loaded, one by one.
func (v *Volume) recallAll(l *publish.Loaded) {
	met := v.begun
	v.begun = nil
	if v.older {
		return
	}
	if err := v.state.Note(l.Chain.Remembered()); err != nil {
		v.log.Warn("the newest commits are not remembered one by one", "err", err)
	}
	for _, c := range met {
		v.recallable(c.slot, c.object)
	}
}

// recallable keeps the newest commits near.
func (v *Volume) recallable(slot chain.Slot, object []byte) {
	v.commits.Put(slot, object)
	if slot > chain.RememberedMax {
		v.commits.Drop(slot - chain.RememberedMax + 1)
	}
}

// forgetCommits takes away what is kept near of a history that was given up, and keeps
// what was met of the one that is gone on with.
func (v *Volume) forgetCommits() {
	dirs := []string{filepath.Join(v.o.State, slotsDir)}
	if v.commits != nil {
		dirs = append(dirs, filepath.Join(v.o.Cache, commitsDir))
	}
	for _, dir := range dirs {
		if err := os.RemoveAll(dir); err != nil {
			v.log.Warn("commits of the history that was given up stay on the disk", "err", pathless(err))
		}
	}
	v.openCommits()
	v.slots = publish.OpenLocalSlots(filepath.Join(v.o.State, slotsDir), v.log)
	for _, c := range v.begun {
		v.slots.Put(c.slot, c.object)
	}
}

// MissingFile is a file or folder that the store shows otherwise than a machine saw it.
type MissingFile struct {
	Path     string `json:"path"`     // in the drive; empty: its name is not known any more
	Ino      uint64 `json:"inode"`    //
	What     string `json:"what"`     // Gone, Older or Back
	Versions int    `json:"versions"` // how many contents are missing; 0: the content is the same
}

// What can be the matter with a file of an older state.
const (
	Gone  = "missing" // it was made, or got that name, since
	Older = "older"   // it was changed since
	Back  = "back"    // it had been removed since
)

// missingMost is how many files are told, and treeMost how many inodes a drive has at most
// whose names are looked for in the tree.
const (
	missingMost = 10000
	treeMost    = 200000
)

// missingFiles lists what the commits did that the store does not show, as far as they are
// kept near. It says how many of them were.
func (v *Volume) missingFiles(ctx context.Context, l *publish.Loaded, s *Setback) (files []MissingFile, commits int) {
	m := recollection{older: l.Confirmed, names: map[meta.Ino]nameAt{}, is: map[string]*MissingFile{}, inos: map[meta.Ino]*MissingFile{}}
	if err := publish.Retry(ctx, m.tree); err != nil {
		v.log.Warn("names of older files are not known", "err", err)
	}
	for _, k := range s.known {
		if k.Slot < s.parted {
			continue
		}
		c := v.keptCommit(l, k.Link)
		if c == nil {
			continue
		}
		commits++
		if err := publish.Retry(ctx, func() error { return m.look(c.Batch) }); err != nil {
			v.log.Warn("what a missing commit did is not known", "slot", uint64(k.Slot), "err", err)
			continue
		}
		m.add(c.Batch)
	}
	return m.list(), commits
}

// keptCommit returns a commit that was valid when this machine saw it, or nil when it is
// not kept near.
func (v *Volume) keptCommit(l *publish.Loaded, at chain.Link) *chain.Commit {
	for _, kept := range []*publish.LocalSlots{v.commits, v.slots} {
		object, err := kept.Get(at.Slot)
		if err != nil {
			continue
		}
		if c, err := l.Chain.Open(at.Slot, object); err == nil && c.ID == at.ID {
			return c
		}
	}
	return nil
}

// nameAt is where an inode has its name.
type nameAt struct {
	parent meta.Ino
	name   string
}

// recollection compares commits with an older state.
type recollection struct {
	older meta.Reader
	names map[meta.Ino]nameAt // of the older state, then of the commits
	is    map[string]*MissingFile
	inos  map[meta.Ino]*MissingFile
	was   map[string]meta.Dirent // by key, names that the older state has and a batch is about
	kind  map[meta.Ino]*meta.Inode
}

// tree learns the names of the older state, of a drive that is not too large.
func (m *recollection) tree() error {
	n, all := 0, map[meta.Ino]nameAt{}
	var bad error
	from, to := meta.DirentKey(0, nil), meta.DirentRange(1<<52-1).To
	err := m.older.Scan(from, to, func(k, value []byte) bool {
		parent, name, err := meta.ParseDirentKey(k)
		if err != nil {
			bad = err
			return false
		}
		d, err := meta.DecodeDirent(value)
		if err != nil {
			bad = err
			return false
		}
		all[d.Ref.Ino] = nameAt{parent, string(name)}
		n++
		return n < treeMost
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return err
	}
	m.names = all
	return nil
}

// look reads what the older state has of what a batch is about.
func (m *recollection) look(b *meta.Batch) error {
	was, kind := map[string]meta.Dirent{}, map[meta.Ino]*meta.Inode{}
	entry := func(key []byte) error {
		parent, name, err := meta.ParseDirentKey(key)
		if err != nil {
			return nil // another kind of key
		}
		d, err := meta.Lookup(m.older, parent, name)
		if err == nil {
			was[string(key)] = d
			return nil
		}
		return unlessAbsent(err)
	}
	for _, kv := range b.Puts {
		if err := entry(kv.Key); err != nil {
			return err
		}
		ref, err := meta.ParseInodeKey(kv.Key)
		if err != nil {
			continue
		}
		n, err := meta.GetInode(m.older, ref)
		if err == nil {
			kind[ref.Ino] = n
		} else if err := unlessAbsent(err); err != nil {
			return err
		}
	}
	for _, key := range b.Deletes {
		if err := entry(key); err != nil {
			return err
		}
	}
	m.was, m.kind = was, kind
	return nil
}

// add notes what a batch did that look has read the past of.
func (m *recollection) add(b *meta.Batch) {
	for _, kv := range b.Puts {
		parent, name, err := meta.ParseDirentKey(kv.Key)
		if err != nil {
			continue
		}
		d, err := meta.DecodeDirent(kv.Value)
		if err != nil {
			continue
		}
		m.names[d.Ref.Ino] = nameAt{parent, string(name)}
		switch was, ok := m.was[string(kv.Key)]; {
		case !ok:
			m.note(parent, string(name), d.Ref.Ino, Gone)
		case was.Ref != d.Ref:
			m.note(parent, string(name), d.Ref.Ino, Older)
		}
	}
	for _, kv := range b.Puts {
		ref, err := meta.ParseInodeKey(kv.Key)
		if err != nil {
			continue
		}
		n, err := meta.DecodeInode(kv.Value)
		if err != nil || n.Kind != meta.File {
			continue
		}
		f, was := m.inos[ref.Ino], m.kind[ref.Ino]
		if was != nil && was.Version == n.Version {
			continue // its attributes alone
		}
		if f == nil {
			at := m.names[ref.Ino]
			f = m.note(at.parent, at.name, ref.Ino, Older)
		}
		f.Versions++
	}
	for _, key := range b.Deletes {
		parent, name, err := meta.ParseDirentKey(key)
		if err != nil {
			continue
		}
		if was, ok := m.was[string(key)]; ok {
			m.note(parent, string(name), was.Ref.Ino, Back)
			continue
		}
		path := m.path(parent, string(name))
		if f := m.is[path]; f != nil {
			delete(m.is, path) // it came and went
			delete(m.inos, meta.Ino(f.Ino))
		}
	}
}

func (m *recollection) note(parent meta.Ino, name string, ino meta.Ino, what string) *MissingFile {
	path := m.path(parent, name)
	key := path
	if name == "" {
		path, key = "", fmt.Sprintf("%d", ino) // no path is a number: they begin with a slash
	}
	f := m.is[key]
	if f == nil {
		f = &MissingFile{Path: path, Ino: uint64(ino), What: what}
		m.is[key] = f
	}
	if f.What != Gone || what == Gone {
		f.What = what
	}
	m.inos[ino] = f
	return f
}

// path is a name with the folders above it.
func (m *recollection) path(parent meta.Ino, name string) string {
	path := "/" + name
	for n := 0; parent != meta.Root; n++ {
		at, ok := m.names[parent]
		if !ok || n == 1000 {
			return "/…" + path
		}
		path, parent = "/"+at.name+path, at.parent
	}
	return path
}

func (m *recollection) list() []MissingFile {
	all := []MissingFile{}
	for _, f := range m.is {
		all = append(all, *f)
	}
	slices.SortFunc(all, func(a, b MissingFile) int {
		if a.Path != b.Path {
			if a.Path < b.Path {
				return -1
			}
			return 1
		}
		return int(int64(a.Ino) - int64(b.Ino))
	})
	return all[:min(len(all), missingMost)]
}

// unlessAbsent is nil for the answer that there is no such thing.
func unlessAbsent(err error) error {
	if meta.Refused(err) {
		return nil
	}
	return err
}
