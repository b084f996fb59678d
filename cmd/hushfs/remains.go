package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/dir"
	"github.com/hushfs/hushfs/store/probe"
)

// remains are what is of no use in a place where a drive is to be made: what a
// test of the store could not remove, and what an init that was interrupted has
// left. An init writes a ledger, a hint and the first commit before the header
// that makes a drive of them, so without a header, and without anything that
// came after that commit, they are nobody's data.
//
// They are passed over and stay: another init may be at work there at this
// moment, and they are its.
type remains struct {
	volumes map[string]bool // prefixes of the volumes that were begun
	objects int
}

// mostRemains is how many objects are looked at. Who is interrupted so often
// does better to tidy up.
const mostRemains = 100

var (
	// errDrive: a drive lies in the place already.
	errDrive = errors.New("a drive lies there")

	// errOccupied: something else does.
	errOccupied = errors.New("something lies there")
)

// add takes an object to the remains, or says what else it is.
func (r *remains) add(name string) error {
	if strings.HasPrefix(name, probe.DefaultPrefix) {
		return nil
	}
	parts := strings.Split(name, "/")
	if len(parts) > 1 && parts[0] == "v0" && parts[1] == "h" {
		return errDrive
	}
	if len(parts) < 4 || parts[0] != "v0" || parts[1] != "s" {
		return errOccupied
	}
	v, err := crypt.ParseVolumeID(parts[2])
	if err != nil {
		return errOccupied
	}
	slot, isSlot := chain.ParseSlotName(v, name)
	hint, isHint := chain.ParseHintName(v, name)
	_, isLedger := chain.ParseLedgerName(v, name)
	if !(isSlot && slot == 1 || isHint && hint <= 1 || isLedger) {
		return errOccupied
	}
	if r.volumes == nil {
		r.volumes = map[string]bool{}
	}
	r.volumes[chain.VolumePrefix(v)] = true
	if r.objects++; r.objects > mostRemains {
		return errOccupied
	}
	return nil
}

// hide reports whether an object is one of them.
func (r *remains) hide(name string) bool {
	if strings.HasPrefix(name, probe.DefaultPrefix) {
		return true
	}
	// "v0/s/", the volume and '/'.
	if parts := strings.SplitAfterN(name, "/", 4); len(parts) == 4 {
		return r.volumes[parts[0]+parts[1]+parts[2]]
	}
	return false
}

// inBucket finds what lies in b. The header is looked for first: it has the
// last word.
func inBucket(ctx context.Context, b store.Bucket) (*remains, error) {
	r := &remains{}
	for _, prefix := range []string{"v0/h/", ""} {
		for after := ""; ; {
			page, err := b.List(ctx, prefix, after, 0)
			if err != nil {
				return nil, err
			}
			for _, o := range page {
				if err := r.add(o.Name); err != nil {
					return nil, err
				}
				after = o.Name
			}
			if len(page) < store.DefaultList {
				break
			}
		}
	}
	return r, nil
}

// inFolder finds what lies in a directory, also what is no object's name. One
// that does not exist is empty.
func inFolder(path string) (*remains, error) {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &remains{}, nil
	case err != nil:
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() != "v0" && e.Name() != dir.TempFolder {
			return nil, fmt.Errorf("%w (%s)", errOccupied, entriesIn(len(entries)))
		}
	}
	r := &remains{}
	top := filepath.Join(path, "v0")
	err = filepath.WalkDir(top, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(path, file)
		if err != nil {
			return err
		}
		if err := r.add(filepath.ToSlash(name)); err != nil {
			return err
		}
		return nil
	})
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return r, err
}

// cleared is a bucket without its remains: they would pass for somebody's data.
type cleared struct {
	store.Bucket
	remains *remains
}

func (c cleared) List(ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
	if limit <= 0 {
		limit = store.DefaultList
	}
	var infos []store.Info
	for {
		page, err := c.Bucket.List(ctx, prefix, after, 0)
		if err != nil {
			return nil, err
		}
		for _, o := range page {
			after = o.Name
			if c.remains.hide(o.Name) {
				continue
			}
			if infos = append(infos, o); len(infos) == limit {
				return infos, nil
			}
		}
		if len(page) < store.DefaultList {
			return infos, nil
		}
	}
}

// notEmpty is the problem with a place where err was found, nil when it is none.
func notEmpty(at string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errDrive):
		return &problem{code: codeNotEmpty, what: at + " is not empty: a drive lies there",
			next: "Nothing was touched. To mount it: hushfs mount STORE DIR. For another drive choose another place. " +
				"If its init was interrupted before you had the recovery words, remove what lies there and run init again"}
	case errors.Is(err, errOccupied):
		detail := strings.TrimPrefix(err.Error(), errOccupied.Error())
		return &problem{code: codeNotEmpty, what: at + " is not empty" + detail,
			next: "Nothing was touched. Choose a new or empty place; to mount a drive that lies there: hushfs mount STORE DIR"}
	}
	return explain("the store cannot be read", err)
}
