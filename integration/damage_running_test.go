package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// harms are what can happen to a file of the local disk under a daemon that uses it.
var harms = []struct {
	name string
	do   func(path string) error
}{
	{"one bit", func(path string) error {
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		b[len(b)/2] ^= 8
		return overwriteFile(path, b)
	}},
	{"pages of zeros", func(path string) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for at := 0; at < len(b); at += 3 * 4096 {
			clear(b[at:min(at+4096, len(b))])
		}
		return overwriteFile(path, b)
	}},
	{"cut", func(path string) error {
		i, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, i.Size()/2)
	}},
	{"removed", os.Remove},
}

// overwriteFile changes the bytes of a file in place.
func overwriteFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Close())
}

// forgotten makes the kernel forget the bytes of a file, so that the daemon is asked.
func forgotten(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	must(t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// Whatever happens to the cache of a mounted drive, it reads what it should, and blames
// nothing in the store.
func TestCacheIsDamagedUnderneath(t *testing.T) {
	t.Parallel()
	const filler = 40 << 20 // more than the daemon keeps in memory
	whole := storeOfPieces(t)
	w := whole.mount()
	want := pattern(8, 0, filler)
	must(t, writeSynced(whole.in("filler"), os.O_CREATE, want))
	w.umount()
	for _, harm := range harms {
		t.Run(harm.name, func(t *testing.T) {
			d := whole.another().mount()
			m := d.m
			if o := readPieces(t, m); o.good != damageFiles {
				t.Fatalf("%+v", o)
			}
			for round := range 2 {
				if !bytes.Equal(read(t, m.in("filler")), want) {
					t.Errorf("round %d: wrong bytes", round)
				}
				forgotten(t, m.in("filler"))
				before := m.fetched()
				// What was read gets there by and by.
				eventually(t, "the files are in the cache", time.Minute, func() bool {
					files := 0
					must(t, filepath.WalkDir(m.at("cache"), func(_ string, e fs.DirEntry, err error) error {
						if err == nil && e.Type().IsRegular() {
							files++
						}
						return nil // some go meanwhile
					}))
					return files >= damageFiles
				})
				must(t, filepath.WalkDir(m.at("cache"), func(path string, e fs.DirEntry, err error) error {
					if err == nil && e.Type().IsRegular() {
						err = harm.do(path)
					}
					if errors.Is(err, fs.ErrNotExist) {
						return nil // some go meanwhile
					}
					return err
				}))
				for i := range damageFiles {
					forgotten(t, m.in(fmt.Sprint("file", i)))
				}
				forgotten(t, m.in("filler"))
				if !bytes.Equal(read(t, m.in("filler")), want) {
					t.Errorf("round %d: wrong bytes behind the damage", round)
				}
				if o := readPieces(t, m); o.good != damageFiles {
					t.Errorf("round %d: %+v", round, o)
				}
				if m.fetched() == before {
					t.Errorf("round %d: nothing was fetched: the damage was not met", round)
				}
			}
			if s := m.status()[0].Volume; len(s.Damaged) > 0 || s.Stopped != "" {
				t.Errorf("status blames %v, stopped %q", s.Damaged, s.Stopped)
			}
			must(t, writeSynced(m.in("more"), os.O_CREATE, pattern(9, 0, 700_000)))
			d.umount()
			d = m.mount()
			if string(read(t, m.in("more"))) != string(pattern(9, 0, 700_000)) {
				t.Error("what was written after it differs")
			}
			d.umount()
		})
	}
}

// fetched is how many requests the daemon has made of the store.
func (m *machine) fetched() (n int64) {
	m.t.Helper()
	for _, some := range m.status()[0].Volume.Requests {
		n += some
	}
	return n
}

// A pack that waits in the journal is damaged before it is sent: what was in it is EIO
// or right, never wrong; the rest reads; it is said, and again after a kill; and
// nothing is published that nobody could read.
func TestWaitingPackIsDamaged(t *testing.T) {
	t.Parallel()
	for _, harm := range harms {
		t.Run(harm.name, func(t *testing.T) {
			t.Parallel()
			m := newDrive(t)
			d := m.mount()
			must(t, writeSynced(m.in("stored"), os.O_CREATE, pattern(1, 0, 3<<20)))
			d.umount()
			d = m.mount("--test-store-delay", "1h")
			for i := range 3 {
				must(t, writeSynced(m.in(fmt.Sprint("waits", i)), os.O_CREATE, pattern(uint64(2+i), 0, 3<<20)))
			}
			packs, err := filepath.Glob(filepath.Join(m.stateDir(), "journal-*", "packs", "*"))
			must(t, err)
			if len(packs) < 2 {
				t.Fatalf("%d packs wait", len(packs))
			}
			must(t, harm.do(packs[0]))
			judge := func(when string) {
				t.Helper()
				bad := 0
				for i := range 3 {
					path := m.in(fmt.Sprint("waits", i))
					forgotten(t, path)
					b, err := os.ReadFile(path)
					switch {
					case errors.Is(err, unix.EIO):
						bad++
					case err != nil:
						t.Errorf("%s: %v", when, err)
					case string(b) != string(pattern(uint64(2+i), 0, 3<<20)):
						t.Errorf("%s: wrong bytes in file %d", when, i)
					}
				}
				if bad == 3 {
					t.Errorf("%s: nothing reads", when)
				}
				if string(read(t, m.in("stored"))) != string(pattern(1, 0, 3<<20)) {
					t.Errorf("%s: wrong bytes in what was stored", when)
				}
				s := m.status()[0].Volume
				if said := strings.Join(s.Warnings, " ") + strings.Join(s.Damaged, " ") + s.Stopped; bad > 0 && said == "" {
					t.Errorf("%s: %d files do not read, and status says nothing", when, bad)
				}
			}
			judge("under the mount")
			d.kill()
			d = m.mount()
			judge("after a kill")
			eventually(t, "it says why it sends nothing more", patience, func() bool {
				s := m.status()[0].Volume
				return s.Stored || s.Stopped != "" && len(s.Warnings)+len(s.Damaged) > 0
			})
			stored := m.status()[0].Volume.Stored
			d.kill()
			m.detach()
			far := m.another().mount()
			for i := range 3 {
				b, err := os.ReadFile(far.m.in(fmt.Sprint("waits", i)))
				if err == nil && len(b) > 0 && string(b) != string(pattern(uint64(2+i), 0, 3<<20)) || err != nil && !errors.Is(err, fs.ErrNotExist) || err != nil && stored {
					t.Errorf("another machine reads %d bytes of file %d, %v", len(b), i, err)
				}
			}
			far.umount()
		})
	}
}
