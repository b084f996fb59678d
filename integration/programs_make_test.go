package integration

import (
	"strings"
	"testing"
)

// makeRules build 30 results, and a sum of them, in folders.
const makeRules = `
n := $(shell seq 30)
all: out/sum
out/%: src/% src/all | out
	@echo "make $@"; cat src/all $< >$@
out/sum: $(n:%=out/%)
	@echo "make $@"; cat $^ >$@
out:
	@mkdir $@
`

// make sees by times what is to be done. It must not do again what is done, on
// this machine, after a crash or on another, and must see each change.
func programMake(t *testing.T, m *machine) {
	d := m.mount()
	dir := func(m *machine) string { return m.in("project") }
	build := func(m *machine) []string {
		t.Helper()
		return strings.Fields(strings.ReplaceAll(m.toolIn(dir(m), nil, "make", "--no-print-directory", "-s", "-j2"), "make out/", ""))
	}
	wants := func(m *machine, when string, change string, want ...string) {
		t.Helper()
		m.script(dir(m), nil, change)
		got := build(m)
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: make has made %q, want %q", when, got, want)
		}
		if got := build(m); len(got) > 0 {
			t.Errorf("%s: the second time make has made %q again", when, got)
		}
	}
	m.script("/", nil, `mkdir "$1" "$1/src"; printf '%s' "$2" >"$1/Makefile"; cd "$1/src"; for i in $(seq 30); do echo "$i" >"$i"; done; echo all >all`, dir(m), makeRules)
	if got := build(m); len(got) != 31 {
		t.Errorf("at first make has made %q, want all 31", got)
	}
	wants(m, "nothing changed", `:`)
	wants(m, "one file was written", `echo more >>src/7`, "7", "sum")
	wants(m, "one was replaced", `echo new >src/.8; mv src/.8 src/8`, "8", "sum")
	wants(m, "a result was removed", `rm out/9`, "9", "sum")
	wants(m, "one was touched", `touch src/10; find . -type f -exec sync {} +; sync . src out`, "10", "sum")
	m.script(dir(m), nil, `sync out out/10 out/sum`)
	d = d.revive()
	wants(m, "the daemon was killed", `:`)

	d = d.remount()
	wants(d.m, "a new machine", `:`)
	wants(d.m, "a new machine, one file was written", `echo more >>src/11`, "11", "sum")
	d.umount()
}
