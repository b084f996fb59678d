package s3test

import (
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Data is the folder in which the server keeps everything, and which may be changed
// while it does not run.
func (s *Server) Data() string { return filepath.Join(s.dir, "data") }

// SetAside puts an empty folder, or if from is not empty a copy of that, in the place of
// the data of a server that does not run, and returns where that is now.
func (s *Server) SetAside(t testing.TB, from string) string {
	t.Helper()
	aside, err := os.MkdirTemp(s.dir, "aside")
	if err != nil {
		t.Fatal(err)
	}
	aside = filepath.Join(aside, "data")
	if err := os.Rename(s.Data(), aside); err != nil {
		t.Fatal(err)
	}
	if from == "" {
		err = os.Mkdir(s.Data(), 0o700)
	} else {
		err = copyTree(from, s.Data())
	}
	if err != nil {
		t.Fatal(err)
	}
	return aside
}

// Copy returns a copy of the data of a server that does not run.
func (s *Server) Copy(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(s.dir, "copy")
	if err == nil {
		dir = filepath.Join(dir, "data")
		err = copyTree(s.Data(), dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Restore has the server, which does not run, keep its data in dir, as it was before.
func (s *Server) Restore(t testing.TB, dir string) {
	t.Helper()
	if err := os.RemoveAll(s.Data()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, s.Data()); err != nil {
		t.Fatal(err)
	}
}

func copyTree(from, to string) error { return exec.Command("cp", "-a", from, to).Run() }

// StartOnDisk is Start with a disk of its own of so many bytes, which is in memory; for
// that the test must run as root.
func StartOnDisk(t testing.TB, k Kind, size string) *Server {
	t.Helper()
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "mode=700,size="+size); err != nil {
		t.Fatalf("a disk in memory: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return startIn(t, k, disk, false)
}

// Renew gives a server with TLS, which does not run, a new authority and a certificate
// of it, in another file.
func (s *Server) Renew(t testing.TB) {
	t.Helper()
	if err := s.makeCertificate(); err != nil {
		t.Fatal(err)
	}
}

// Grow makes the disk of StartOnDisk larger.
func (s *Server) Grow(t testing.TB, size string) {
	t.Helper()
	if err := unix.Mount("", s.dir, "", unix.MS_REMOUNT, "mode=700,size="+size); err != nil {
		t.Fatal(err)
	}
}

// Trust has the tests' own clients trust the certificate that is there now.
func (s *Server) Trust(t testing.TB) {
	t.Helper()
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	s.root = x509.NewCertPool()
	if !s.root.AppendCertsFromPEM(pem) {
		t.Fatal("the certificate cannot be read")
	}
}
