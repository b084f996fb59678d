package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A command whose results cannot be written fails, and says why once: a script would take
// an empty file for an answer.
func TestUnwrittenResults(t *testing.T) {
	m := newMachine(t)
	m.drive()
	for _, command := range []string{
		"version",
		"status",
		"audit-bucket store",
		"audit-bucket --all --passphrase-file pass store",
		"fsck --passphrase-file pass store",
		"heads --passphrase-file pass store",
		"log --passphrase-file pass store",
	} {
		for _, args := range []string{command, command + " --json"} {
			c := exec.Command("sh", "-c", `exec "$0" `+args+` > /dev/full`, os.Args[0])
			c.Env, c.Dir = m.env, m.dir
			if o := m.finish(c); o.code != codeFailure || strings.Count(o.stderr, "could not be written: ") != 1 || !strings.HasPrefix(o.stderr, "hushfs: ") {
				t.Errorf("%s: %+v", args, o)
			}
		}
	}
}
