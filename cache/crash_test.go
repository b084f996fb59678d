package cache

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tests run themselves as a child with this set: the folder of a cache that
// the child opens and uses until it is killed, or opens, reads and closes.
const (
	childUses  = "HUSHFS_TEST_CACHE_USES"
	childReads = "HUSHFS_TEST_CACHE_READS"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(childUses) != "":
		use(os.Getenv(childUses))
	case os.Getenv(childReads) != "":
		readAll(os.Getenv(childReads))
	case os.Getenv(childMakesFew) != "":
		makeFew(os.Getenv(childMakesFew))
	case os.Getenv(childFlips) != "":
		runFlips(os.Getenv(childFlips))
	case os.Getenv(childFull) != "":
		fullDisk(os.Getenv(childFull))
	default:
		os.Exit(m.Run())
	}
}

// crashKeys is how many keys are tried, crashValue their length: a whole
// generation and more.
const (
	crashKeys  = 400
	crashValue = 20_000
)

// use fills the cache and says so, then goes on until it is killed.
func use(dir string) {
	c, err := Open(options(dir))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(2)
	}
	fill(c, 0, crashKeys, crashValue)
	c.WriteObject(objectName(1), 1<<20, 0, value(1, 1000))
	c.WriteObject(objectName(1), 1<<20, 500_000, value(1, 1000))
	c.values.flush(true)
	fmt.Println("full")
	for i := 0; ; i++ {
		fill(c, i%crashKeys, i%crashKeys+1, crashValue)
	}
}

// readAll tells what it has; anything wrong is another exit code than 0.
func readAll(dir string) {
	c, err := Open(options(dir))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(2)
	}
	there := 0
	for i := range crashKeys {
		b, err := c.Get(key(i))
		if err == nil {
			there++
		}
		if err == nil && !bytes.Equal(b, value(i, crashValue)) || err != nil && !errors.Is(err, ErrAbsent) {
			fmt.Println("wrong", i, err)
			os.Exit(3)
		}
	}
	part := 0
	if b, err := c.ReadObject(objectName(1), 500_000, 1000); err == nil && bytes.Equal(b, value(1, 1000)) {
		part = 1
	}
	c.values.flush(false)
	fill(c, 10_000, 10_010, 1000)
	for i := 10_000; i < 10_010; i++ {
		if _, err := c.Get(key(i)); err != nil {
			fmt.Println("does not work", err)
			os.Exit(4)
		}
	}
	if err := c.Close(); err != nil {
		fmt.Println("close", err)
		os.Exit(5)
	}
	fmt.Println("read", there, part, c.rebuilt.Load())
}

func child(t *testing.T, env, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), env+"="+dir)
	return cmd
}

// killed fills a cache in a child, as env says, and kills that in the middle of its work.
func killed(t *testing.T, dir, env string) {
	t.Helper()
	cmd := child(t, env, dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "full\n" {
		t.Errorf("the child says %q: %v", line, err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
}

// reopened opens the cache in a child, and tells how many values it found.
func reopened(t *testing.T, dir string) (there, part, rebuilt int) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := child(t, childReads, dir)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s %s", err, out, stderr.String())
	}
	if _, err := fmt.Sscanf(string(out), "read %d %d %d", &there, &part, &rebuilt); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if got := du(t, dir); got > testLimit {
		t.Errorf("%d bytes on disk", got)
	}
	return there, part, rebuilt
}

// newest is the last of the files in all generations that match.
func newest(t *testing.T, dir, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, valuesDir, "*", pattern))
	must(t, err)
	if len(files) == 0 {
		t.Fatalf("no %s", pattern)
	}
	slices.Sort(files)
	return files[len(files)-1]
}

// theLog is the log of the values that are in no table.
func theLog(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, valuesDir, logPrefix+"*"))
	must(t, err)
	if len(files) == 0 {
		t.Fatal("no log")
	}
	return files[len(files)-1]
}

func truncateBy(t *testing.T, path string, n int64) {
	t.Helper()
	i, err := os.Stat(path)
	must(t, err)
	must(t, os.Truncate(path, max(i.Size()-n, 0)))
}

func zero(t *testing.T, path string, off, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt(make([]byte, n), off)
	must(t, errors.Join(err, f.Close()))
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	i, err := os.Stat(path)
	must(t, err)
	return i.Size()
}

