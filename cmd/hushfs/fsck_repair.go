package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/volume"
)

// confirmRepair asks before anything is changed.
func (a *app) confirmRepair(ctx context.Context, o fsckFlags, r *check.Report) error {
	if o.yes {
		return nil
	}
	t, err := a.openTerminal()
	if err != nil {
		return &problem{code: codeUsage, what: "nothing was repaired: the answer to a question is needed", why: err, next: "To repair without being asked: --yes"}
	}
	defer t.Close()
	if n := r.SavedFiles(); n > 0 {
		t.printf("\n%d files or folders will move to lost+found, and what is lost of them becomes zeros.\n", n)
	}
	t.printf("If a copy of the store has the objects that are named above, bring them back first:\nafter a repair they are of no use any more.\n")
	answer, err := t.line(ctx, "To repair the drive, type repair: ")
	if err != nil {
		return err
	}
	if strings.TrimSpace(answer) != "repair" {
		return &problem{code: codeDamaged, what: "nothing was repaired"}
	}
	return nil
}

// repair mends what was found, as this machine.
func (a *app) repair(ctx context.Context, at location, state, cache string, handover []byte, r *check.Report) (done *check.Repaired, err error) {
	log := a.asideLog()
	u, err := drive.FromHandover(handover)
	if err != nil {
		return nil, err
	}
	defer u.Wipe()
	why, err := a.mayWrite(ctx, u, daemonConfig{location: at, State: state, Cache: cache, DeviceName: deviceName()})
	if err != nil {
		return nil, err
	}
	if why != "" {
		return nil, &problem{code: codeStore, what: "nothing was repaired", why: errors.New(why)}
	}
	b, err := a.openStore(ctx, at, false, log)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	header, err := check.RepairHeader(ctx, b, u, r)
	if err != nil {
		return nil, explain("nothing was repaired", err)
	}
	if !r.NeedsVolume() {
		return &check.Repaired{Header: header, Saved: []string{}, Skipped: []string{}}, nil
	}
	if r.FromCommits() {
		if err := volume.Distrust(state); err != nil {
			return nil, explain("nothing was repaired", err)
		}
	}
	v, err := volume.Open(ctx, volume.Options{
		Bucket: b, Drive: u, State: state, Cache: cache, CacheSize: -1, DeviceName: deviceName(),
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Log: log, Writer: writer(u),
	})
	if err != nil {
		return nil, explain("nothing was repaired", err)
	}
	running, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := v.Run(running); err != nil && running.Err() == nil {
			log.Error("work in the background has stopped", "err", err)
		}
	}()
	done, err = mended(ctx, v, r)
	// What was done so far is to reach the store also when the rest failed; after an
	// interruption it stays in the journal.
	patience, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	serr := v.Shutdown(patience)
	stop()
	<-ended
	if err != nil {
		p := explain("not everything was repaired", err)
		if errors.Is(err, check.ErrBlind) {
			p = &problem{code: codeDamaged, what: "nothing was repaired", why: check.ErrBlind}
		}
		return done, p
	}
	if serr != nil {
		return done, explain("the repair is not in the store", serr)
	}
	done.Header = header
	return done, nil
}

func mended(ctx context.Context, v *volume.Volume, r *check.Report) (*check.Repaired, error) {
	if why := v.Status().Stopped; why != "" {
		next := "Bring the objects that were named back from a copy of the store first."
		if r.Forked() {
			next = "Settle first which history goes on: hushfs heads STORE"
		}
		return nil, &problem{code: codeDamaged, what: "nothing was repaired", why: fmt.Errorf("nothing can be written to the drive: %s", why), next: next}
	}
	return check.Repair(ctx, v, r, uint32(os.Getuid()), uint32(os.Getgid()))
}
