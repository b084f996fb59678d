package cache

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// open opens the generations and logs that are there, sealed for the build id.
// What cannot be opened is removed.
func (v *values) open(id [16]byte) error {
	v.id, v.seal = id, v.c.o.Seal(id)
	err := os.MkdirAll(v.dir, 0o700)
	if err == nil {
		v.dir, err = filepath.EvalSymlinks(v.dir)
	}
	if err == nil {
		v.dir, err = filepath.Abs(v.dir)
	}
	if err != nil {
		return err
	}
	gens, logs, err := v.numbers()
	if err != nil {
		return err
	}
	for _, n := range gens {
		g := &generation{setup: v.setup, dir: generationDir(v.dir, n)}
		err := g.open()
		if err == nil {
			err = g.measure()
		}
		g.synced = true
		if err != nil {
			v.c.damaged(err)
			if err := g.remove(); err != nil {
				return err
			}
			continue
		}
		v.gens = append(v.gens, g)
		v.bytes.Add(g.bytes)
		v.next = max(v.next, n+1)
	}
	for _, n := range logs {
		v.next = max(v.next, n+1)
		if err := v.openLog(n); err != nil {
			return err
		}
	}
	v.trim()
	return nil
}

// openLog takes the log n. Of several, which a crash can leave, the last stays;
// what was in the others is in a table.
func (v *values) openLog(n uint64) error {
	fresh, held := map[string]entry{}, int64(0)
	l, err := openLog(v.dir, n, v.id, v.seal, 4*maxFresh, func(key string, e entry) {
		fresh[key] = e
		held += cost(key, e)
	})
	if err != nil {
		v.c.damaged(err)
		return os.Remove(logPath(v.dir, n))
	}
	if v.log != nil {
		v.bytes.Add(-v.log.bytes)
		if err := v.log.remove(); err != nil {
			return err
		}
	}
	v.log, v.fresh, v.held = l, fresh, held
	v.bytes.Add(l.bytes)
	return nil
}

// numbers lists what is in the folder, ascending. What is neither generation nor
// log is left alone.
func (v *values) numbers() (gens, logs []uint64, err error) {
	files, err := os.ReadDir(v.dir)
	for _, f := range files {
		n, err := strconv.ParseUint(f.Name(), 10, 63)
		if err == nil && f.IsDir() && generationDir("", n) == f.Name() {
			gens = append(gens, n)
		}
		if n, ok := parseLog(f.Name()); ok && f.Type().IsRegular() {
			logs = append(logs, n)
		}
	}
	slices.Sort(gens)
	slices.Sort(logs)
	return gens, logs, err
}
