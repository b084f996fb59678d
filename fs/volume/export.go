package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/meta"
)

// Exported is what ExportPending wrote, and what it could not.
type Exported struct {
	Changes int   `json:"changes"` // operations that are in no slot
	Unfit   int   `json:"unfit"`   // of these, what fits nothing that a store has which was set back: its bytes are in files recovered-…
	Files   int   `json:"files"`   // files and symbolic links
	Folders int   `json:"folders"` //
	Bytes   int64 `json:"bytes"`   //

	// Renamed are the names that files and folders whose content everybody has would
	// have got, Removed those that would be gone, Others files with other attributes,
	// and things that no plain folder holds. These are told and not written.
	Renamed []string `json:"renamed"`
	Removed []string `json:"removed"`
	Others  []string `json:"others"`

	// Failed are files that could not be written, or read.
	Failed []ExportFailure `json:"failed"`
}

// ExportFailure is a file that was not exported, and why.
type ExportFailure struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// ExportPending writes what is pending to a folder of the local disk, as plain files: all
// files whose content no slot has, new folders and symbolic links, each at its path in the
// volume. dir must be an empty folder, or missing. Nothing in the volume changes. When it
// returns nil, all of it is on the disk.
func (v *Volume) ExportPending(ctx context.Context, dir string) (*Exported, error) {
	x := &exporter{v: v, ctx: ctx, out: &Exported{Renamed: []string{}, Removed: []string{}, Others: []string{}, Failed: []ExportFailure{}}, made: map[string]bool{".": true}}
	if err := x.find(); err != nil {
		return nil, err
	}
	if x.out.Changes == 0 && v.behind.aside() {
		return x.out, v.noteExported()
	}
	if x.out.Changes == 0 {
		return x.out, nil
	}
	if v.view.Pending().Len() == 0 {
		return x.out, v.noteExported() // names alone, which are told
	}
	if err := emptyFolder(dir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	x.root = root
	for _, i := range x.items {
		if err := x.export(i); err != nil {
			if ctx.Err() != nil || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
				return x.out, err
			}
			x.out.Failed = append(x.out.Failed, ExportFailure{i.path, pathless(err).Error()})
		}
	}
	for name := range x.made {
		if err := x.syncFolder(name); err != nil {
			return x.out, pathless(err)
		}
	}
	if err := syncDir(path.Dir(path.Clean(dir))); err != nil {
		return x.out, pathless(err)
	}
	if len(x.out.Failed) == 0 {
		return x.out, v.noteExported()
	}
	return x.out, nil
}

// emptyFolder makes dir, or finds it empty.
func emptyFolder(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Readdirnames(1); !errors.Is(err, io.EOF) {
		if err == nil {
			err = &fs.PathError{Op: "export to", Path: dir, Err: unix.ENOTEMPTY}
		}
		return err
	}
	return nil
}

// exporter writes pending changes to a folder.
type exporter struct {
	v     *Volume
	ctx   context.Context
	root  *os.Root
	out   *Exported
	items []exportItem
	made  map[string]bool // folders that were made
}

// exportItem is a file, folder or symbolic link to be written.
type exportItem struct {
	path string
	ref  meta.Ref
	node *meta.Inode
}

// find fills in what is to be written and what is only told.
func (x *exporter) find() error {
	pending := x.v.view.Pending()
	x.out.Changes = pending.Len()
	if b := x.v.behind; b != nil {
		x.out.Changes, x.out.Unfit = b.waiting, b.unfits
	}
	if pending.Len() == 0 {
		return nil
	}
	named, changed := map[meta.At]bool{}, map[meta.Ref]bool{}
	for p := range pending.All() {
		b := p.Batch()
		for _, k := range slices.Concat(keysOf(b.Puts), b.Deletes) {
			if parent, name, err := meta.ParseDirentKey(k); err == nil {
				named[meta.At{Dir: parent, Name: string(name)}] = true
			} else if ref, err := meta.ParseInodeKey(k); err == nil {
				changed[ref] = true
			}
		}
	}
	now := meta.NewNames()
	type found struct {
		at  meta.At
		ref meta.Ref
	}
	var all []found
	err := now.Add(x.now, func(at meta.At, d meta.Dirent) {
		if named[at] || d.Kind != meta.Dir && changed[d.Ref] {
			all = append(all, found{at, d.Ref})
		}
	})
	if err != nil {
		return err
	}
	for _, f := range all {
		if err := x.sort(now.Path(f.at), f.ref, named[f.at]); err != nil {
			return err
		}
		delete(named, f.at)
	}
	if err := x.removed(named); err != nil {
		return err
	}
	slices.Sort(x.out.Renamed)
	slices.Sort(x.out.Removed)
	slices.Sort(x.out.Others)
	// Folders come before what lies in them.
	slices.SortFunc(x.items, func(a, b exportItem) int { return strings.Compare(a.path, b.path) })
	return nil
}

