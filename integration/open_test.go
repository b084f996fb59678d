package integration

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A file without a name lives as long as somebody has it open, and leaves
// nothing behind.
func TestUnlinkedWhileOpen(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	must(t, os.WriteFile(m.in("gone"), pattern(1, 0, 300_000), 0o644))
	must(t, os.WriteFile(m.in("replaced"), pattern(2, 0, 100_000), 0o644))
	gone, err := os.OpenFile(m.in("gone"), os.O_RDWR, 0)
	must(t, err)
	defer gone.Close()
	replaced, err := os.Open(m.in("replaced"))
	must(t, err)
	defer replaced.Close()

	must(t, os.Remove(m.in("gone")))
	must(t, os.WriteFile(m.in("new"), []byte("new"), 0o644))
	must(t, os.Rename(m.in("new"), m.in("replaced")))
	if _, err := os.Stat(m.in("gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat of the removed name: %v", err)
	}
	must(t, writeSynced(m.in("other"), os.O_CREATE, []byte("other")))

	// It still reads, grows and shrinks, and fsync does not fail on it.
	_, err = gone.WriteAt(pattern(3, 0, 50_000), 300_000)
	must(t, err)
	must(t, gone.Sync())
	must(t, gone.Truncate(320_000))
	b, err := io.ReadAll(io.NewSectionReader(gone, 0, 1<<20))
	must(t, err)
	if want := append(pattern(1, 0, 300_000), pattern(3, 0, 20_000)...); !bytes.Equal(b, want) {
		t.Errorf("the unlinked file holds %d other bytes", len(b))
	}
	if b, err = io.ReadAll(replaced); err != nil || !bytes.Equal(b, pattern(2, 0, 100_000)) {
		t.Errorf("the replaced file holds %d other bytes, %v", len(b), err)
	}
	var st unix.Stat_t
	must(t, unix.Fstat(int(gone.Fd()), &st))
	if st.Nlink != 0 {
		t.Errorf("nlink %d", st.Nlink)
	}
	must(t, gone.Close())
	must(t, replaced.Close())

	d = d.remount()
	want := map[string]bool{".": true, "replaced": true, "other": true}
	got := manifest(t, d.m.mnt)
	if len(got) != len(want) {
		t.Errorf("left: %v", got)
	}
	if s := string(read(t, d.m.in("replaced"))); s != "new" {
		t.Errorf("replaced holds %q", s)
	}
	d.umount()
}

// A file that was unlinked while open is gone after a crash too, and what was
// done after it is not.
func TestCrashWithUnlinkedFileOpen(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	f, err := os.Create(m.in("gone"))
	must(t, err)
	defer f.Close()
	_, err = f.Write(pattern(1, 0, 1<<20))
	must(t, err)
	must(t, f.Sync())
	must(t, os.Remove(m.in("gone")))
	must(t, writeSynced(m.in("stays"), os.O_CREATE, []byte("stays")))
	must(t, syncFolder(m.mnt))
	d.kill()
	d = m.mount()
	if got := manifest(t, m.mnt); len(got) != 2 || got["stays"] == "" {
		t.Errorf("there is %v", got)
	}
	d.umount()
}

// A file is opened again right after it was closed: the kernel gives a handle back behind
// close(2), so each open meets the end of an earlier one, the later the more is synced.
func TestOpenWhileClosing(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	const programs = 24
	errs := make(chan error, programs)
	for p := range programs {
		go func() {
			errs <- openAndClose(m.in(string(rune('a'+p))), 200)
		}()
	}
	for range programs {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	d.umount()
}

func openAndClose(path string, rounds int) error {
	for range rounds {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_SYNC, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(make([]byte, 20_000))
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		for range 3 {
			if f, err = os.Open(path); err != nil {
				return err
			}
			if err = f.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Several programs append to one file: no record is lost or torn.
func TestAppendFromSeveralDescriptors(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	const writers, each, size = 4, 200, 64
	errs := make(chan error, writers)
	for w := range writers {
		go func() {
			f, err := os.OpenFile(m.in("log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
			for range each {
				if err == nil {
					_, err = f.Write(append(bytes.Repeat([]byte{byte('a' + w)}, size-1), '\n'))
				}
			}
			errs <- errors.Join(err, f.Close())
		}()
	}
	for range writers {
		must(t, <-errs)
	}
	d = d.remount()
	n := map[byte]int{}
	for line := range bytes.Lines(read(t, d.m.in("log"))) {
		if len(line) != size || bytes.Count(line, line[:1]) != size-1 {
			t.Fatalf("torn: %q", line)
		}
		n[line[0]]++
	}
	for w := range writers {
		if n[byte('a'+w)] != each {
			t.Errorf("%d records of writer %d, want %d", n[byte('a'+w)], w, each)
		}
	}
	d.umount()
}
