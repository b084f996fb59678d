package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/store/dir"
	"github.com/hushfs/hushfs/store/probe"
)

// ground is where init makes a drive.
type ground interface {
	empty(ctx context.Context) (*remains, error) // a problem when anything of use is there
	fit(ctx context.Context, single bool) error  // a problem when a drive would not be safe there
	create(ctx context.Context, past *remains, o drive.CreateOptions) (*drive.Created, error)
}

// folder is a directory, which may not be there yet.
type folder struct{ path string }

func (f folder) empty(context.Context) (*remains, error) {
	if i, err := os.Stat(f.path); err == nil && !i.IsDir() {
		return nil, &problem{code: codeNotEmpty, what: f.path + " is not a directory", next: "Nothing was touched. Choose a new or empty directory."}
	}
	r, err := inFolder(f.path)
	if err != nil && !errors.Is(err, errDrive) && !errors.Is(err, errOccupied) {
		return nil, &problem{code: codeStore, what: "the store cannot be read", why: err, next: "Check its permissions."}
	}
	return r, notEmpty(f.path, err)
}

// fit is nil: a directory that cannot keep writers apart refuses to be opened.
func (f folder) fit(context.Context, bool) error { return nil }

func (f folder) create(ctx context.Context, past *remains, o drive.CreateOptions) (*drive.Created, error) {
	made, err := makeFolders(f.path)
	if err != nil {
		return nil, &problem{code: codeStore, what: "the store cannot be made", why: err, next: "Choose a place where you may write."}
	}
	created, err := f.createIn(ctx, past, o)
	if err != nil {
		(&mountpoint{made: made}).undo()
	}
	return created, err
}

func (f folder) createIn(ctx context.Context, past *remains, o drive.CreateOptions) (*drive.Created, error) {
	b, err := dir.Open(f.path, dir.Options{})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return drive.Create(ctx, cleared{b, past}, o)
}

// plot is a place in a bucket.
type plot struct {
	app     *app
	bucket  *bucket
	store   string
	verdict *probe.Verdict // once it was found fit
}

func (p *plot) empty(ctx context.Context) (*remains, error) {
	r, err := inBucket(ctx, p.bucket)
	if err == nil {
		// What can be no object of ours is passed over by all other listings.
		var n int
		if n, err = p.bucket.plain.Foreign(ctx); err == nil && n > 0 {
			err = fmt.Errorf("%w (%s of somebody else)", errOccupied, count(n, "object"))
		}
	}
	return r, notEmpty(p.store, err)
}

func (p *plot) fit(ctx context.Context, single bool) (err error) {
	if p.verdict, err = p.app.testBucket(ctx, p.bucket); err != nil {
		return err
	}
	return unfit(p.verdict, single)
}

// create makes the drive and keeps the verdict in its state folder.
func (p *plot) create(ctx context.Context, past *remains, o drive.CreateOptions) (*drive.Created, error) {
	state := ""
	inner := o.StateDir
	o.StateDir = func(id drive.ID) (path string, err error) {
		state, err = inner(id)
		return state, err
	}
	created, err := drive.Create(ctx, cleared{p.bucket, past}, o)
	if err != nil {
		return nil, err
	}
	err = keepVerdict(state, p.bucket.place, p.verdict)
	if err == nil && o.SingleWriter {
		err = noteSingle(state)
	}
	if err != nil {
		p.app.warn("what was found out about the store is not kept, and is tested again by the first mount: %v", err)
	}
	return created, nil
}
