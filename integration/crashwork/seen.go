package crashwork

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Seen is what is there under a path.
type Seen struct {
	Kind    byte // as node.kind; 0 for what is neither
	Ino     uint64
	Mode    uint32 // permission bits
	Links   int    // names, as the drive counts them; of files
	To      string
	Attrs   map[string]string // those of users
	Content []byte
	Err     error // it could not be read
}

// Look reads all that is below a folder, by paths below it.
func Look(base string) (map[string]*Seen, error) {
	all := map[string]*Seen{}
	err := filepath.WalkDir(base, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(base, path)
		if err != nil || rel == "." {
			return err
		}
		s := &Seen{}
		s.Err = s.read(path)
		all[rel] = s
		return nil
	})
	return all, err
}

func (s *Seen) read(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	s.Ino, s.Mode, s.Links = st.Ino, st.Mode&0o7777, int(st.Nlink)
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		s.Kind = 'f'
		s.Content, err = os.ReadFile(path)
	case unix.S_IFDIR:
		s.Kind = 'd'
	case unix.S_IFLNK:
		s.Kind = 'l'
		s.To, err = os.Readlink(path)
		return err // it has no attributes of users
	}
	if err != nil {
		return err
	}
	s.Attrs, err = attributes(path)
	return err
}

func attributes(path string) (map[string]string, error) {
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	value := make([]byte, 64<<10)
	for name := range bytes.SplitSeq(names[:n], []byte{0}) {
		if !strings.HasPrefix(string(name), "user.a") {
			continue
		}
		k, err := unix.Lgetxattr(path, string(name), value)
		if err != nil {
			return nil, err
		}
		all[string(name)] = string(value[:k])
	}
	return all, nil
}

// Names describes what is there of worker id's.
func Names(id int, seen map[string]*Seen) string {
	var all []string
	for _, p := range slices.Sorted(maps.Keys(seen)) {
		if s := seen[p]; own(id, p) {
			all = append(all, fmt.Sprintf("%s (%c, inode %d, %d bytes)", p, s.Kind, s.Ino, len(s.Content)))
		}
	}
	return strings.Join(all, ", ")
}
