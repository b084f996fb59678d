package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/history"
	"github.com/hushfs/hushfs/fs/volume"
)

// hostile are names that a writer with a program of its own can give to files, machines
// and versions: what a terminal obeys, what turns a line around, what is no text, and what
// makes one line two.
var hostile = []string{
	"\x1b]0;title\x07", "\x1b[2J\x1b[1;1Hall is well", "a\rAll changes are in the store", "a\nslot 7  fine", "\u202etxt.exe",
	"\u009b31m", "\u0085", "\xff\xfe", "a\u200bb", "\u2066x\u2069", "tab\tbed", "\x7f\b\b\b", "\u2028",
}

// shown is the text for people, of which nothing may act on a terminal.
func shown(t *testing.T, what, name, text string, lines int) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			t.Errorf("%s shows %q of %q: %q", what, r, name, text)
			return
		}
	}
	if n := strings.Count(strings.TrimSuffix(text, "\n"), "\n") + 1; n != lines {
		t.Errorf("%s of %q is %d lines: %q", what, name, n, text)
	}
}

func TestHostileNamesAreShownSafely(t *testing.T) {
	for _, name := range hostile {
		path := "/d/" + name
		for _, what := range []history.What{history.Renamed, history.Linked, history.Created, history.Attributes} {
			shown(t, "log", name, changeText(history.Change{What: what, Path: path, From: path, Kind: "file", Detail: name}), 1)
		}
		shown(t, "log", name, noticeText(history.Notice{What: "device added", Device: 2, Name: name}), 1)
		f, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		a := &app{stdout: f}
		a.showEntry(history.Entry{Commit: strings.Repeat("0", 64), DeviceName: name, Member: "00000000"}, true)
		f.Close()
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		shown(t, "log", name, string(b), 1)
		shown(t, "device list", name, devicesText([]volume.Device{{No: 1, Name: name, Program: name, Hash: strings.Repeat("0", 64)}}, time.Now()), 2)
		c := volume.Conflict{ID: "1-2", Kind: "copy", DeviceName: name, What: "w", Meant: path, Mine: volume.ConflictSide{Paths: []string{path, path}, Kind: "file"}, Theirs: volume.ConflictSide{Paths: []string{path}, Kind: "file"}}
		shown(t, "conflicts", name, c.Text(), 6)
		shown(t, "fsck, audit", name, check.Printable(path), 1)
		shown(t, "heads", name, headText(volume.Head{Device: 2, Name: name}), 1)
		said := control.Status{Mountpoint: "/m", Why: name, Volume: volume.Status{Stored: true, Stopped: name, Warnings: []string{name}}}
		shown(t, "status", name, statusText(said, time.Now()), 9)
		shown(t, "status", name, statusText(control.Status{Mountpoint: "/m", Volume: volume.Status{Name: name}}, time.Now()), 6)
	}
}
