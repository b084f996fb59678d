package integration

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkFsyncBesideWriter is how long an fsync of 4 KiB that were appended takes
// while another program writes 1 GiB, and goes on: in a drive, and on the bare disk
// below it where that program syncs each 4 MiB, as the daemon has to.
func BenchmarkFsyncBesideWriter(b *testing.B) {
	m := newDrive(b)
	d := m.mount()
	b.Run("drive", func(b *testing.B) { fsyncBesideWriter(b, m.mnt, false) })
	b.Run("disk", func(b *testing.B) { fsyncBesideWriter(b, m.mkdir("disk"), true) })
	d.kill()
}

func fsyncBesideWriter(b *testing.B, dir string, syncs bool) {
	stop, stopped := make(chan struct{}), make(chan error)
	begun := make(chan struct{})
	go func() {
		close(begun)
		stopped <- writeUntil(stop, filepath.Join(dir, "big"), syncs)
	}()
	<-begun
	f, err := os.Create(filepath.Join(dir, "small"))
	must(b, err)
	block := pattern(1, 0, 4096)
	var took []time.Duration
	for b.Loop() {
		_, err := f.Write(block)
		must(b, err)
		began := time.Now()
		must(b, again(func() error { return unix.Fdatasync(int(f.Fd())) }))
		took = append(took, time.Since(began))
	}
	close(stop)
	must(b, errors.Join(<-stopped, f.Close()))
	slices.Sort(took)
	for name, at := range map[string]int{"ms-p50": 50, "ms-p90": 90, "ms-p99": 99} {
		b.ReportMetric(took[(len(took)-1)*at/100].Seconds()*1000, name)
	}
	must(b, errors.Join(os.Remove(f.Name()), os.Remove(filepath.Join(dir, "big"))))
}

// writeUntil writes 1 GiB to a file, over and over.
func writeUntil(stop <-chan struct{}, path string, syncs bool) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	mib := pattern(2, 0, 1<<20)
	for i := int64(0); ; i = (i + 1) % 1024 {
		select {
		case <-stop:
			return nil
		default:
		}
		if _, err := f.WriteAt(mib, i<<20); err != nil {
			return err
		}
		if syncs && i%4 == 3 {
			if err := again(func() error { return unix.Fdatasync(int(f.Fd())) }); err != nil {
				return err
			}
		}
	}
}
