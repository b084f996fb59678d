package volume

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/story"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// change does what a program may do.
func (c *citizen) change(d story.Deed) {
	h := c.h
	h.tally.Operations++
	// Its first change makes a machine a device, and it meets what others did.
	ctx, cancel := c.patience()
	defer cancel()
	if c.v.writable(ctx) != nil {
		return
	}
	w := &work{citizen: c, d: d, files: c.files(h.known)}
	h.made++
	w.content = fmt.Sprintf("%s wrote %d", c.name, h.made)
	if d.Does == "saves the same" {
		w.content = fmt.Sprint(alike, d.N%3)
	} else if d.N%8 == 0 {
		w.content += strings.Repeat(fmt.Sprintf(" and %d", h.made), 90_000)
	}
	err := w.do()
	for _, bad := range []error{meta.ErrConflict, meta.ErrMalformed} {
		if errors.Is(err, bad) && !errors.Is(err, meta.ErrLeased) {
			h.fail("%s %s: %v", c.name, d.Does, err)
		}
	}
	c.files(h.known)
	switch d.Does {
	case "leases", "leases the folder", "takes the lease", "gives the lease back", "counts": // it followed, and wrote in nothing leased
		c.unchanged()
	}
	c.looks()
}

// work is one call, or a few, of a program.
type work struct {
	*citizen
	d       story.Deed
	files   []seenFile // before it
	content string     // that it writes
}

func (w *work) at(path string) (content string) {
	for _, f := range w.files {
		if f.path == path {
			return f.content
		}
	}
	return ""
}

// promised notes a content that an fsync acknowledged, in the place of another.
func (w *work) promised(content, before string) {
	w.h.gone(before, w.name)
	if content == "" || strings.HasPrefix(content, alike) {
		return
	}
	w.h.tally.Promises++
	w.h.owe(content, w.citizen)
}

func (w *work) do() (err error) {
	ctx, h, d := w.t.Context(), w.h, w.d
	before := w.at(d.At)
	_, _, a, missing := w.find(d.At)
	switch d.Does {
	case "saves", "saves the same":
		for i, r := range d.At {
			if r == '/' {
				err = errors.Join(err, mkdir(d.At[:i])(w.machine))
			}
		}
		if err == nil {
			err = write(d.At, w.content)(w.machine)
		}
		if err == nil {
			h.gone(before, w.name)
			if err = fsync(d.At)(w.machine); err == nil {
				w.promised(w.content, before)
			}
		}
		return err
	case "replaces": // as editors save
		if err = write(d.At+"~", w.content)(w.machine); err != nil {
			return err
		}
		if err = fsync(d.At + "~")(w.machine); err == nil {
			w.promised(w.content, w.at(d.At+"~"))
		}
		if err = errors.Join(err, rename(d.At+"~", d.At)(w.machine)); err == nil {
			h.gone(before, w.name)
		}
		return err
	case "counts":
		if err = w.counts(); errors.Is(err, ErrLocked) || errors.Is(err, ErrNoLock) {
			err = nil
		}
		return err
	case "writes what is open", "closes":
		return w.open()
	case "takes the name", "gives the name back":
		return w.takes()
	}
	if missing != nil {
		return nil
	}
	switch d.Does {
	case "appends":
		more := fmt.Sprintf(" (%s appended %d)", w.name, h.made)
		w.makes(before+more, before, more)
		return w.write(a.Ref, before, before+more, func() error { return w.v.Write(ctx, a.Ref, a.Inode.Size, []byte(more)) })
	case "truncates":
		size := d.N % (a.Inode.Size + 1)
		if a.Inode.Kind != meta.File || size > uint64(len(before)) {
			return nil
		}
		w.makes(before[:size], before, "")
		return w.write(a.Ref, before, before[:size], func() error { return w.v.Truncate(ctx, a.Ref, size, nil) })
	case "removes":
		if err = unlink(d.At)(w.machine); err == nil {
			h.gone(before, w.name)
		}
	case "removes the folder":
		if a.Inode.Kind == meta.Dir {
			err = w.clear(d.At, a.Ref)
		}
	case "renames", "moves":
		if err = rename(d.At, d.To)(w.machine); err == nil && d.At != d.To {
			h.gone(w.at(d.To), w.name)
		}
	case "exchanges", "links":
		return w.twoNames(a)
	case "sets the mode":
		err = w.v.Setattr(ctx, a.Ref, meta.Setattr{Valid: meta.SetPerm, Perm: uint16(d.N % 0o1000)})
	case "sets an attribute":
		err = w.v.SetXattr(ctx, a.Ref, []byte("user.x"), []byte{'a' + byte(d.N%5)}, 0)
	case "opens":
		if a.Inode.Kind != meta.File || len(w.handles) == 3 {
			return nil
		}
		h.tally.Handles++
		var as meta.Ref
		if as, err = w.v.Open(ctx, a.Ref, true); err == nil {
			w.handles = append(w.handles, as)
		}
	default:
		return w.lease(a)
	}
	return err
}

// write changes a file, and is sure of it.
func (w *work) write(ref meta.Ref, before, after string, change func() error) error {
	if before == "" {
		return nil // empty, or it is not known
	}
	if err := change(); err != nil {
		return err
	}
	w.h.gone(before, w.name)
	if err := w.v.Fsync(w.t.Context(), ref); err != nil {
		return err
	}
	w.knows(ref, after)
	if after != before {
		w.promised(after, before)
	}
	return nil
}

