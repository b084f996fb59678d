package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/story"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// do does a deed, and says whether it could be begun.
func (h *era) do(d story.Deed) bool {
	switch {
	case d.Who == "store" && d.Does == "is remembered":
		h.old = h.objects.Clone()
		return true
	case d.Who == "store":
		return h.older()
	}
	i := slices.IndexFunc(h.all, func(c *citizen) bool { return c.name == d.Who })
	if i < 0 {
		return false
	}
	c := h.all[i]
	switch d.Does {
	case "is off line":
		h.tally.Outages++
		c.part()
		return true
	case "cannot send":
		if !c.parted {
			h.tally.Outages++
			c.parted = true
			c.line.Add(fault.On(fault.Put, 0, fault.Fail(store.ErrUnavailable)))
		}
		return true
	case "is on line":
		c.reach()
		return true
	}
	if err := c.mount(); err != nil {
		if !c.parted {
			h.fail("%s does not mount: %v", c.name, err)
		}
		return false
	}
	if _, no, _ := c.v.state.Device(); no > 0 {
		c.number = int(no)
	}
	switch d.Does {
	case "is killed":
		h.tally.Kills++
		c.dies()
	case "is locked":
		c.handles = nil
		_ = c.shut(50 * time.Millisecond)
	case "publishes":
		c.publish(d)
		c.unchanged()
	case "follows":
		ctx, cancel := c.patience()
		defer cancel()
		_ = c.v.sync.CatchUp(ctx)
		c.unchanged()
	case "folds", "trims":
		return c.tidies(d.Does)
	case "days pass":
		sleeps(time.Duration(1+d.N%17)*day, h.machines()...)
	case "removes the device":
		return c.removes(d)
	default:
		c.change(d)
	}
	if c.v != nil {
		for _, r := range c.v.state.Remembered() {
			c.saw[r.ID] = true
		}
	}
	return true
}

func (h *era) machines() (l []*machine) {
	for _, c := range h.all {
		l = append(l, c.machine)
	}
	return l
}

// mount opens a machine that is locked. One that was removed joins anew, and where the
// store was set back that is accepted, by this machine or by who joins.
func (c *citizen) mount() error {
	if c.v != nil {
		return nil
	}
	err := c.open()
	var s *Setback
	if c.h.setBack && errors.As(err, &s) {
		err = c.goesOn()
	}
	if c.removed && errors.Is(err, publish.ErrRemoved) {
		if _, err = c.rejoining(true); err != nil {
			c.dies() // it is the removed one until the store knows another
			return err
		}
		if err = c.open(); err != nil {
			return err
		}
		if err = c.v.sync.CatchUp(c.t.Context()); err != nil {
			return err
		}
		c.removed, c.number = false, 0
		c.h.forgive(c, c.machine)
	}
	return err
}

// forgive lets go of what a machine was told and no other machine can know of.
func (h *era) forgive(of *citizen, as *machine) {
	there := map[string]bool{}
	for _, f := range as.files(h.known) {
		there[f.content] = true
	}
	for content, who := range h.owed {
		if who == of.name && !there[content] {
			delete(h.owed, content)
		}
	}
	for piece, who := range h.pieces {
		if who == of.name && !slices.ContainsFunc(slices.Collect(maps.Keys(there)), func(content string) bool { return strings.Contains(content, piece) }) {
			delete(h.pieces, piece)
		}
	}
}

func (c *citizen) dies() {
	c.handles = nil
	c.crash()
}

func (c *citizen) part() {
	c.parted = true
	for _, op := range []fault.Op{fault.Put, fault.Get, fault.List} {
		c.line.Add(fault.On(op, 0, fault.Fail(store.ErrUnavailable)))
	}
}

func (c *citizen) reach() {
	c.parted = false
	c.line.Clear()
}

// patience is for how long one waits for the store.
func (c *citizen) patience() (context.Context, context.CancelFunc) {
	if c.parted {
		return context.WithTimeout(c.t.Context(), 100*time.Millisecond)
	}
	return context.WithTimeout(c.t.Context(), time.Hour)
}

// removes removes the device that another machine is.
func (c *citizen) removes(d story.Deed) bool {
	h := c.h
	i := slices.IndexFunc(h.all, func(o *citizen) bool { return o.name == d.To })
	if i < 0 || h.all[i] == c || h.all[i].removed || h.all[i].number == 0 || c.removed || c.parted {
		return false
	}
	o := h.all[i]
	if err := c.v.writable(c.t.Context()); err != nil {
		h.fail("%s cannot write: %v", c.name, err)
	}
	if err := c.v.sync.CatchUp(c.t.Context()); err != nil {
		h.fail("%s does not follow: %v", c.name, err)
	}
	if _, known := c.removedDevice(o.number); known {
		return false
	}
	if err := c.v.RemoveDevices(c.t.Context(), []int{o.number}); err != nil {
		h.fail("%s does not remove device %d: %v", c.name, o.number, err)
	}
	h.tally.Removals++
	o.removed, h.uncounted = true, true
	for ref, l := range h.leased {
		if l.by == o {
			delete(h.leased, ref)
		}
	}
	h.forgive(o, c.machine)
	if d.N%2 == 0 {
		o.dies()
	}
	return true
}

