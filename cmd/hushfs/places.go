package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/drive"
)

// places are the folders of one user on one machine, after the XDG base
// directory specification. Another set of folders is another machine.
type places struct {
	config  string // hushfs's own folder in $XDG_CONFIG_HOME
	cache   string // … in $XDG_CACHE_HOME; a folder a drive below
	state   string // … in $XDG_STATE_HOME; a folder a drive below
	runtime string // … in $XDG_RUNTIME_DIR; empty when there is no usable one
}

// findPlaces reads the environment. A relative value counts as unset, as the
// specification wants it; so does a runtime folder that is not the user's own.
func findPlaces(env func(string) string) (places, error) {
	home := env("HOME")
	at := func(name, fallback string) (string, error) {
		if v := env(name); filepath.IsAbs(v) {
			return filepath.Join(v, "hushfs"), nil
		}
		if !filepath.IsAbs(home) {
			return "", &problem{code: codeState, what: "neither HOME nor " + name + " is set to an absolute path",
				next: "Set HOME."}
		}
		return filepath.Join(home, fallback, "hushfs"), nil
	}
	var p places
	var err error
	if p.config, err = at("XDG_CONFIG_HOME", ".config"); err != nil {
		return p, err
	}
	if p.cache, err = at("XDG_CACHE_HOME", ".cache"); err != nil {
		return p, err
	}
	if p.state, err = at("XDG_STATE_HOME", ".local/state"); err != nil {
		return p, err
	}
	if v := env("XDG_RUNTIME_DIR"); filepath.IsAbs(v) && private(v) == nil {
		p.runtime = filepath.Join(v, "hushfs")
	}
	return p, nil
}

// stateDir makes the state folder of a drive and returns its path. A folder
// that cannot keep what fsync promised is refused.
func (p places) stateDir(id drive.ID) (string, error) {
	path := filepath.Join(p.state, id.Short())
	err := makePrivate(path)
	if err == nil {
		// Whoever made them may have been killed before it could.
		err = errors.Join(syncFolder(p.state), syncFolder(filepath.Dir(p.state)))
	}
	if err != nil {
		return "", &problem{code: codeState, what: "the state folder cannot be used", why: err,
			next: "Check its owner and mode, or set XDG_STATE_HOME to another place."}
	}
	switch kind, err := fsKind(path); {
	case err != nil:
		return "", &problem{code: codeState, what: "the state folder cannot be used", why: err}
	case kind == networkFS:
		return "", &problem{code: codeState, what: fmt.Sprintf("the state folder %s is on a network file system, where neither locks nor fsync can be trusted", path),
			next: "Set XDG_STATE_HOME to a folder on a local disk."}
	}
	return path, nil
}

// trial makes sure, before anything is written anywhere else, that a drive's state
// can be: it writes some bytes next to where that will lie, and removes them.
func (p places) trial() error {
	refuse := func(err error) error {
		next := "Check the owner and mode of " + p.state + ", or set XDG_STATE_HOME to another place."
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			next = "Make room on the local disk and try again."
		}
		return &problem{code: codeState, what: "the state folder cannot be used", why: err, next: next}
	}
	if err := makeFolder(p.state); err != nil {
		return refuse(err)
	}
	f, err := os.CreateTemp(p.state, "trial-")
	if err != nil {
		return refuse(err)
	}
	_, err = f.Write(make([]byte, 64<<10)) // a header, and the little that lies beside it
	if err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name())); err != nil {
		return refuse(err)
	}
	return nil
}

// cacheDir is the cache folder of a drive; it is made by whoever fills it.
func (p places) cacheDir(id drive.ID) string { return filepath.Join(p.cache, id.Short()) }

// sockets are the places where a daemon of the drive may listen, best first:
// the runtime folder is gone at reboot, as the daemon is; the state folder is
// always there.
func (p places) sockets(id drive.ID) []string {
	inState := filepath.Join(p.state, id.Short(), "control.sock")
	if p.runtime == "" {
		return []string{inState}
	}
	return []string{filepath.Join(p.runtime, id.Short()+".sock"), inState}
}

// allSockets finds the sockets of all drives, living or not.
func (p places) allSockets() ([]string, error) {
	var all []string
	if p.runtime != "" {
		found, err := filepath.Glob(filepath.Join(escapeGlob(p.runtime), "*.sock"))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	found, err := filepath.Glob(filepath.Join(escapeGlob(p.state), "*", "control.sock"))
	return append(all, found...), err
}

// escapeGlob takes the meaning from the special characters of a pattern.
func escapeGlob(path string) string {
	var b []byte
	for i := range len(path) {
		switch path[i] {
		case '*', '?', '[', '\\':
			b = append(b, '\\')
		}
		b = append(b, path[i])
	}
	return string(b)
}

// makePrivate makes a folder of mode 0700 and those above it, or checks that
// the one that is there is the user's own and closed to others. What it makes
// survives a loss of power: a journal whose folder vanishes was synced for nothing.
func makePrivate(path string) error {
	if err := makeFolder(path); err != nil {
		return err
	}
	if err := private(path); err == nil || !errors.Is(err, errOpen) {
		return err
	}
	return os.Chmod(path, 0o700)
}

// makeFolder makes the folders of path that are missing, each with a synced name.
func makeFolder(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return os.MkdirAll(path, 0o700) // fails where something else lies
	}
	parent := filepath.Dir(path)
	if err := makeFolder(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncFolder(parent)
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// errOpen: others may look into a folder that should be private.
var errOpen = errors.New("folder is open to others")

// private checks that the folder at path is the user's own and closed to others.
func private(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return &os.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to uid %d, not to you (uid %d)", path, st.Uid, os.Geteuid())
	case st.Mode&0o077 != 0:
		return fmt.Errorf("%s: %w", path, errOpen)
	}
	return nil
}

// kind of a file system, as far as it matters for what must last.
type kind int

const (
	localFS   kind = iota
	networkFS      // locks and fsync are somebody else's promise
	memoryFS       // gone at reboot
)

// kinds by the magic number of statfs(2).
var kinds = map[int64]kind{
	unix.NFS_SUPER_MAGIC:  networkFS,
	unix.SMB_SUPER_MAGIC:  networkFS,
	unix.CIFS_SUPER_MAGIC: networkFS,
	unix.SMB2_SUPER_MAGIC: networkFS,
	unix.AFS_SUPER_MAGIC:  networkFS,
	unix.TMPFS_MAGIC:      memoryFS,
	unix.RAMFS_MAGIC:      memoryFS,
}

// fsKind is the kind of the file system that path lies on.
func fsKind(path string) (kind, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return localFS, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return kindOf(int64(st.Type)), nil
}

// kindOf takes the low 32 bits: on some systems the field is signed and narrow.
func kindOf(magic int64) kind { return kinds[magic&0xffffffff] }
