package integration

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// vimLines is how long vim's text is: longer than a page, a write and a swap
// file's block.
const vimLines = 4000

// A text is edited in vim: saved in each of its three ways, with a backup; lost
// with vim and with the daemon, and recovered from the swap file; saved over and
// over until the daemon goes. Nothing that vim called saved or preserved is lost.
func programVim(t *testing.T, m *machine) {
	d := m.mount()
	e := &editor{t: t}
	must(t, os.WriteFile(m.in("text"), []byte(vimText(1)), 0o640))
	must(t, os.Link(m.in("text"), m.in("also")))
	e.sure = 1
	for _, c := range []struct {
		way    string
		linked bool // the same file afterwards
		how    string
	}{{"yes", true, "over the file itself"}, {"auto", true, "as fits: it has two names"}, {"no", false, "the file becomes the backup"}} {
		was := e.sure
		p := e.start(m, "backup", "backupcopy="+c.way)
		e.save(p, was+1)
		p.rest()
		e.check(m, "saved "+c.how)
		if got := vimVersion(read(t, m.in("text~"))); got != was {
			t.Errorf("saved %s: the backup is version %d, want %d", c.how, got, was)
		}
		var text, also unix.Stat_t
		must(t, unix.Stat(m.in("text"), &text))
		must(t, unix.Stat(m.in("also"), &also))
		if linked := text.Ino == also.Ino; linked != c.linked {
			t.Errorf("saved %s: same file %v, want %v", c.how, linked, c.linked)
		}
		if text.Mode&0o7777 != 0o640 {
			t.Errorf("saved %s: mode %o, want 640", c.how, text.Mode&0o7777)
		}
	}

	for _, killed := range []string{"vim", "the daemon"} {
		p := e.edit(m, e.sure+1)
		if killed == "the daemon" {
			d.kill()
			p.kill()
			d = m.mount()
		} else {
			p.kill()
		}
		e.check(m, killed+" was killed before a save")
		e.recover(m, killed+" was killed")
	}

	for _, way := range []string{"yes", "no"} {
		p := e.start(m, "backup", "backupcopy="+way)
		first := e.sure
		for v := range 100 { // as many as the pipe holds
			p.tell(vimSave(first + 1 + v))
		}
		note := func(line string) {
			if v, err := strconv.Atoi(strings.TrimPrefix(line, "saved ")); err == nil {
				e.sure = v
			}
		}
		for e.sure < first+5 {
			note(p.line())
		}
		d.kill()
		for _, line := range p.kill() {
			note(line)
		}
		d = m.mount()
		e.either(m, "backupcopy="+way+", the daemon was killed while vim saved over and over")
	}

	p := e.edit(m, e.sure+1)
	p.kill()
	d = d.remount()
	e.check(d.m, "on a new machine")
	e.recover(d.m, "on a new machine")
	d.umount()
}

// editor knows which version of the text is saved for sure.
type editor struct {
	t    *testing.T
	sure int
}

// vimText is a version of the text: each line tells which.
func vimText(version int) string {
	var b strings.Builder
	for line := range vimLines {
		fmt.Fprintf(&b, "version %d line %d\n", version, line)
	}
	return b.String()
}

// vimVersion is the version of a whole text, else 0.
func vimVersion(text []byte) (version int) {
	if _, err := fmt.Sscanf(string(text), "version %d", &version); err != nil || string(text) != vimText(version) {
		return 0
	}
	return version
}

// vimSave has vim make a version, save it, and say so. Vim goes on when it could
// not save; but then the drive is gone, and nothing can be read there.
func vimSave(version int) string {
	return fmt.Sprintf("%%s/^version [0-9]*/version %d/\nwrite\n!grep -q '^version %d ' text && echo saved %d </dev/null", version, version, version)
}

// start opens the text in a vim that keeps its swap file beside it, and syncs
// what it saves.
func (e *editor) start(m *machine, options ...string) *dialogue {
	e.t.Helper()
	must(e.t, removeAny(m.in(".text.swp")))
	p := m.dialogue([]string{"SHELL=/bin/sh"}, "sh", "-euc", `cd "$1"; exec vim.tiny -es -N -u NONE -i NONE`, "sh", m.mnt)
	p.tell("set fsync directory=. backupdir=. backupskip= updatecount=1 " + strings.Join(options, " ") + "\nedit text")
	return p
}

// save saves a version and ends vim.
func (e *editor) save(p *dialogue, version int) {
	e.t.Helper()
	p.tell(vimSave(version))
	if got, want := p.line(), "saved "+itoa(version); got != want {
		e.t.Fatalf("vim says %q, want %q", got, want)
	}
	p.tell("quit")
	e.sure = version
}

// edit is a vim that has changed the text to a version, and preserved that, but
// not saved.
func (e *editor) edit(m *machine, version int) *dialogue {
	e.t.Helper()
	p := e.start(m)
	if out, err := p.ask(fmt.Sprintf("%%s/^version [0-9]*/version %d/\npreserve", version), "!echo '"+answered+"' </dev/null"); err != nil {
		e.t.Fatalf("vim: %v\n%s", err, out)
	}
	return p
}

// recover wants the version after the last in the swap file, and saves it.
func (e *editor) recover(m *machine, when string) {
	e.t.Helper()
	m.script(m.mnt, nil, `vim.tiny -es -N -u NONE -i NONE -r text -c 'write! recovered' -c 'write!' -c quit! </dev/null`)
	for _, name := range []string{"recovered", "text"} {
		if got := vimVersion(read(e.t, m.in(name))); got != e.sure+1 {
			e.t.Fatalf("%s: %s from the swap file is version %d, want %d", when, name, got, e.sure+1)
		}
	}
	e.sure++
}

// check wants the version that is saved.
func (e *editor) check(m *machine, when string) {
	e.t.Helper()
	if got := vimVersion(read(e.t, m.in("text"))); got != e.sure {
		e.t.Fatalf("%s: the text is version %d, want %d", when, got, e.sure)
	}
}

// either wants the version that is saved or the next in the text or, where that
// is half of one, in its backup, as vim's users would find it; and keeps to it.
func (e *editor) either(m *machine, when string) {
	e.t.Helper()
	var found []int
	for _, name := range []string{"text", "text~"} {
		b, err := os.ReadFile(m.in(name))
		if err != nil && !os.IsNotExist(err) {
			e.t.Fatal(err)
		}
		if v := vimVersion(b); v == e.sure || v == e.sure+1 {
			must(e.t, os.WriteFile(m.in("text"), []byte(vimText(v)), 0o640))
			e.sure = v
			return
		}
		found = append(found, vimVersion(b))
	}
	e.t.Fatalf("%s: text and backup are versions %v, of which 0 is none; saved is %d", when, found, e.sure)
}
