package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Children of TestEveryByteFlipped: one makes a cache in the folder, another does
// damage to copies of it: see runFlips.
const (
	childMakesFew = "HUSHFS_TEST_CACHE_MAKES_FEW"
	childFlips    = "HUSHFS_TEST_CACHE_FLIPS"
)

// What a cache of few values has, so that every byte of it can be tried: a small table,
// one that is longer than the end of which check has a sum, and some in the log.
var flipValues = []struct{ n, size int }{{8, 500}, {45, 4000}, {6, 700}}

// flipTables is how many of the values are in tables, flipLog how many in the log.
const flipTables, flipLog = 53, 6

// makeFew makes such a cache and waits to be killed.
func makeFew(dir string) {
	c, err := Open(options(dir))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(2)
	}
	c.WriteObject(objectName(1), 1<<20, 500_000, value(1, 1000))
	at := 0
	for i, v := range flipValues {
		fill(c, at, at+v.n, v.size)
		at += v.n
		if i == len(flipValues)-1 {
			break
		}
		c.values.writing.Lock()
		err := c.values.turn()
		c.values.writing.Unlock()
		if err != nil {
			fmt.Println("error", err)
			os.Exit(2)
		}
	}
	fmt.Println("full")
	select {}
}

// found is what one look at a damaged cache finds: of the tables and of the log.
type found struct{ tables, log int }

// look opens a cache of makeFew, and wants each value right or absent, and that it works.
func look(dir string) (f found, err error) {
	c, err := Open(options(dir))
	if err != nil {
		return f, err
	}
	at := 0
	for i, v := range flipValues {
		for k := at; k < at+v.n; k++ {
			b, err := c.Get(key(k))
			switch {
			case errors.Is(err, ErrAbsent):
			case err != nil:
				return f, fmt.Errorf("value %d: %w", k, err)
			case !bytes.Equal(b, value(k, v.size)):
				return f, fmt.Errorf("value %d is wrong", k)
			case i < len(flipValues)-1:
				f.tables++
			default:
				f.log++
			}
		}
		at += v.n
	}
	b, err := c.ReadObject(objectName(1), 500_000, 1000)
	if err == nil && !bytes.Equal(b, value(1, 1000)) {
		return f, errors.New("a part of an object is wrong")
	}
	fill(c, at, at+1, 1000)
	if b, err := c.Get(key(at)); err != nil || !bytes.Equal(b, value(at, 1000)) {
		return f, fmt.Errorf("it does not keep another: %v", err)
	}
	return f, c.Close()
}

// flip is one damage: which bits of which byte.
type flip struct {
	at   int64
	mask byte
}

// flipped makes a copy of full in dir, with one byte of a file changed.
func flipped(full, dir, file string, f flip) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(full)); err != nil {
		return err
	}
	path := filepath.Join(dir, file)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[f.at] ^= f.mask
	return os.WriteFile(path, b, 0o600)
}

// flips are the damages to a file of size bytes: one bit, and all of them, of each
// stride-th byte; and all of at least each third at the end, where a short table has
// the lengths on which Badger would end the process.
func flips(size int64, stride int64) (out []flip) {
	end := size - 384
	for at := int64(0); at < size; {
		if at < end || stride == 1 {
			out = append(out, flip{at, 1 << (at % 8)})
		}
		out = append(out, flip{at, 0xff})
		if at < end {
			at = min(at+stride, end)
		} else {
			at += min(stride, 3)
		}
	}
	return out
}

// runFlips does the flips of a file from the given one on, and says before each which it
// is and afterwards what was there: what ends the process is the last that it said.
func runFlips(what string) {
	part := strings.Split(what, "\n")
	full, dir, file := part[0], part[1], part[2]
	var from int
	var stride int64
	_, err := fmt.Sscan(part[3], &from, &stride)
	var i fs.FileInfo
	if err == nil {
		i, err = os.Stat(filepath.Join(full, file))
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(2)
	}
	for n, f := range flips(i.Size(), stride)[from:] {
		fmt.Println("at", from+n)
		err := flipped(full, dir, file, f)
		for range 2 { // what the first left behind, the second finds
			var got found
			if err == nil {
				got, err = look(dir)
			}
			if err != nil {
				fmt.Println("wrong", err)
				os.Exit(3)
			}
			fmt.Println("found", got.tables, got.log)
		}
	}
}

// Of a cache that was killed in use any byte that a program or a disk changed costs
// values, all of them at worst: none is ever wrong, and no damage ends the process that
// opens it, which would be a drive unmounted. HUSHFS_FLIPS=all tries each byte.
func TestEveryByteFlipped(t *testing.T) {
	t.Parallel()
	full, whole := t.TempDir(), filepath.Join(t.TempDir(), "cache")
	killed(t, full, childMakesFew)
	must(t, os.CopyFS(whole, os.DirFS(full)))
	if got, err := look(whole); err != nil || got != (found{flipTables, flipLog}) {
		t.Fatalf("not damaged it has %+v: %v", got, err)
	}
	files, err := filepath.Glob(filepath.Join(full, valuesDir, "*", "*"))
	must(t, err)
	for _, path := range append(files, theLog(t, full), filepath.Join(full, markerFile)) {
		file, err := filepath.Rel(full, path)
		must(t, err)
		stride := int64(1)
		if os.Getenv("HUSHFS_FLIPS") != "all" {
			stride = size(t, path)/16 | 1
		}
		// What is damaged takes nothing else with it, but for the marker.
		least := found{log: flipLog}
		switch path {
		case theLog(t, full):
			least = found{tables: flipTables}
		case filepath.Join(full, markerFile):
			least = found{}
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			most := tryFlips(t, full, file, stride, least)
			if size(t, path) > maxBlock && most.tables == 0 {
				t.Error("a table is lost whole, whichever byte of it is damaged")
			}
		})
	}
}

// tryFlips has children do all flips of a file, another one when one was ended. It tells
// the most that was found after any.
func tryFlips(t *testing.T, full, file string, stride int64, least found) (most found) {
	path, dir := filepath.Join(full, file), filepath.Join(t.TempDir(), "cache")
	all := flips(size(t, path), stride)
	for from := 0; from < len(all); {
		cmd := child(t, childFlips, strings.Join([]string{full, dir, file, fmt.Sprint(from, stride)}, "\n"))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		last := from
		for line := range strings.Lines(string(out)) {
			if _, err := fmt.Sscanf(line, "at %d", &last); err == nil {
				continue
			}
			var got found
			if _, err := fmt.Sscanf(line, "found %d %d", &got.tables, &got.log); err != nil || got.tables < least.tables || got.log < least.log {
				t.Errorf("byte %d ^ %x: %s", all[last].at, all[last].mask, line)
			}
			most = found{max(most.tables, got.tables), max(most.log, got.log)}
		}
		if err != nil {
			t.Errorf("byte %d ^ %x of %d: %v\n%.2000s", all[last].at, all[last].mask, size(t, path), err, stderr.String())
		}
		from = last + 1
	}
	t.Logf("%d damages, at most %+v", len(all), most)
	return most
}
