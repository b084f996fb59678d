package check

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/drive"
)

// Notebook remembers which packs a check has read whole, so that one that was
// interrupted goes on where it was. It is a local file that can be deleted, and holds
// names of objects, sealed. What is torn at its end is left out. The nil Notebook
// remembers nothing.
//
// Layout: docs/format.md, "Notebook of a check".
type Notebook struct {
	file  *os.File
	path  string
	title Title
	seal  *crypt.Local
	known map[crypt.Name]bool

	mu    sync.Mutex // guards the fields below
	pages uint64     // in the file
	next  []crypt.Name
	wrote time.Time
}

// Title says what check a notebook is of.
type Title struct {
	Begun int64  // seconds since 1970
	Parts uint32 // millionths of the packs that are read: 1 to 1,000,000
	Seed  uint64 // that draws them
}

const (
	// NotebookAge is how old a notebook becomes: what was whole then may be so no more.
	NotebookAge = 7 * 24 * time.Hour

	notebookMagic = "HUSHCHK0"
	titleSize     = 8 + 4 + 8
	pageNames     = 512 // of packs, on a full page
	pageEvery     = 2 * time.Second
)

// OpenNotebook opens the notebook at path, of the drive that secret is the root key
// of, and takes it for itself. What is there is gone on with when it is of such a check,
// and not older than NotebookAge; a wanted seed of 0 takes the one that is there. Else,
// and with restart, it begins anew. ErrBusy when somebody has it.
func OpenNotebook(path string, secret *crypt.Key, id drive.ID, want Title, restart bool) (*Notebook, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("lock the notebook: %w", err)
	}
	n := &Notebook{file: f, path: path, seal: crypt.NewLocal(secret, "hushfs/check-notebook", id[:]), known: map[crypt.Name]bool{}, wrote: time.Now()}
	if !restart {
		n.read(want)
	}
	if len(n.known) == 0 {
		if err := n.begin(want); err != nil {
			f.Close()
			return nil, err
		}
	}
	return n, nil
}

// Title is that of the check that goes on.
func (n *Notebook) Title() Title { return n.title }

// Known is how many packs were read before.
func (n *Notebook) Known() int { return len(n.known) }

// read takes over what is in the file, as far as it is whole.
func (n *Notebook) read(want Title) {
	head := make([]byte, len(notebookMagic))
	if _, err := io.ReadFull(n.file, head); err != nil || string(head) != notebookMagic {
		return
	}
	at := int64(len(head))
	for {
		plain, size, err := n.page()
		if err != nil {
			break
		}
		if n.pages == 0 {
			t, err := decodeTitle(plain)
			age := want.Begun - t.Begun
			if err != nil || t.Parts != want.Parts || want.Seed != 0 && t.Seed != want.Seed || age < 0 || age > int64(NotebookAge/time.Second) {
				return
			}
			n.title = t
		} else {
			names, err := decodePage(plain)
			if err != nil {
				break
			}
			for _, name := range names {
				n.known[name] = true
			}
		}
		at += size
		n.pages++
	}
	// A torn end is cut off: what is written next must follow what was read.
	if n.file.Truncate(at) != nil {
		clear(n.known)
	}
	if _, err := n.file.Seek(at, io.SeekStart); err != nil {
		clear(n.known)
	}
}

// page reads the next one, and says how long it is in the file.
func (n *Notebook) page() (plain []byte, size int64, err error) {
	var head [4]byte
	if _, err := io.ReadFull(n.file, head[:]); err != nil {
		return nil, 0, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length > pageNames*32+crypt.LocalOverhead {
		return nil, 0, errPage
	}
	sealed := make([]byte, length)
	if _, err := io.ReadFull(n.file, sealed); err != nil {
		return nil, 0, err
	}
	plain, err = n.seal.Open(nil, sealed, binary.BigEndian.AppendUint64(nil, n.pages))
	return plain, int64(4 + length), err
}

// begin writes an empty notebook. A seed that nobody chose is drawn.
func (n *Notebook) begin(t Title) error {
	for t.Seed == 0 {
		var b [4]byte   // what reads the JSON may have no longer numbers
		rand.Read(b[:]) // never fails: see crypto/rand
		t.Seed = uint64(binary.BigEndian.Uint32(b[:]))
	}
	n.title, n.pages = t, 0
	if err := n.file.Truncate(0); err != nil {
		return err
	}
	if _, err := n.file.WriteAt([]byte(notebookMagic), 0); err != nil {
		return err
	}
	if _, err := n.file.Seek(int64(len(notebookMagic)), io.SeekStart); err != nil {
		return err
	}
	return n.write(t.append(nil))
}

func (n *Notebook) write(plain []byte) error {
	sealed := n.seal.Seal(make([]byte, 4), plain, binary.BigEndian.AppendUint64(nil, n.pages))
	binary.BigEndian.PutUint32(sealed, uint32(len(sealed)-4))
	if _, err := n.file.Write(sealed); err != nil {
		return fmt.Errorf("note what was read: %w", err)
	}
	n.pages++
	return nil
}

// has says whether an earlier check read a pack whole.
func (n *Notebook) has(name crypt.Name) bool { return n != nil && n.known[name] }

// add notes a pack that is whole.
func (n *Notebook) add(name crypt.Name) error {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next = append(n.next, name); len(n.next) < pageNames && time.Since(n.wrote) < pageEvery {
		return nil
	}
	return n.flushLocked()
}

// flush writes what was noted.
func (n *Notebook) flush() error {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.flushLocked()
}

func (n *Notebook) flushLocked() error {
	if len(n.next) == 0 {
		return nil
	}
	n.wrote = time.Now()
	err := n.write(appendPage(nil, n.next))
	n.next = n.next[:0]
	return err
}

// Close lets go of the notebook. One whose check came to its end is removed.
func (n *Notebook) Close(ended bool) error {
	if n == nil {
		return nil
	}
	var err error
	if ended {
		err = os.Remove(n.path)
	} else {
		err = n.flush()
	}
	return errors.Join(err, n.file.Close())
}

// append returns begun i64, parts u32, seed u64.
func (t Title) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Begun))
	b = binary.BigEndian.AppendUint32(b, t.Parts)
	return binary.BigEndian.AppendUint64(b, t.Seed)
}

// AllParts is a whole, in the unit of Title.Parts.
const AllParts = 1_000_000

func decodeTitle(b []byte) (Title, error) {
	if len(b) != titleSize {
		return Title{}, errPage
	}
	t := Title{int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint64(b[12:])}
	if t.Parts == 0 || t.Parts > AllParts {
		return Title{}, errPage
	}
	return t, nil
}

// appendPage returns the names, 1 to pageNames, one after the other.
func appendPage(b []byte, names []crypt.Name) []byte {
	for _, n := range names {
		b = append(b, n[:]...)
	}
	return b
}

func decodePage(b []byte) ([]crypt.Name, error) {
	if len(b) == 0 || len(b)%32 != 0 || len(b) > pageNames*32 {
		return nil, errPage
	}
	names := make([]crypt.Name, 0, len(b)/32)
	for ; len(b) > 0; b = b[32:] {
		names = append(names, crypt.Name(b[:32]))
	}
	return names, nil
}
