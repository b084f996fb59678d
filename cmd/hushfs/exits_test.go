package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/store"
)

// The help of every command says how it may end, in the words of the table of all codes.
func TestEveryHelpHasExitCodes(t *testing.T) {
	root := (&app{}).root()
	told := map[string]bool{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.Hidden || c.RunE == nil || c.HasSubCommands() && nameOf(c) != "conflicts" || c.Name() == "help" {
			return
		}
		told[nameOf(c)] = true
		text := exitsOf(c)
		for _, code := range append([]code{codeOK, codeFailure, codeUsage}, exits[nameOf(c)]...) {
			if n := strings.Count(text, fmt.Sprintf("\n  %2d  ", code)); n != 1 {
				t.Errorf("%s: code %d is told %d times", nameOf(c), code, n)
			}
		}
	}
	walk(root)
	for name := range exits {
		if !told[name] {
			t.Errorf("there is no command %s", name)
		}
	}
	m := newMachine(t)
	for _, args := range [][]string{{"fsck", "--help"}, {"help", "fsck"}} {
		if o := m.run(args...); o.code != codeOK || !strings.Contains(o.stdout, "\nExit codes:\n   0  it worked") || !strings.Contains(o.stdout, "\n  18  of fsck --repair") {
			t.Errorf("%v: %+v", args, o)
		}
	}
}

// A word that is no command is answered with where the commands of its group are told.
func TestUnknownWordOfAGroup(t *testing.T) {
	m := newMachine(t)
	for word, next := range map[string]string{"device nonsense": "See: hushfs device --help", "nonsense": "See: hushfs help"} {
		if o := m.run(strings.Fields(word)...); o.code != codeUsage || !strings.HasSuffix(o.stderr, next+"\n") {
			t.Errorf("%s: %+v", word, o)
		}
	}
}

// What cannot be opened is named: a relative STORE may be another one than was meant.
func TestStoreIsNamed(t *testing.T) {
	m := newMachine(t)
	for _, args := range [][]string{{"mount", "--passphrase-file", m.pass, "nowhere", "d"}, {"fsck", "--passphrase-file", m.pass, "nowhere"}, {"audit-bucket", "nowhere"}} {
		if o := m.run(args...); o.code != codeNoDrive || !strings.Contains(o.stderr, m.path("nowhere")) {
			t.Errorf("%v: %+v", args, o)
		}
	}
}

// A store that takes nothing can still be looked at, and that is said to who would mount it.
func TestDeniedStoreCanBeLookedAt(t *testing.T) {
	for _, c := range []struct {
		readOnly, hint bool
	}{{false, true}, {true, false}} {
		p := storeProblem("/store", c.readOnly, fmt.Errorf("write to store directory: %w", store.ErrDenied))
		if got := strings.Contains(p.text(), "hushfs mount --read-only"); got != c.hint || p.code != codeStore {
			t.Errorf("read-only %v: %s", c.readOnly, p.text())
		}
	}
}

// A mount whose daemon died is called dead in a whole sentence.
func TestDeadMountIsTold(t *testing.T) {
	p := diedAt("/d")
	if text := p.text(); p.code != codeNotMounted || strings.Contains(text, ": has died") || !strings.Contains(text, "its daemon has died") || !strings.Contains(text, "hushfs mount STORE DIR") {
		t.Error(text)
	}
}
