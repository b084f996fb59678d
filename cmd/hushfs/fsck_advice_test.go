package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/check"
)

// Of two histories one is settled before anything is repaired.
func TestFsckOfTwoHistories(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	a := &app{stdout: out}
	a.showEnd(fsckResult{Check: &check.Report{Findings: []check.Finding{{Kind: check.KindHistory, Severity: check.Lost, Cause: check.Forged}}}}, codeDamaged)
	b, err := os.ReadFile(out.Name())
	if said := string(b); err != nil || !strings.Contains(said, "hushfs heads STORE") || strings.Contains(said, "fsck --repair") {
		t.Error(said)
	}
}

// Nobody is sent to make a new drive where the store lost one.
func TestNoDriveMayBeALostOne(t *testing.T) {
	for name, c := range map[string]struct {
		lost   string
		advice []string
		never  string
	}{
		"headers":    {"store/v0/h", []string{"headers", "from a copy of the store", "a machine that mounted it before"}, "hushfs init"},
		"everything": {"store/v0", []string{"If a drive was there", "make nothing new in its place", "from a copy of the store", "Where there never was one: hushfs init STORE"}, "v0/h/"},
	} {
		t.Run(name, func(t *testing.T) {
			m, n := newMachine(t), newMachine(t)
			m.drive()
			if err := os.RemoveAll(m.path(c.lost)); err != nil {
				t.Fatal(err)
			}
			o := n.run("fsck", "--passphrase-file", m.pass, m.path("store"))
			if o.code != codeNoDrive || strings.Contains(o.stderr, c.never) {
				t.Errorf("%+v", o)
			}
			for _, words := range c.advice {
				if !strings.Contains(o.stderr, words) {
					t.Errorf("%q is not in %s", words, o.stderr)
				}
			}
		})
	}
}