// removed tells of names that are none any more, of what is gone with them.
func (x *exporter) removed(names map[meta.At]bool) error {
	if len(names) == 0 {
		return nil
	}
	was := meta.NewNames()
	type found struct {
		at  meta.At
		ref meta.Ref
	}
	var all []found
	err := was.Add(x.was, func(at meta.At, d meta.Dirent) {
		if names[at] {
			all = append(all, found{at, d.Ref})
		}
	})
	if err != nil {
		return err
	}
	for _, f := range all {
		n, err := inodeOf(x.now, f.ref)
		if err != nil {
			return err
		}
		if n == nil {
			x.out.Removed = append(x.out.Removed, was.Path(f.at))
		}
	}
	return nil
}

// now reads the map as this machine shows it, was as everybody has it.
func (x *exporter) now(fn func(meta.Reader) error) error {
	return x.v.near(x.ctx, func() error { return x.v.view.Read(fn) })
}

func (x *exporter) was(fn func(meta.Reader) error) error {
	return x.v.near(x.ctx, func() error { return fn(x.v.view.Confirmed()) })
}

// inodeOf is nil when there is none.
func inodeOf(look meta.Look, ref meta.Ref) (n *meta.Inode, err error) {
	err = look(func(r meta.Reader) (err error) {
		n, err = meta.GetInode(r, ref)
		return err
	})
	if errors.Is(err, meta.ErrNotExist) {
		return nil, nil
	}
	return n, err
}

// sort decides what becomes of a path: named says that its name is pending.
func (x *exporter) sort(at string, ref meta.Ref, named bool) error {
	n, err := inodeOf(x.now, ref)
	if err != nil || n == nil {
		return err
	}
	was, err := inodeOf(x.was, ref)
	if err != nil {
		return err
	}
	plain := n.Kind == meta.File || n.Kind == meta.Dir || n.Kind == meta.Symlink
	switch {
	case !plain:
		x.out.Others = append(x.out.Others, at)
	case was == nil, n.Kind == meta.File && n.Version != was.Version:
		x.items = append(x.items, exportItem{at, ref, n})
	case named:
		x.out.Renamed = append(x.out.Renamed, at)
	default:
		x.out.Others = append(x.out.Others, at)
	}
	return nil
}

func keysOf(puts []meta.KV) [][]byte {
	keys := make([][]byte, len(puts))
	for i, kv := range puts {
		keys[i] = kv.Key
	}
	return keys
}

// export writes one item.
func (x *exporter) export(i exportItem) error {
	name := strings.TrimPrefix(i.path, "/")
	if err := x.folder(path.Dir(name)); err != nil {
		return err
	}
	switch i.node.Kind {
	case meta.Dir:
		return x.folder(name)
	case meta.Symlink:
		if err := x.root.Symlink(string(i.node.Target), name); err != nil {
			return err
		}
		x.out.Files++
		return nil
	}
	return x.file(name, i)
}

// folder makes a folder and those above it.
func (x *exporter) folder(name string) error {
	if x.made[name] {
		return nil
	}
	if err := x.folder(path.Dir(name)); err != nil {
		return err
	}
	if err := x.root.Mkdir(name, 0o700); err != nil {
		return err
	}
	x.made[name] = true
	x.out.Folders++
	return nil
}

// exportPiece is how many bytes are read at a time.
const exportPiece = 1 << 20

// file writes a file, its mode and its time. A hole stays one.
func (x *exporter) file(name string, i exportItem) (err error) {
	f, err := x.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			err = errors.Join(err, x.root.Remove(name))
		}
	}()
	b := make([]byte, min(exportPiece, i.node.Size))
	for off := uint64(0); off < i.node.Size; {
		n, err := x.v.Read(x.ctx, i.ref, off, b[:min(uint64(len(b)), i.node.Size-off)])
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%w: it ends at %d of %d bytes", meta.ErrMalformed, off, i.node.Size)
		}
		if !allZero(b[:n]) {
			if _, err := f.WriteAt(b[:n], int64(off)); err != nil {
				return err
			}
		}
		off += uint64(n)
	}
	if err := f.Truncate(int64(i.node.Size)); err != nil {
		return err
	}
	if err := f.Chmod(fs.FileMode(i.node.Perm & 0o777)); err != nil {
		return err
	}
	t := time.Unix(i.node.Mtime.Sec, int64(i.node.Mtime.Nsec))
	if err := x.root.Chtimes(name, t, t); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	x.out.Files++
	x.out.Bytes += int64(i.node.Size)
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func (x *exporter) syncFolder(name string) error {
	d, err := x.root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
