package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/dir"
	"github.com/hushfs/hushfs/store/probe"
)

// store looks at the way to STORE, and at what lies there.
func (e *examination) store(ctx context.Context) {
	e.begin("Store")
	if e.at == nil {
		e.ok("store", "not looked at: no STORE was given")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, e.flags.timeout)
	defer cancel()
	good := false
	if e.at.remote() {
		good = e.server(ctx)
	} else {
		err := e.patiently(ctx, statTimeout, func(e *examination) { good = e.directory() })
		if err != nil {
			e.problem("store-folder", "the store's folder "+e.at.Store+" does not answer", "The drive lies there", "Look what is mounted there: findmnt -T "+shellQuote(e.at.Store))
			return
		}
	}
	if !good {
		return
	}
	if err := e.patiently(ctx, e.flags.timeout, func(e *examination) { e.content(ctx) }); err != nil {
		e.problem("store-list", "the store did not answer within "+e.flags.timeout.String(), "Mounting would take longer, or not end", "Look at the disk or the network of the store; try with a longer --timeout.")
	}
}

// directory looks at a store in a directory.
func (e *examination) directory() bool {
	const check, why = "store-folder", "The drive lies there"
	at := e.at.Store
	var st unix.Stat_t
	var fs unix.Statfs_t
	err := unix.Stat(at, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = dir.ErrNotDir
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		e.refused(check, fmt.Errorf("%s: %w", at, dir.ErrMissing), why)
		return false
	case err != nil:
		e.refused(check, fmt.Errorf("%s: %w", at, err), why)
		return false
	}
	if err := unix.Statfs(at, &fs); err != nil {
		e.problem(check, "the disk of "+at+" cannot be looked at: "+err.Error(), why, "Look what is mounted there: findmnt -T "+shellQuote(at))
		return false
	}
	free := int64(fs.Bavail) * fs.Bsize
	kind := fileSystem(at)
	switch {
	case unix.Faccessat(unix.AT_FDCWD, at, unix.R_OK|unix.X_OK, unix.AT_EACCESS) != nil:
		e.problem(check, "you may not read "+at, why, "Check its owner and mode.")
		return false
	case fs.Flags&unix.ST_RDONLY != 0:
		e.warn(check, fmt.Sprintf("%s is on a disk that is mounted read-only (%s)", at, kind), "Nothing can be sent there", "Mount that disk read-write, or the drive with --read-only.")
	case unix.Faccessat(unix.AT_FDCWD, at, unix.W_OK|unix.X_OK, unix.AT_EACCESS) != nil:
		e.problem(check, "you may not write to "+at, "Nothing can be sent there", "Check its owner and mode, or mount with --read-only.")
	case free < volume.LeastCache:
		e.warn(check, fmt.Sprintf("the disk of the store is full (%s on %s, %s free)", at, kind, size(free)), "Nothing more can be sent there", "Make room in the store; delete nothing of the drive by hand.")
	default:
		e.ok(check, "%s on %s, %s free", at, kind, size(free))
	}
	return true
}

// content looks for the drive.
func (e *examination) content(ctx context.Context) {
	b, err := e.app.openStore(ctx, *e.at, true, nil)
	if err != nil {
		e.refused("store-list", err, "A mount begins with a listing of the store")
		return
	}
	defer b.Close()
	e.ok("store-list", "the store can be listed")
	states := ""
	if e.placed {
		states = e.where.state
	}
	ids, err := drive.Peek(ctx, b, states)
	if err == nil && len(ids) == 0 {
		err = drive.ErrNoDrive
	}
	if err != nil {
		e.refused("store-drive", err, "There is nothing to mount")
		return
	}
	e.header(ctx, b, ids)
	if e.at.remote() {
		e.tested(ctx, b, ids[0])
	}
	if e.flags.writeTest {
		e.write(ctx)
	} else {
		e.ok("store-write", "whether you may write was not tried; --write-test does")
	}
}

// header looks at the newest header that can be read: the format, and what the
// passphrase costs.
func (e *examination) header(ctx context.Context, b store.Bucket, ids []drive.ID) {
	page, err := b.List(ctx, keyslot.Prefix, "", keyslot.MaxSlots)
	if err != nil {
		e.refused("store-header", err, "It is the way in")
		return
	}
	var newest *keyslot.Header
	unread := 0
	for _, o := range page {
		raw, err := b.Get(ctx, o.Name, 0, keyslot.MaxSize+1)
		if err != nil {
			if errors.Is(err, store.ErrDenied) {
				e.refused("store-get", err, "Listing is permitted, reading is not")
				return
			}
			unread++
			continue
		}
		h, err := keyslot.DecodeObject(o.Name, raw)
		if err != nil {
			unread++
			continue
		}
		if newest == nil {
			newest = h
		}
	}
	if newest == nil {
		e.warn("store-header", "no header of the drive can be read; this machine has a copy of its own", "New machines cannot open the drive", "See \"An object in the store is damaged or missing\" in docs/operations.md.")
		return
	}
	if unread > 0 {
		e.warn("store-header", fmt.Sprintf("%s of the drive cannot be read, %d can", count(unread, "header"), len(page)-unread), "The newest one decides who has a way in", "See \"An object in the store is damaged or missing\" in docs/operations.md.")
	}
	passphrases, others := 0, 0
	for _, s := range newest.Slots {
		p, ok := s.Params()
		if !ok {
			others++
			continue
		}
		passphrases++
		e.kdf = max(e.kdf, uint64(p.MemoryKiB)<<10)
	}
	e.ok("store-drive", "drive %s, format %s, opened by %s and %s; objects can be read", ids[0].Short(), format, count(passphrases, "passphrase"), count(others, "other way"))
	if len(ids) > 1 {
		e.warn("store-drives", fmt.Sprintf("headers of %d drives lie there", len(ids)), "Somebody may have put one there to mislead you", "Mount with --drive ID, from your recovery sheet.")
	}
}

