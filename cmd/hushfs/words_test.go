package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/volume"
)

func TestLeftBehind(t *testing.T) {
	for want, v := range map[string]volume.Status{
		"Everything is in the store.":         {},
		"It was read-only, and sent nothing.": {ReadOnly: true},
		"It showed what the store has, and sent nothing. The store is still without what this machine knows of; see what: hushfs heads STORE": {ReadOnly: true, Older: true},
	} {
		if got := leftBehind(v); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestLockText(t *testing.T) {
	const rest = "; unless it takes part, until 28 more commits"
	for want, l := range map[string]volume.Locked{
		"/a: desk (device 2), has it shared":                         {Mode: "shared"},
		"/a: desk (device 2), this machine, has it exclusive":        {Mode: "exclusive", This: true},
		"/a: desk (device 2), waits for it exclusive":                {Waits: "exclusive"},
		"/a: desk (device 2), has it shared, waits for it exclusive": {Mode: "shared", Waits: "exclusive"},
	} {
		l.Path, l.Name, l.Device, l.Slot, l.Until = "/a", "desk", 2, 100, 128
		if got := lockText(l); got != want+rest {
			t.Errorf("%q, want %q", got, want+rest)
		}
	}
	// Another machine chose the names, and this is a terminal.
	if got := lockText(volume.Locked{Path: "/\x1b[2J", Name: "de\nsk", Mode: "shared"}); strings.ContainsAny(got, "\x1b\n") {
		t.Errorf("%q", got)
	}
}

// One change is told as one.
func TestUndrainedText(t *testing.T) {
	for want, u := range map[string]volume.Undrained{
		"1 change (7 bytes) is not in the store: it stays sealed in the journal":       {Ops: 1, Bytes: 7},
		"2 changes (0 bytes) are not in the store: they stay sealed in the journal":    {Ops: 2},
		"1 change (0 bytes) is not in the store, and 1 of them could not be written":   {Ops: 1, Lost: 1},
		"0 changes (0 bytes) are not in the store, and 3 of them could not be written": {Lost: 3},
	} {
		if got := u.Error(); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Whatever a mount answers to who asks for a lease, it is told what to do.
func TestLeaseErrors(t *testing.T) {
	for errno, want := range map[syscall.Errno]code{
		unix.EOPNOTSUPP: codeNotMounted, unix.ENOTCONN: codeNotMounted,
		unix.ENOENT: codeUsage, unix.ENOTDIR: codeUsage,
		unix.EBUSY:   codeLeased,
		unix.ENODATA: codeFailure, unix.EPERM: codeFailure, unix.EACCES: codeFailure, unix.EEXIST: codeFailure, unix.EFBIG: codeFailure, unix.E2BIG: codeFailure, unix.EROFS: codeFailure,
		unix.EIO: codeStore, unix.ETIMEDOUT: codeStore, unix.EHOSTDOWN: codeStore, unix.ENETUNREACH: codeStore,
	} {
		p := explain("", leaseError("lease", "/mnt/my db", fmt.Errorf("asked: %w", errno)))
		if p.code != want || p.next == "" || !strings.HasPrefix(p.text(), "lease: ") || strings.Contains(p.text(), "PATH") {
			t.Errorf("%v: code %d, %q; want code %d", errno, p.code, p.text(), want)
		}
	}
}
