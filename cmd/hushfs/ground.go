package main

import (
	"context"

	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/store/dir"
	"github.com/hushfs/hushfs/store/probe"
)

// ground is where init makes a drive.
type ground interface {
	empty(ctx context.Context) error // a problem when anything is there
	fit(ctx context.Context) error   // a problem when a drive would not be safe there
	create(ctx context.Context, o drive.CreateOptions) (*drive.Created, error)
}

// folder is a directory, which may not be there yet.
type folder struct{ path string }

func (f folder) empty(context.Context) error { return emptyPlace(f.path) }

// fit is nil: a directory that cannot keep writers apart refuses to be opened.
func (f folder) fit(context.Context) error { return nil }

func (f folder) create(ctx context.Context, o drive.CreateOptions) (*drive.Created, error) {
	made, err := makeFolders(f.path)
	if err != nil {
		return nil, &problem{code: codeStore, what: "the store cannot be made", why: err, next: "Choose a place where you may write."}
	}
	created, err := f.createIn(ctx, o)
	if err != nil {
		(&mountpoint{made: made}).undo()
	}
	return created, err
}

func (f folder) createIn(ctx context.Context, o drive.CreateOptions) (*drive.Created, error) {
	b, err := dir.Open(f.path, dir.Options{})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return drive.Create(ctx, b, o)
}

// plot is a place in a bucket.
type plot struct {
	app     *app
	bucket  *bucket
	store   string
	verdict *probe.Verdict // once it was found fit
}

func (p *plot) empty(ctx context.Context) error { return emptyBucket(ctx, p.bucket, p.store) }

func (p *plot) fit(ctx context.Context) (err error) {
	p.verdict, err = p.app.testBucket(ctx, p.bucket)
	return err
}

// create makes the drive and keeps the verdict in its state folder.
func (p *plot) create(ctx context.Context, o drive.CreateOptions) (*drive.Created, error) {
	state := ""
	inner := o.StateDir
	o.StateDir = func(id drive.ID) (path string, err error) {
		state, err = inner(id)
		return state, err
	}
	created, err := drive.Create(ctx, swept{p.bucket}, o)
	if err != nil {
		return nil, err
	}
	if err := keepVerdict(state, p.bucket, p.verdict); err != nil {
		p.app.warn("what was found out about the store is not kept, and is tested again by the first mount: %v", err)
	}
	return created, nil
}