// tested tells what a test of the server has shown earlier.
func (e *examination) tested(ctx context.Context, b opened, id drive.ID) {
	remote, ok := b.(*bucket)
	if !ok || !e.placed {
		return
	}
	dir := filepath.Join(e.where.state, id.Short())
	v := readVerdict(dir, remote.place)
	if e.flags.reprobe {
		var err error
		if v, err = e.app.testBucket(ctx, remote); err != nil {
			e.refused("store-probe", err, "How it treats writers that race for a name is not known")
			return
		}
		if err := keepVerdict(dir, remote.place, v); err != nil && !errors.Is(err, os.ErrNotExist) { // no mount from here yet
			e.warn("store-probe-kept", "what was found out about the server is not kept: "+err.Error(), "The next mount that may write tests it again", "Check owner and mode of the state folder.")
		}
	}
	switch {
	case v == nil:
		e.ok("store-probe", "this machine has not tested yet how the server treats writers that race for a name; the next mount that may write does")
	case v.Good(), v.Single() && knownSingle(dir):
		e.ok("store-probe", "%s", probeText(probed(v)))
	default:
		e.problem("store-probe", probeText(probed(v)), "A mount that may write is refused; the next one tests again", "Use another server, or a newer version of this one; to look: hushfs mount --read-only STORE DIR")
	}
	if remote.plain.WholeForParts() {
		e.warn("store-ranges", wholeForParts, "Each read costs a whole pack", "Look for a proxy that drops the header Range.")
	}
}

// write puts an object, puts another one at its name, which must be refused, reads
// and deletes it.
func (e *examination) write(ctx context.Context) {
	b, closed, err := e.openToWrite(ctx)
	if err != nil {
		e.refused("store-write", err, "Nothing can be sent")
		return
	}
	defer closed()
	var id [16]byte
	rand.Read(id[:])
	name := probe.DefaultPrefix + "doctor-" + hex.EncodeToString(id[:])
	text := []byte("hushfs doctor was here, and may be removed\n")
	if err := b.PutIfAbsent(ctx, name, text); err != nil {
		e.refused("store-write", err, "Nothing can be sent")
		return
	}
	switch err := b.PutIfAbsent(ctx, name, append(text, text...)); {
	case errors.Is(err, store.ErrExist):
		e.ok("store-write", "you may write, and a name that is taken is refused")
	case err == nil:
		e.problem("store-write", "a put to a taken name was accepted", "Work would be lost if several machines wrote", "Use another server, or a newer version of this one; for one machine alone: hushfs init --single-writer STORE")
	default:
		e.refused("store-write", err, "Two machines could not be kept apart")
	}
	if got, err := b.Get(ctx, name, 0, int64(len(text))); err != nil {
		e.refused("store-read", err, "What was written is not read back")
	} else if !bytes.Equal(got, text) {
		e.problem("store-read", "the store shows other bytes than it was given", "Nothing there can be relied on", "Use another server.")
	}
	// Also when the time is over or somebody interrupts: nothing is to stay.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := b.Delete(last, name); err != nil {
		p := explain("", err)
		e.warn("store-delete", "the object cannot be deleted: "+err.Error(), "A drive works without; what the test of a server leaves stays, and now an object of 43 bytes below "+probe.DefaultPrefix, p.next)
		return
	}
	e.ok("store-delete", "you may delete")
}

// openToWrite opens the store without a wrapper that tries again: each answer
// counts.
func (e *examination) openToWrite(ctx context.Context) (b store.Bucket, closed func(), err error) {
	if e.at.remote() {
		remote, err := openBucket(ctx, *e.at, e.app.env, false, nil)
		if err != nil {
			return nil, nil, err
		}
		return remote.plain, func() { remote.Close() }, nil
	}
	local, err := dir.Open(e.at.Store, dir.Options{})
	if err != nil {
		return nil, nil, err
	}
	return local, func() {
		local.Close()
		_ = os.Remove(filepath.Join(e.at.Store, filepath.FromSlash(probe.DefaultPrefix))) // empty, if nobody else uses it
	}, nil
}
