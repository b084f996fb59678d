package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// gitWork makes commits in the folder that it runs in, from number $1 to $2,
// each with text, bytes that do not compress, a mode that changes and a link, and
// says each one's name when it is made.
const gitWork = `
for i in $(seq "$1" "$2"); do
	mkdir -p "d$((i % 5))"
	seq "$i" "$((i * 37))" >"d$((i % 5))/text$((i % 11))"
	head -c "$((i * 700))" /dev/urandom >"bytes$((i % 3))"
	chmod "$((i % 2 ? 755 : 644))" "bytes$((i % 3))"
	ln -sfn "d$((i % 5))" link
	git add -A
	git commit -q -m "work $i"
	git rev-parse HEAD
done`

// gitSettings are those of every git here: what it says is stored is synced.
var gitSettings = append([]string{
	"GIT_CONFIG_COUNT=4", "GIT_CONFIG_KEY_0=core.fsync", "GIT_CONFIG_VALUE_0=all", "GIT_CONFIG_KEY_1=gc.auto", "GIT_CONFIG_VALUE_1=0",
	"GIT_CONFIG_KEY_2=init.defaultBranch", "GIT_CONFIG_VALUE_2=main", "GIT_CONFIG_KEY_3=advice.detachedHead", "GIT_CONFIG_VALUE_3=false",
}, gitEnv...)

// unlockGit removes what a git that was killed leaves, as it asks one to.
const unlockGit = `find .git \( -name '*.lock' -o -name packed-refs.new -o -name gc.pid \) -delete`

var commitName = regexp.MustCompile(`^[0-9a-f]{40}$`)

// A clone on the drive, with commits, branches, a merge, a second worktree and
// the most thorough gc; the daemon is killed while commits are made, and in gc.
func programGit(t *testing.T, m *machine) {
	d := m.mount()
	origin, clone, tree := m.at("origin"), m.in("clone"), m.in("tree")
	run := func(m *machine, dir string, args ...string) string {
		t.Helper()
		return m.toolIn(dir, gitSettings, "git", args...)
	}
	fsck := func(m *machine, dir string) {
		t.Helper()
		run(m, dir, "fsck", "--full", "--strict", "--no-dangling")
	}
	run(m, "/", "init", "-q", origin)
	m.script(origin, gitSettings, gitWork, "1", "12")
	run(m, "/", "clone", "-q", "--no-local", origin, clone)
	m.script(clone, gitSettings, gitWork, "13", "24")
	run(m, clone, "checkout", "-q", "-b", "side", "HEAD~9")
	m.script(clone, gitSettings, `for i in 1 2 3; do echo $i >side$i; git add side$i; git commit -q -m "side $i"; done`)
	run(m, clone, "checkout", "-q", "main")
	run(m, clone, "merge", "-q", "-m", "merge", "side")
	run(m, clone, "worktree", "add", "-q", "-b", "elsewhere", tree, "main~3")
	m.script(tree, gitSettings, gitWork, "30", "33")
	fsck(m, clone)

	// A commit is synced before its name is written, and that name by whatever is
	// synced next. So all but the last of those that were made is there.
	work := m.dialogue(gitSettings, "sh", "-euc", `cd "$1"; shift; `+gitWork, "sh", clone, "40", "10000")
	var made []string
	for len(made) < 8 {
		line := work.line()
		if !commitName.MatchString(line) {
			t.Fatalf("a commit failed: %s", line)
		}
		made = append(made, line)
	}
	d.kill()
	for _, line := range work.rest() {
		if commitName.MatchString(line) { // no word of what went wrong
			made = append(made, line)
		}
	}
	d = m.mount()
	m.script(clone, nil, unlockGit)
	log := strings.Fields(run(m, clone, "log", "--format=%H"))
	if want := made[len(made)-2]; !slices.Contains(log, want) {
		t.Errorf("of the commits made before the daemon was killed,\n%s\nthe last but one is not in the log, which begins with %s", strings.Join(made, "\n"), log[0])
	}
	fsck(m, clone)
	run(m, clone, "reset", "-q", "--hard")
	run(m, clone, "clean", "-fdqx")

	gc := m.dialogue(gitSettings, "git", "-C", clone, "gc", "-q", "--aggressive", "--prune=now")
	eventually(t, "gc writes a pack", time.Minute, func() bool {
		return gc.ended() || m.script(clone, nil, `find .git/objects -name 'tmp_*' -size +0 2>/dev/null || true`) != ""
	})
	d.kill()
	gc.rest()
	d = m.mount()
	m.script(clone, nil, unlockGit)
	fsck(m, clone)
	run(m, clone, "gc", "-q", "--aggressive", "--prune=now")
	fsck(m, clone)
	if out := run(m, clone, "count-objects", "-v"); !strings.Contains(out, "\npacks: 1\n") {
		t.Errorf("after gc:\n%s", out)
	}
	m.script(clone, gitSettings, gitWork, "50", "52")

	state := func(m *machine) string {
		t.Helper()
		fsck(m, m.in("clone"))
		s := ""
		for _, dir := range []string{"clone", "tree"} {
			s += fmt.Sprintf("%s: status %q\n%s", dir, run(m, m.in(dir), "status", "--porcelain"), run(m, m.in(dir), "log", "--all", "--format=%H %T %s"))
		}
		return s
	}
	want := state(m)
	if strings.Count(want, `status ""`) != 2 {
		t.Fatalf("a worktree is not clean:\n%s", want)
	}

	d = d.remount()
	n := d.m
	run(n, n.in("clone"), "worktree", "repair", n.in("tree")) // it is at another path
	if got := state(n); got != want {
		t.Errorf("on the new machine:\n%s\nit was:\n%s", got, want)
	}
	n.script(n.in("clone"), gitSettings, gitWork, "60", "62")
	n.script(n.in("tree"), gitSettings, gitWork, "70", "71")
	fsck(n, n.in("clone"))
	d.umount()
}