// tidies folds, or trims, what there is.
func (c *citizen) tidies(how string) bool {
	if _, no, _ := c.v.state.Device(); no == 0 || c.parted || c.removed {
		return false // it never wrote, or may not
	}
	err := drained(c.machine)
	if err == nil && how == "folds" {
		c.h.tally.Folds++
		err = folded(c.machine)
	} else if err == nil {
		c.h.tally.Trims++
		if c.h.old != nil {
			c.h.contents("judge of what is trimmed")
		}
		err = trimmed(-1)(c.machine)
	}
	if err != nil {
		c.h.fail("%s %s: %v", c.name, how, err)
	}
	return true
}

// publish sends what waits; a fault may come between.
func (c *citizen) publish(d story.Deed) {
	h := c.h
	switch {
	case d.To == "" || c.parted:
	case d.To == "the answer is lost":
		c.line.Add(fault.On(fault.Put, 1, fault.Twice).Prefix(strings.TrimSuffix(h.prefix("l"), "/")))
	case d.To == "a read fails":
		c.line.Add(fault.On(fault.Get, 1+int(d.N%3), fault.Fail(store.ErrUnavailable)))
	default: // killed between
		c.deathAt.Store(d.To)
	}
	_ = c.mayDie(c.send)
	c.deathAt.Store("")
	if !c.parted {
		c.line.Clear()
	}
	if c.v != nil && !c.removed {
		if stopped, _ := c.v.sync.Trouble(); stopped != "" {
			h.fail("%s has stopped: %s", c.name, stopped)
		}
	}
}

// send publishes, but does not wait long for a store that is away.
func (c *citizen) send() error {
	ctx, cancel := c.patience()
	defer cancel()
	if err := c.v.pinOld(ctx, 0); err != nil {
		return err
	}
	return c.v.sync.Publish(ctx)
}

// killed is where a machine died.
type killed string

// mayDie calls fn, in which the machine may be killed.
func (c *citizen) mayDie(fn func() error) (err error) {
	defer func() {
		switch at := recover().(type) {
		case nil:
		case killed:
			c.h.tally.Kills++
			err = fmt.Errorf("killed at %s", string(at))
			c.deathAt.Store("")
			c.dies()
		default:
			panic(at)
		}
	}()
	return fn()
}

// confirmed calls fn, which waits until what it does is in the store, and publishes
// meanwhile.
func (c *citizen) confirmed(fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	for {
		time.Sleep(10 * time.Millisecond)
		select {
		case err := <-done:
			return err
		default:
			_ = c.send()
		}
	}
}

// unchanged finds what the machine has leased as it was when its programs last looked.
func (c *citizen) unchanged() {
	if c.v == nil || c.removed {
		return
	}
	for ref, l := range c.h.leased {
		if l.by != c {
			continue
		}
		a, err := c.v.Attr(c.t.Context(), ref)
		if err == nil {
			var b []byte
			if b, err = c.content(a); err == nil && string(b) != l.content {
				c.h.fail("%s has leased a file of %.40q, and reads %.40q", c.name, l.content, b)
			}
		}
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			c.h.fail("%s has leased a file of %.40q: %v", c.name, l.content, err)
		}
	}
}

// looks notes what the machine's own programs made of what it has leased.
func (c *citizen) looks() {
	for ref, l := range c.h.leased {
		if l.by != c {
			continue
		}
		a, err := c.v.Attr(c.t.Context(), ref)
		var b []byte
		if err == nil {
			b, err = c.content(a)
		}
		l.content = string(b)
		if err != nil || a.Inode.Nlink == 0 { // they removed it, and may have it open still
			delete(c.h.leased, ref)
		}
	}
}

// counts counts one further in the file that is for that, if it can be locked now.
func (c *citizen) counts() error {
	_, _, a, err := c.find(counter)
	if err != nil || c.parted || c.removed {
		return err
	}
	v := c.v
	at, err := v.Open(c.t.Context(), a.Ref, true)
	if err != nil {
		return err
	}
	defer v.Release(at)
	if !v.Following(at) {
		return nil
	}
	err = c.confirmed(func(ctx context.Context) error { return v.LockFile(ctx, at, LockWish{Mode: meta.LockExclusive}) })
	if err != nil {
		return err
	}
	b := make([]byte, 6)
	if _, err := v.Read(c.t.Context(), at, 0, b); err != nil {
		c.h.fail("%s cannot read what it has locked: %v", c.name, err)
	}
	n, err := strconv.Atoi(string(b))
	if err != nil || n != c.h.counted && !c.h.uncounted {
		c.h.fail("%s counts from %q, not %d", c.name, b, c.h.counted)
	}
	if err := errors.Join(v.Write(c.t.Context(), at, 0, fmt.Appendf(nil, "%06d", n+1)), v.Fsync(c.t.Context(), at)); err != nil {
		c.h.fail("%s cannot write what it has locked: %v", c.name, err)
	}
	c.h.tally.Counts++
	c.h.counted = n + 1
	v.UnlockFile(at, unneeded)
	return nil
}
