package pack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/hushfs/hushfs/crypt"
)

// Who was removed when the epoch turned must not read what is published after. So a
// pack that was closed before, and is in no commit yet, is opened and sealed again,
// under the key of the present epoch, with a salt of its own. Number, length and
// contents stay, and all that names it by its number stays right.
//
// The new file is complete before the journal names it, and takes the place of the old
// one after: at each moment the file that the journal names is there.

// ResealSteps are the names given to Options.Step when a pack is sealed anew, in their
// order; some of Steps come before them.
var ResealSteps = []string{"pack.resealed", "pack.renamed", "pack.replaced"}

// anew is what the name of a pack's new file ends with until it replaces the old one.
const anew = ".new"

// Reseal seals a closed pack again under the present epoch's key and returns its new
// description; one that is of that epoch stays as it is. old is the key that it is
// sealed under. Reading goes on meanwhile. It is not to be called for one pack at two
// places at a time.
//
// ErrUnknown when no such pack is closed; ErrDamaged when its file is not what it was.
func (w *Writer) Reseal(i Info, old *crypt.Key) (Info, error) {
	key, epoch := w.o.Current()
	if was, ok := w.Local(i.No); !ok || was != i {
		return Info{}, ErrUnknown
	}
	if i.Epoch == epoch {
		return i, nil
	}
	next, err := w.newFile(i, old, key, epoch)
	if err != nil {
		return Info{}, err
	}
	if err := w.o.Resealed(next); err != nil {
		// The journal may name the new file or the old one, and both are there. Until
		// it is known the new one is the only one that may be named again.
		return Info{}, err
	}
	w.o.Step("pack.resealed")
	if err := w.replace(i, next); err != nil {
		return Info{}, fmt.Errorf("replace pack file: %w", pathless(err))
	}
	w.o.Step("pack.renamed")
	if err := syncDir(w.o.Dir); err != nil {
		return Info{}, fmt.Errorf("replace pack file: %w", pathless(err))
	}
	w.o.Step("pack.replaced")
	return next, nil
}

// newFile writes the new file of a pack and syncs it, unless an earlier try has left one
// that will do: the journal may name that one.
func (w *Writer) newFile(i Info, old, key *crypt.Key, epoch crypt.Epoch) (Info, error) {
	path := Path(w.o.Dir, i.No)
	next := Info{No: i.No, Length: i.Length, Epoch: epoch}
	if left, err := os.ReadFile(path + anew); err == nil {
		if _, tail, err := crypt.OpenPack(key, w.o.Volume, left, i.Length); err == nil && tail.Epoch() == epoch {
			next.Name = tail.Name()
			return next, nil
		}
		if tail, err := crypt.ParseTail(left); err == nil && tail.Epoch() != i.Epoch {
			// Whole, and of an epoch between: the next mount knows which one counts.
			return Info{}, errInDoubt
		}
	}
	return w.sealAnew(path, path+anew, i, old, key, epoch)
}

// Anew seals a pack of another writer, whose file is at from, under the present epoch's
// key and returns its description. i is what it was, with the number that it has here:
// whoever calls it adopts it. old is the key that it is sealed under. The file at from is
// not changed. ErrDamaged when it is not what it was.
func (w *Writer) Anew(from string, i Info, old *crypt.Key) (Info, error) {
	key, epoch := w.o.Current()
	return w.sealAnew(from, Path(w.o.Dir, i.No), i, old, key, epoch)
}

// sealAnew writes to a file, and syncs, what pack i holds, whose file is at from.
func (w *Writer) sealAnew(from, to string, i Info, old, key *crypt.Key, epoch crypt.Epoch) (Info, error) {
	object, err := os.ReadFile(from)
	if err != nil {
		return Info{}, fmt.Errorf("read pack file: %w", pathless(err))
	}
	plain, tail, err := crypt.OpenPack(old, w.o.Volume, object, i.Length)
	if err != nil || tail.Name() != i.Name || tail.Epoch() != i.Epoch {
		return Info{}, fmt.Errorf("%w: a pack file on the local disk", ErrDamaged)
	}
	defer clear(plain)
	sealed, name, err := crypt.NewSealer(key, w.o.Volume, crypt.TypePack, epoch).Seal(object[:0], plain)
	if err != nil {
		return Info{}, fmt.Errorf("seal pack: %w", err)
	}
	if err := w.write(to, sealed); err != nil {
		return Info{}, fmt.Errorf("write pack file: %w", pathless(err))
	}
	return Info{No: i.No, Name: name, Length: i.Length, Epoch: epoch}, nil
}

// replace puts the new file of a pack in the place of the old one. It is done under mu:
// who finds that a file is not what its name says asks for the name again, and must
// not be told the old one.
func (w *Writer) replace(old, next Info) error {
	path := Path(w.o.Dir, old.No)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := os.Rename(path+anew, path); err != nil {
		return err
	}
	delete(w.names, old.Name)
	w.addLocal(next)
	return nil
}

// Recover puts right what a crash within Reseal left in dir: a new file that packs,
// which are those of the journal, name takes the place of the old one, and any other
// is removed. It is called before the packs are looked at.
func Recover(dir string, packs []Info) error {
	changed := false
	for _, i := range packs {
		path := Path(dir, i.No)
		name, err := nameOf(path+anew, i)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err == nil && name == i.Name:
			err = os.Rename(path+anew, path)
		default:
			err = os.Remove(path + anew)
		}
		if err != nil {
			return fmt.Errorf("replace pack file: %w", pathless(err))
		}
		changed = true
	}
	if !changed {
		return nil
	}
	return pathless(syncDir(dir))
}

// errInDoubt: the journal failed while a pack was being sealed anew.
var errInDoubt = errors.New("a pack was sealed anew, and it is not known whether the journal has it; lock and mount again")

// nameOf is the name of the object in a file that is to hold pack i.
func nameOf(path string, i Info) (crypt.Name, error) {
	f, err := os.Open(path)
	if err != nil {
		return crypt.Name{}, err
	}
	defer f.Close()
	n := crypt.TailSize(i.Length)
	if n > i.ObjectSize() {
		return crypt.Name{}, ErrDamaged
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, i.ObjectSize()-n); err != nil {
		return crypt.Name{}, ErrDamaged // it was not complete
	}
	tail, err := crypt.ParseTail(b)
	if err != nil {
		return crypt.Name{}, ErrDamaged
	}
	return tail.Name(), nil
}

// pathless takes the path out of an error: it tells who and where one is.
func pathless(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}
