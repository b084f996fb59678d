package pack

import (
	"os"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// Peek fills dst with the bytes of a pack from at.Off on, if the pack is still in
// memory and has so many, and says whether it did. at.Len is not looked at.
func (w *Writer) Peek(at Loc, dst []byte) bool {
	w.mu.Lock()
	p := w.closing[at.Pack]
	if p == nil {
		p = w.filling(at.Pack)
	}
	if p == nil || int(at.Off)+len(dst) > len(p.data) {
		w.mu.Unlock()
		return false
	}
	// finish takes the buffer away under mu only, and hands it to another pack.
	copy(dst, p.data[at.Off:])
	w.mu.Unlock()
	return true
}

// Local returns the description of a closed pack that has a file in Dir.
func (w *Writer) Local(no meta.PackNo) (Info, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, ok := w.local[no]
	return i, ok
}

// Adopt makes a pack whose file is complete one of the closed packs.
func (w *Writer) Adopt(i Info) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addLocal(i)
}

// addLocal notes a closed pack that has a file; w is locked.
func (w *Writer) addLocal(i Info) {
	w.local[i.No] = i
	w.names[i.Name] = i.No
}

// File returns the file of the closed pack that has this name.
func (w *Writer) File(name crypt.Name) (path string, ok bool) {
	w.mu.Lock()
	no, ok := w.names[name]
	w.mu.Unlock()
	if !ok {
		return "", false
	}
	return Path(w.o.Dir, no), true
}

// Durable reports whether pack no needs nothing more from the writer: it is in
// a file, or it left this machine's care long ago.
func (w *Writer) Durable(no meta.PackNo) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closing[no] == nil && w.filling(no) == nil
}

// Full reports whether pack no takes no further bytes and is in no file yet.
func (w *Writer) Full(no meta.PackNo) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closing[no] != nil
}

// Locals lists the closed packs that have a file in Dir.
func (w *Writer) Locals() []Info {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := make([]Info, 0, len(w.local))
	for _, i := range w.local {
		l = append(l, i)
	}
	return l
}

// Forget drops the closed pack no: its file is elsewhere by now, or is removed.
func (w *Writer) Forget(no meta.PackNo) error {
	w.mu.Lock()
	if i, ok := w.local[no]; ok && w.names[i.Name] == no {
		delete(w.names, i.Name)
	}
	delete(w.local, no)
	w.mu.Unlock()
	if err := os.Remove(Path(w.o.Dir, no)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// Open returns the number of the open pack, how many bytes it has and since
// when; zero when there is none.
func (w *Writer) Open() (no meta.PackNo, bytes int, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cur == nil {
		return 0, 0, time.Time{}
	}
	return w.cur.no, len(w.cur.data), w.cur.since
}

// Bytes is the number of file bytes in memory and in local files.
func (w *Writer) Bytes() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.inMemory()
	for _, i := range w.local {
		n += i.Length
	}
	return n
}

// inMemory is the number of file bytes in packs that are in no file; w is locked.
func (w *Writer) inMemory() (n int64) {
	for _, p := range []*open{w.cur, w.small} {
		if p != nil {
			n += int64(len(p.data))
		}
	}
	for _, p := range w.closing {
		n += int64(len(p.data))
	}
	return n
}

// Disk is how many bytes the closed packs take on the disk, and how many are to
// come there from memory.
func (w *Writer) Disk() (there, coming int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	coming = w.inMemory()
	for _, i := range w.local {
		there += i.ObjectSize()
	}
	return there, coming
}

// Err is why the last pack could not be written to its file; nil when it was.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