// knows notes what the machine's programs made of a file that it may be unable to read.
func (w *work) knows(ref meta.Ref, content string) {
	if a, err := w.v.Attr(w.t.Context(), ref); err == nil {
		w.h.known[a.Inode.Version] = content
	}
}

// clear removes what lies in a folder, and the folder.
func (w *work) clear(path string, dir meta.Ref) error {
	list, err := w.v.List(w.t.Context(), dir)
	for _, e := range list {
		p := path + "/" + string(e.Name)
		if e.Kind == meta.Dir {
			err = errors.Join(err, w.clear(p, e.Ref))
			continue
		}
		uerr := w.v.Unlink(w.t.Context(), dir, e.Name)
		if uerr == nil {
			w.h.gone(w.at(p), w.name)
		}
		err = errors.Join(err, uerr)
	}
	if err != nil {
		return err
	}
	parent, name, _, err := w.find(path)
	if err != nil {
		return err
	}
	return w.v.Rmdir(w.t.Context(), parent, name)
}

// takes takes a name that only one machine can have, or gives it back.
func (w *work) takes() error {
	h, at := w.h, w.d.At
	dir, name, _, err := w.find(at)
	if w.parted || w.removed || dir == meta.RootRef {
		return nil
	}
	if w.d.Does == "gives the name back" {
		if h.taken[at] != w.citizen || err != nil {
			return err
		}
		delete(h.taken, at)
		return w.v.Unlink(w.t.Context(), dir, name)
	}
	if err == nil {
		return nil // it sees that somebody has it
	}
	made, err := w.v.Make(w.t.Context(), dir, name, Node{Kind: meta.File, Perm: 0o600, Sure: true}, false)
	if err != nil {
		return err
	}
	err = w.confirmed(func(ctx context.Context) error { return w.v.ConfirmName(ctx, made.Given) })
	switch {
	case err == nil && h.taken[at] != nil:
		h.fail("%s is told that it has taken %s, which %s has", w.name, at, h.taken[at].name)
	case err == nil:
		h.tally.Taken++
		h.taken[at] = w.citizen
	case errors.Is(err, publish.ErrFaster):
		h.tally.Refused++
		err = nil
	}
	return err
}

// twoNames exchanges what two names stand for, or makes a further name.
func (w *work) twoNames(a Attr) error {
	from, name, _, err := w.find(w.d.At)
	if err != nil {
		return err
	}
	to, as, _, err := w.find(w.d.To)
	switch {
	case w.d.Does == "exchanges" && err == nil:
		return w.v.Rename(w.t.Context(), from, name, to, as, meta.Exchange)
	case w.d.Does == "links" && errors.Is(err, meta.ErrNotExist) && as != nil && a.Inode.Kind == meta.File:
		_, err = w.v.Link(w.t.Context(), a.Ref, to, as)
		return err
	}
	return nil
}

// open does something with the file that the program has had open for longest.
func (w *work) open() error {
	if len(w.handles) == 0 {
		return nil
	}
	ctx := w.t.Context()
	as := w.handles[0]
	if w.d.Does == "closes" {
		w.v.Release(as)
		w.handles = w.handles[1:]
		return nil
	}
	a, err := w.v.Attr(ctx, as)
	if err != nil {
		return nil
	}
	// It shows what it was, and what this machine's programs made of it since.
	before := make([]byte, a.Inode.Size)
	if _, err := w.v.Read(ctx, as, 0, before); err != nil {
		return nil
	}
	if err = w.v.Truncate(ctx, as, 0, nil); err == nil {
		err = w.v.Write(ctx, as, 0, []byte(w.content))
	}
	if err != nil {
		return err
	}
	w.h.gone(string(before), w.name)
	if err := w.v.Fsync(ctx, as); err != nil {
		return err
	}
	w.knows(as, w.content)
	if a, err := w.v.Attr(ctx, as); err == nil && a.Inode.Nlink > 0 {
		w.promised(w.content, "")
	}
	return nil
}

// lease takes a lease, or gives it back.
func (w *work) lease(a Attr) error {
	h := w.h
	if w.parted || w.removed {
		return nil
	}
	var from uint64
	switch w.d.Does {
	case "gives the lease back":
		if l := h.leased[a.Ref]; l != nil && l.by == w.citizen {
			delete(h.leased, a.Ref)
		}
		err := w.confirmed(func(ctx context.Context) error { return w.v.GiveBack(ctx, a.Ref) })
		if errors.Is(err, meta.ErrNoAttr) {
			err = nil
		}
		return err
	case "takes the lease":
		l, err := w.v.LeaseOf(w.t.Context(), a.Ref)
		if err != nil || l.This || l.Inode != uint64(a.Ref.Ino) {
			return nil
		}
		if from, err = strconv.ParseUint(l.Number, 16, 64); err != nil {
			return err
		}
		delete(h.leased, a.Ref)
	case "leases", "leases the folder":
	default:
		h.fail("no deed is called %q", w.d.Does)
	}
	err := w.confirmed(func(ctx context.Context) error { return w.v.Lease(ctx, a.Ref, from) })
	if err != nil {
		if errors.Is(err, meta.ErrLeased) || errors.Is(err, meta.ErrExist) || errors.Is(err, meta.ErrNotExist) {
			return nil
		}
		return err
	}
	h.tally.Leases++
	now, err := w.v.Attr(w.t.Context(), a.Ref)
	if err == nil && now.Inode.Kind == meta.File && now.Inode.Nlink > 0 {
		var b []byte
		if b, err = w.citizen.content(now); err == nil {
			h.leased[a.Ref] = &leasedFile{w.citizen, string(b)}
		}
	}
	return err
}
