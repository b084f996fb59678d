package pack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// complete is finish for a pack that is not in the queue: there it goes when it
// cannot be written, since whoever asked may not come again.
func (w *Writer) complete(p *open) error {
	err := w.finish(p)
	if err != nil {
		w.enqueue(p)
	}
	return err
}

// finish seals p and writes its file. Whoever comes second waits for the first,
// and tries it again when that failed.
func (w *Writer) finish(p *open) error {
	p.busy.Lock()
	defer p.busy.Unlock()
	if p.done {
		return nil
	}
	err := w.writeOut(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	if err != nil {
		return err
	}
	w.addLocal(p.info)
	delete(w.closing, p.no)
	if len(w.free) < cap(w.room) {
		w.free = append(w.free, p.data)
	}
	if len(w.spare) < writers && cap(p.sealed) >= int(crypt.ObjectSize(Size)) {
		w.spare = append(w.spare, p.sealed)
	}
	p.data, p.sealed, p.done = nil, nil, true
	<-p.token
	return nil
}

// writeOut seals p once and brings the object to disk.
func (w *Writer) writeOut(p *open) error {
	if p.sealed == nil {
		w.o.Step("pack.seal")
		key, epoch := w.o.Current()
		s := crypt.NewSealer(key, w.o.Volume, crypt.TypePack, epoch)
		sealed, name, err := s.Seal(w.buffer(crypt.ObjectSize(int64(len(p.data)))), p.data)
		if err != nil {
			return fmt.Errorf("seal pack: %w", err)
		}
		p.sealed = sealed
		p.info = Info{No: p.no, Name: name, Length: int64(len(p.data)), Epoch: epoch}
	}
	// A file that was complete once is not touched again: Closed may have failed
	// after it had made the pack known.
	if !p.filed {
		if err := w.write(Path(w.o.Dir, p.no), p.sealed); err != nil {
			return fmt.Errorf("write pack file: %w", err)
		}
		p.filed = true
	}
	if err := w.o.Closed(p.info); err != nil {
		return err
	}
	w.o.Step("pack.closed")
	return nil
}

// buffer returns an empty slice for an object of so many bytes. Those that are
// used again have room for any.
func (w *Writer) buffer(size int64) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.spare); n > 0 {
		b := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return b[:0]
	}
	return make([]byte, 0, size)
}

// Rest lets go of the buffers that nobody uses; the next packs get new ones.
func (w *Writer) Rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free, w.spare = nil, nil
}

// Path is the local file of pack no.
func Path(dir string, no meta.PackNo) string {
	return filepath.Join(dir, fmt.Sprintf("%016x", uint64(no)))
}

// writeFile writes the file at path and syncs it and its name. What it could
// not complete it removes: on a full disk the room is needed elsewhere, and a
// file whose sync failed once must not be synced again.
func (w *Writer) writeFile(path string, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	w.o.Step("pack.write")
	if _, err := f.Write(b); err != nil {
		return err
	}
	w.o.Step("pack.written")
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	w.o.Step("pack.synced")
	return nil
}

func syncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := d.Close(); err == nil {
			err = cerr
		}
	}()
	return d.Sync()
}
