package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	fuseDevice = "/dev/fuse"
	fuseConfig = "/etc/fuse.conf"
)

// checkFUSE finds out before the passphrase is asked for whether this user can
// mount at all.
func checkFUSE(allowOther bool) error {
	if err := checkDevice(fuseDevice); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		return nil
	}
	if _, err := fusermount(); err != nil {
		return err
	}
	if allowOther && !configAllowsOthers(fuseConfig) {
		return &problem{code: codeFUSE, what: "--allow-other is not permitted to ordinary users here",
			next: "An administrator can add the line user_allow_other to " + fuseConfig + "."}
	}
	return nil
}

// checkDevice opens FUSE's device and says in words why it cannot.
func checkDevice(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		return f.Close()
	}
	p := &problem{code: codeFUSE, why: err}
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		p.what = "the kernel offers no FUSE"
		p.next = "An administrator can load it: modprobe fuse. In a container it must be started with --device " + path + "."
	case errors.Is(err, os.ErrPermission):
		p.what = "FUSE is not permitted to you"
		if i, serr := os.Stat(path); serr == nil {
			p.what = fmt.Sprintf("FUSE is not permitted to you (%s has mode %04o)", path, i.Mode().Perm())
		}
		p.next = "An administrator can permit it: chmod 666 " + path + ", for good by a udev rule: KERNEL==\"fuse\", MODE=\"0666\"."
	default:
		p.what = "FUSE cannot be used"
	}
	return p
}

// fusermount finds the helper with which ordinary users mount and unmount.
func fusermount() (string, error) {
	for _, name := range []string{"fusermount3", "/usr/bin/fusermount3", "/bin/fusermount3", "/usr/local/bin/fusermount3"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", &problem{code: codeFUSE, what: "fusermount3 is not installed; ordinary users cannot mount without it",
		next: "Install it: apt install fuse3 (dnf install fuse3, pacman -S fuse3)."}
}

// configAllowsOthers reads FUSE's configuration.
func configAllowsOthers(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.TrimSpace(s.Text()) == "user_allow_other" {
			return true
		}
	}
	return false
}
