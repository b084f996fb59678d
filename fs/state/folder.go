package state

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hushfs/hushfs/crypt"
)

// maxFile bounds the secret file and the state file, in bytes.
const maxFile = 4096

// openSecret opens the secret file under the root key, or under an earlier one:
// then the root was changed, on another machine perhaps, and the secret is
// sealed again under the new one.
func (s *State) openSecret(sealed []byte, previous []*crypt.Key) error {
	b, err := cutMagic(sealed, secretMagic)
	if err != nil {
		return fmt.Errorf("secret file: %w", err)
	}
	for i, root := range append([]*crypt.Key{s.root}, previous...) {
		plain, err := s.underRoot(root).Open(nil, b, []byte(secretMagic))
		if err != nil {
			continue
		}
		defer clear(plain)
		if s.secret, err = crypt.KeyFromBytes(plain); err != nil {
			return fmt.Errorf("secret file: %w", ErrMalformed)
		}
		if i > 0 {
			return s.saveSecret()
		}
		return nil
	}
	return ErrForeign
}

// cutMagic cuts the magic, whose last byte is the version, off the front of b.
func cutMagic(b []byte, magic string) ([]byte, error) {
	n := len(magic)
	switch {
	case len(b) < n || string(b[:n-1]) != magic[:n-1]:
		return nil, ErrMalformed
	case b[n-1] > magic[n-1] && b[n-1] <= '9':
		return nil, ErrNewer
	case b[n-1] != magic[n-1]:
		return nil, ErrMalformed
	}
	return b[n:], nil
}

// saveSecret writes the secret file.
func (s *State) saveSecret() error {
	plain := s.secret.Bytes()
	defer clear(plain)
	return Replace(s.dir, secretFile, s.underRoot(s.root).Seal([]byte(secretMagic), plain, []byte(secretMagic)))
}

func (s *State) underRoot(root *crypt.Key) *crypt.Local {
	return crypt.NewLocal(root, "hushfs/local", s.drive[:])
}

func (s *State) underSecret() *crypt.Local {
	return crypt.NewLocal(s.secret, "hushfs/state", s.drive[:])
}

// load reads the state file.
func (s *State) load() error {
	sealed, err := read(s.dir, stateFile, maxFile)
	if err != nil {
		return err
	}
	b, err := cutMagic(sealed, stateMagic)
	if err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	plain, err := s.underSecret().Open(nil, b, []byte(stateMagic))
	if err != nil {
		return ErrForeign
	}
	defer clear(plain)
	s.d, s.device, err = decode(plain)
	return err
}

// save writes the state file, and the secret file before it when there is none;
// s is locked.
func (s *State) save() error {
	if !s.saved {
		if err := s.saveSecret(); err != nil {
			return err
		}
		s.saved = true
	}
	plain := s.d.encode(s.device)
	defer clear(plain)
	return Replace(s.dir, stateFile, s.underSecret().Seal([]byte(stateMagic), plain, []byte(stateMagic)))
}

// read returns the content of a file, or its first limit bytes.
func read(dir, name string, limit int) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(limit)))
}

// Replace makes b the content of the file name in dir: the old or the new
// content is there after a crash, and the new one after it returned. After an
// error it may be either.
func Replace(dir, name string, b []byte) (err error) {
	tmp := filepath.Join(dir, name+".new")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, filepath.Join(dir, name))
	}
	if err != nil {
		// The temporary file is overwritten by the next attempt anyway.
		_ = os.Remove(tmp)
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