// Each damage is done to a cache that was killed in use, on the same run of the
// machine, which is when its values are used again.
func TestDamage(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	killed(t, full, childUses)
	tests := map[string]struct {
		damage       func(t *testing.T, dir string)
		least, most  int // values that are there afterwards
		mayKeepParts bool
	}{
		"kill only":                  {func(*testing.T, string) {}, crashKeys - 2, crashKeys, true},
		"the end of the log is lost": {func(t *testing.T, dir string) { truncateBy(t, theLog(t, dir), 10_000) }, crashKeys / 3, crashKeys, true},
		"the log is all zero": {func(t *testing.T, dir string) {
			log := theLog(t, dir)
			zero(t, log, 0, size(t, log))
		}, crashKeys / 3, crashKeys, true},
		"a page in the middle of the log is zero": {func(t *testing.T, dir string) { zero(t, theLog(t, dir), size(t, theLog(t, dir))/2, 4096) }, crashKeys / 3, crashKeys, true},
		"the log is empty":                        {func(t *testing.T, dir string) { must(t, os.Truncate(theLog(t, dir), 0)) }, crashKeys / 3, crashKeys, true},
		"the log is missing":                      {func(t *testing.T, dir string) { must(t, os.Remove(theLog(t, dir))) }, crashKeys / 3, crashKeys, true},
		"the manifest is cut by 10 bytes":         {func(t *testing.T, dir string) { truncateBy(t, newest(t, dir, "MANIFEST"), 10) }, 0, crashKeys, true},
		"the manifest is empty":                   {func(t *testing.T, dir string) { truncateBy(t, newest(t, dir, "MANIFEST"), 1<<20) }, 0, crashKeys, true},
		"the newest table is cut in half": {func(t *testing.T, dir string) {
			sst := newest(t, dir, "*.sst")
			truncateBy(t, sst, size(t, sst)/2)
		}, 0, crashKeys, true},
		"the newest table is empty": {func(t *testing.T, dir string) { must(t, os.Truncate(newest(t, dir, "*.sst"), 0)) }, 0, crashKeys, true},
		"the end of a table is zero": {func(t *testing.T, dir string) {
			sst := newest(t, dir, "*.sst")
			zero(t, sst, size(t, sst)-4096, 4096)
		}, 0, crashKeys, true},
		"pages of a table are zero": {func(t *testing.T, dir string) {
			sst := newest(t, dir, "*.sst")
			for off := int64(0); off+4096 < size(t, sst); off += 5 * 4096 {
				zero(t, sst, off, 4096)
			}
		}, 0, crashKeys, true},
		"one page in the middle of a table is zero": {func(t *testing.T, dir string) { zero(t, newest(t, dir, "*.sst"), 100<<10, 4096) }, crashKeys / 2, crashKeys, true},
		"a table is missing":                        {func(t *testing.T, dir string) { must(t, os.Remove(newest(t, dir, "*.sst"))) }, 0, crashKeys, true},
		"the key registry is cut":                   {func(t *testing.T, dir string) { truncateBy(t, newest(t, dir, "KEYREGISTRY"), 5) }, 0, crashKeys, true},
		"the sums are missing":                      {func(t *testing.T, dir string) { must(t, os.Remove(newest(t, dir, "sums"))) }, 0, crashKeys, true},
		"the sums are damaged":                      {func(t *testing.T, dir string) { zero(t, newest(t, dir, "sums"), 10, 3) }, 0, crashKeys, true},
		"a generation is a file": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, valuesDir, "99"), nil, 0o600))
		}, crashKeys - 2, crashKeys, true},
		"all values are gone":   {func(t *testing.T, dir string) { must(t, os.RemoveAll(filepath.Join(dir, valuesDir))) }, 0, 0, false},
		"the marker is gone":    {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, markerFile))) }, 0, 0, false},
		"the marker is damaged": {func(t *testing.T, dir string) { zero(t, filepath.Join(dir, markerFile), 12, 4) }, 0, 0, false},
		"it died while it opened": {func(t *testing.T, dir string) {
			m, err := readMarker(dir)
			must(t, err)
			m.phase = phaseOpening
			must(t, m.write(dir))
		}, 0, 0, false},
		"the machine stopped": {func(t *testing.T, dir string) {
			m, err := readMarker(dir)
			must(t, err)
			m.boot[3] ^= 1
			must(t, m.write(dir))
		}, 0, 0, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			must(t, exec.Command("cp", "-a", "--sparse=always", full+"/.", dir).Run())
			test.damage(t, dir)
			there, part, rebuilt := reopened(t, dir)
			if there < test.least || there > test.most || part == 1 && !test.mayKeepParts {
				t.Errorf("%d values, part %d, rebuilt %d", there, part, rebuilt)
			}
			t.Logf("%d of %d values, part %d, rebuilt %d", there, crashKeys, part, rebuilt)
			if again, _, rebuilt := reopened(t, dir); again != there || rebuilt != 0 {
				t.Errorf("the second time %d of %d values, rebuilt %d", again, there, rebuilt)
			}
		})
	}
}

