package cache

import "golang.org/x/sys/unix"

// slack is what is not counted file by file: the small files of the cache
// itself, and what a file system adds to files and folders as they grow.
func slack(limit int64) int64 { return 128<<10 + limit/256 }

// total is what counts against the limit, the spare of values included. c.mu is
// held.
func (c *Cache) total() int64 {
	n := c.sum + c.folders + c.stuck + c.left.Load() + slack(c.o.Limit)
	if c.values != nil {
		n += c.values.bytes.Load() + c.values.geo.spare
	}
	if c.o.Others != nil {
		n += max(c.o.Others(), 0)
	}
	return n
}

// makeRoom evicts until n more bytes fit under the limit, of which the disk has
// to find fresh ones; not the object keep. The floor and the spare of values stay
// free. The error says what there is no room in. c.mu is held.
//
// What is evicted is taken to be free at once, though a file system may show it
// later.
func (c *Cache) makeRoom(n, fresh int64, keep *object) error {
	if n > c.o.Limit {
		return errRoom
	}
	over, low := c.total()+n-c.o.Limit, int64(0)
	if c.o.Floor > 0 || fresh > 0 {
		low = fresh - c.sys.free(c.o.Dir)
		if c.values != nil && fresh > 0 {
			low += c.values.geo.spare
		}
		low += c.o.Floor
	}
	for over > 0 || low > 0 {
		freed := c.evictOne(keep)
		if freed < 0 && low > c.o.Floor {
			return unix.ENOSPC
		} else if freed < 0 && low > 0 {
			return floorError(c.o.Floor)
		} else if freed < 0 {
			return errRoom
		}
		over -= freed
		low -= freed
	}
	return nil
}

// evictOne removes what was used the longest time ago, objects first, and tells
// how many bytes that gives back; less than 0 when there is nothing, or the disk
// does not let it go.
func (c *Cache) evictOne(keep *object) int64 {
	if e := c.order.Back(); e != nil && e.Value.(*object) != keep {
		o := e.Value.(*object)
		c.step(stepEvict)
		if !c.release(o) {
			return -1
		}
		return o.bytes
	}
	if c.values != nil {
		if freed := c.values.dropOldest(); freed > 0 {
			return freed
		}
	}
	return -1
}

// roomForValues is makeRoom for what Badger is about to write.
func (c *Cache) roomForValues(n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.makeRoom(n, n, nil)
}

// Shrink evicts to the limit and the floor. It is called when what Others counts
// has grown, and is cheap when there is nothing to do.
func (c *Cache) Shrink() {
	if c.closed.Load() {
		return
	}
	c.mu.Lock()
	err := c.makeRoom(0, 0, nil)
	c.mu.Unlock()
	if err != nil && c.values != nil {
		c.values.giveUp()
	}
}

// report says what became of a write.
func (c *Cache) report(of int, err error) {
	if c.state.set(of, err) {
		c.o.Log.Warn("the cache keeps less", "why", c.state.String())
	}
}

// damaged counts and logs that something had to be thrown away.
func (c *Cache) damaged(err error) {
	c.rebuilt.Add(1)
	c.o.Log.Warn("cached values thrown away", "why", describe(err))
}
