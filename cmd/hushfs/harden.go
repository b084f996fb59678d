package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// harden keeps the memory of this process out of core files and away from other
// processes of the user. It comes before the first secret.
func harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("no core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("not dumpable: %w", err)
	}
	unix.Umask(0o077)
	return nil
}

// wipe overwrites a secret.
func wipe(b []byte) { clear(b) }