// Badger must not be tried twice on files that end the process: here the check
// that would have seen the damage is taken in by a list of sums made anew, as if
// Badger failed on something that nobody thought of.
func TestWhatEndsTheProcessIsNotTriedTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	killed(t, dir, childUses)
	sst := newest(t, dir, "*.sst")
	truncateBy(t, sst, size(t, sst)/2)
	g := &generation{dir: filepath.Dir(sst)}
	files, err := filepath.Glob(filepath.Join(g.dir, "*.sst"))
	must(t, err)
	for _, f := range files {
		var s sum
		_, err := fmt.Sscanf(filepath.Base(f), "%d.sst", &s.id)
		must(t, err)
		s.size = uint32(size(t, f)) // a tail of no bytes, whose checksum is 0
		g.tables = append(g.tables, s)
	}
	must(t, replace(filepath.Join(g.dir, sumsFile), g.tables.encode(), false))
	var stderr bytes.Buffer
	cmd := child(t, childReads, dir)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() == 3 || !strings.Contains(stderr.String(), "badger") {
		t.Fatalf("Badger survived: %v %s", err, stderr.String())
	}
	m, err := readMarker(dir)
	if err != nil || m.phase != phaseOpening {
		t.Fatalf("marker %+v: %v", m, err)
	}
	if there, _, rebuilt := reopened(t, dir); there != 0 || rebuilt != 1 {
		t.Errorf("%d values, rebuilt %d", there, rebuilt)
	}
}

func TestAnotherKeyOrOwner(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"owner":                  func(o *Options) { o.Owner = "you" },
		"key":                    func(o *Options) { o.Key = testKey(2) },
		"a much smaller limit":   func(o *Options) { o.Limit = minLimit - 1 },
		"a limit of nothing":     func(o *Options) { o.Limit = 0 },
		"another size of tables": func(o *Options) { o.Limit = 1 << 30 },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t.TempDir())
			c, err := Open(o)
			must(t, err)
			fill(c, 0, 10, 1000)
			makeTable(t, c)
			adopt(t, c, 1, 1000)
			must(t, c.Close())
			change(&o)
			c = start(t, o)
			there := count(t, c, 0, 10, 1000)
			kept := name == "another size of tables"
			if (there == 10) != kept || !kept && there != 0 {
				t.Errorf("%d values", there)
			}
			if c.Whole(objectName(1)) != (name != "owner" && name != "a limit of nothing") {
				t.Errorf("the object is there: %v", c.Whole(objectName(1)))
			}
			if got := du(t, o.Dir); o.Limit < minLimit && got > 64<<10 {
				t.Errorf("%d bytes are left", got)
			}
		})
	}
}

func TestTheFolderIsRemovedInUse(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cache")
	o := options(dir)
	c, err := Open(o)
	must(t, err)
	fill(c, 0, 200, 20_000)
	adopt(t, c, 1, 1000)
	must(t, os.RemoveAll(dir))
	count(t, c, 0, 200, 20_000)
	fill(c, 200, 600, 20_000)
	if there := count(t, c, 200, 600, 20_000); there < 200 {
		t.Errorf("%d values afterwards", there)
	}
	adopt(t, c, 2, 1000)
	if u := c.Usage(); u.Trouble != "" || u.Rebuilt == 0 || du(t, dir) > testLimit {
		t.Errorf("%+v", u)
	}
	must(t, c.Close())
	c = start(t, o)
	if there := count(t, c, 200, 600, 20_000); there < 200 || !c.Whole(objectName(2)) || c.Whole(objectName(1)) {
		t.Errorf("opened again: %d values", there)
	}
}

// Damage to files that are open is met by the one who reads.
func TestTablesAreDamagedInUse(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, sst string){
		"zeros": func(t *testing.T, sst string) { zero(t, sst, 0, size(t, sst)) },
		"cut":   func(t *testing.T, sst string) { must(t, os.Truncate(sst, 4096)) },
		"gone":  func(t *testing.T, sst string) { must(t, os.Remove(sst)) },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t.TempDir())
			c := start(t, o)
			fill(c, 0, 400, 20_000)
			tables, err := filepath.Glob(filepath.Join(o.Dir, valuesDir, "*", "*.sst"))
			must(t, err)
			if len(tables) < 3 {
				t.Fatal("too few tables")
			}
			for _, sst := range tables {
				damage(t, sst)
			}
			count(t, c, 0, 400, 20_000)
			c.values.flush(true)
			fill(c, 400, 420, 20_000)
			if there := count(t, c, 400, 420, 20_000); there != 20 {
				t.Errorf("%d of 20 values afterwards", there)
			}
		})
	}
}

func TestOnlyOneUser(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	c, err := Open(o)
	must(t, err)
	if _, err := Open(o); !errors.Is(err, ErrUnusable) || strings.Contains(err.Error(), o.Dir) {
		t.Errorf("a second user: %v", err)
	}
	must(t, c.Close())
	start(t, o)
}

func TestARunningCacheIsSoonOnDisk(t *testing.T) {
	t.Parallel()
	c := start(t, options(t.TempDir()))
	c.WriteObject(objectName(1), 1<<20, 0, value(1, 1000))
	end := time.Now().Add(time.Minute)
	for {
		c.values.writing.Lock()
		c.mu.Lock()
		waits := len(c.dirty)
		c.mu.Unlock()
		_, found := c.values.fresh[recordKey(objectName(1))]
		c.values.writing.Unlock()
		if waits == 0 && found {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the record of an object is not written by itself")
		}
	}
}
