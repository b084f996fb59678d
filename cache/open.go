package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockFile   = "lock"
	valuesDir  = "values"
	objectsDir = "objects"
)

// Open opens the cache in o.Dir and starts one goroutine, which Close ends.
//
// What is wrong with the content costs content: values are thrown away, and
// objects of which it is then unknown which bytes are there; everything, when it
// is another owner's. The error is ErrUnusable when there cannot be a cache in
// o.Dir; Off serves instead.
func Open(o Options) (*Cache, error) { return openOn(host(), o) }

func openOn(sys system, o Options) (*Cache, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Floor = min(max(o.Floor, 0), 1<<60)
	c := &Cache{o: o, sys: sys, objects: newObjects(filepath.Join(o.Dir, objectsDir))}
	if err := c.begin(); err != nil {
		if c.lock != nil {
			_ = c.lock.Close()
		}
		return nil, fmt.Errorf("%w: %s", ErrUnusable, describe(err))
	}
	return c, nil
}

func (c *Cache) begin() (err error) {
	if len(c.o.Key) != 32 && c.o.Limit > 0 {
		return errKey // with none at all Badger would encrypt nothing
	}
	if err := os.MkdirAll(c.o.Dir, 0o700); err != nil {
		return err
	}
	if c.lock, err = lockDir(c.o.Dir); err != nil {
		return err
	}
	boot := c.sys.boot()
	last, err := readMarker(c.o.Dir)
	now := newMarker(c.o.Owner, boot)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = c.wipe(c.remains(), "no marker", valuesDir, objectsDir)
	case errors.Is(err, fs.ErrPermission):
	case err != nil:
		err = c.wipe(true, "marker damaged", valuesDir, objectsDir)
	case last.owner != now.owner:
		err = c.wipe(true, "of another owner", valuesDir, objectsDir)
	case c.o.Limit <= 0:
	case last.phase == phaseOpening:
		err = c.wipe(true, "did not open", valuesDir)
	case last.phase == phaseOpen && (last.boot != boot || boot == [16]byte{}):
		err = c.wipe(true, "the machine stopped", valuesDir)
	default:
		now.id = last.id
	}
	if err != nil {
		return err
	}
	if c.o.Limit <= 0 {
		c.closed.Store(true)
		err := errors.Join(c.wipe(false, "", valuesDir, objectsDir), os.RemoveAll(filepath.Join(c.o.Dir, markerFile)), c.lock.Close())
		c.lock = nil
		return err
	}
	return c.fill(now)
}

// fill opens what is left.
func (c *Cache) fill(now marker) error {
	c.mark = now
	err := c.mark.write(c.o.Dir)
	if full(err) { // the cache may be what fills the disk
		err = errors.Join(c.wipe(true, "the disk is full", valuesDir, objectsDir), c.mark.write(c.o.Dir))
	}
	if err != nil {
		return err
	}
	c.step(stepOpening)
	if geo, ok := plan(c.o.Limit); ok {
		c.values = newValues(c, geo)
		err = c.values.open(c.mark.id)
	} else {
		c.report(ofValues, errSmall)
		err = c.wipe(false, "", valuesDir)
	}
	if err == nil {
		err = c.scan()
	}
	if err == nil {
		c.step(stepOpened)
		c.mark.phase = phaseOpen
		err = c.mark.write(c.o.Dir)
	}
	if err != nil {
		if c.values != nil {
			_ = c.values.shut()
		}
		return err
	}
	if c.values != nil {
		go c.values.run()
	}
	c.Shrink()
	return nil
}

func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// lockPatience is how long a lock is waited for.
const lockPatience = 2 * time.Second

// lockDir makes this process the only user of a folder. The lock goes with the
// process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	// Who left a moment ago may have a child that has not begun its own program yet,
	// and with it a copy of the lock.
	for end := time.Now().Add(lockPatience); errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(end); {
		time.Sleep(lockPatience / 100)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		_ = f.Close()
		return nil, errLocked
	}
	return f, nil
}

// remains tells whether there is something though there is no marker.
func (c *Cache) remains() bool {
	_, err := os.Lstat(filepath.Join(c.o.Dir, valuesDir))
	_, err2 := os.Lstat(filepath.Join(c.o.Dir, objectsDir))
	return err == nil || err2 == nil
}

// wipe removes parts of the cache. loss is whether that is worth saying.
func (c *Cache) wipe(loss bool, why string, parts ...string) (err error) {
	if loss {
		c.rebuilt.Add(1)
		c.o.Log.Warn("cache thrown away", "why", why)
	}
	for _, p := range parts {
		err = errors.Join(err, os.RemoveAll(filepath.Join(c.o.Dir, p)))
	}
	return err
}

// restore makes the folder again that somebody removed.
func (c *Cache) restore() {
	c.damaged(fs.ErrNotExist)
	err := os.MkdirAll(c.values.dir, 0o700)
	if err == nil {
		err = c.mark.write(c.o.Dir)
	}
	c.report(ofValues, err)
}
