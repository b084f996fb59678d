package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/volume"
)

// handoverFlags of hushfs handover.
type handoverFlags struct {
	secret  secretFlags
	s3      s3Flags
	request bool
	file    string        // with the request of the next writer
	timeout time.Duration // for the drain of an earlier mount
}

// handoverResult is what it prints with --json.
type handoverResult struct {
	Drive   string `json:"drive"`
	Request string `json:"request,omitempty"` // of this machine, with --request
	Writer  int    `json:"writer,omitempty"`  // the device that alone writes now
}

// handoverCommand hands a drive of a single writer on to another device.
func (a *app) handoverCommand() *cobra.Command {
	var o handoverFlags
	c := &cobra.Command{
		Use:   "handover [flags] STORE [NAME|NUMBER|REQUEST]",
		Short: "Hand a drive of a single writer on to another machine",
		Long: `Make another machine the one that can change a drive that was made with
init --single-writer. It is for the machine that can do so now, with the drive
unmounted: what waits is sent first, then a signed commit says who is the writer
from there on. This machine mounts the drive read-only afterwards; the other one
can write from its next mount on. It can be handed back in the same way.

A machine that wrote to the drive before is named by its device name or number.
Another one asks to become a device: on it,

  hushfs handover --request STORE

prints one line. It holds no secret and may travel by any way; type it on the
writer, or put it into a file that --request-file names. Nobody can make such a
line without having unlocked the drive.`,
		Example: `  hushfs handover --request s3://bucket/home > desktop.txt      on the next writer
  hushfs handover --request-file desktop.txt s3://bucket/home   on the writer
  hushfs handover s3://bucket/home laptop                       and back, later`,
		Args: cobra.RangeArgs(1, 2),
	}
	f := c.Flags()
	o.secret.registerUnlock(f, "")
	o.s3.register(f)
	f.BoolVar(&o.request, "request", false, "print the line by which this machine asks to become the writer")
	f.StringVar(&o.file, "request-file", "", "the line of the next writer is in `FILE` (- is standard input)")
	f.DurationVar(&o.timeout, "timeout", 0, "wait at most this `DURATION`, as 90s, for an earlier mount that still sends (default: as long as it takes)")
	return a.command(c, func(ctx context.Context, args []string) error { return a.handOver(ctx, o, args) })
}

func (o *handoverFlags) check(args []string) error {
	switch {
	case o.request && (len(args) > 1 || o.file != ""):
		return usage("--request is said on the machine that asks, which names nobody")
	case !o.request && len(args) > 1 == (o.file != ""):
		return usage("who is to write: a device, or the line that hushfs handover --request printed there")
	case o.timeout < 0:
		return usage("--timeout is negative")
	case o.file == "-" && (o.secret.Recovery == "-" || o.secret.File == "-"):
		return usage("standard input holds one thing")
	}
	return o.secret.check()
}

func (a *app) handOver(ctx context.Context, o handoverFlags, args []string) error {
	at, err := locate(args[0], o.s3)
	if err != nil {
		return err
	}
	if err := o.check(args); err != nil {
		return err
	}
	target, err := o.target(args, a.stdin)
	if err != nil {
		return err
	}
	if err := harden(); err != nil {
		return err
	}
	where, err := findPlaces(a.env)
	if err != nil {
		return err
	}
	const failed = "the drive was not handed on"
	id, err := a.peek(ctx, at, where.state)
	if err != nil {
		return explain(failed, err)
	}
	dir, err := where.stateDir(id)
	if err != nil {
		return err
	}
	held, err := a.lockDrive(ctx, dir, "handover", o.timeout)
	if err != nil {
		return explain("lock the drive's state", err)
	}
	defer held.release()
	got, secret, err := a.unlockInChild(ctx, unlockRequest{location: at, Secret: o.secret})
	if err != nil {
		return err
	}
	defer wipe(secret)
	if got != id {
		return explain(failed, drive.ErrOther)
	}
	u, err := drive.FromHandover(secret)
	if err != nil {
		return explain("take over the unlocked drive", err)
	}
	defer u.Wipe()
	if _, single := u.Writer(); !single {
		return &problem{code: codeUsage, what: "this drive has no single writer", why: errors.New("any machine that unlocks it may write to it"),
			next: "There is nothing to hand on."}
	}
	if o.request {
		return a.askForWriting(u, dir)
	}
	heir, err := heirOf(u, target)
	if err != nil {
		return err
	}
	no, err := a.giveWriting(ctx, at, daemonConfig{location: at, State: dir, Cache: where.cacheDir(id), DeviceName: deviceName()}, u, heir)
	if err != nil {
		return explain(failed, err)
	}
	if a.json {
		a.print(handoverResult{Drive: u.ID.String(), Writer: int(no)})
		return nil
	}
	a.say("Device %d can change the drive now, from its next mount on. This machine shows it read-only.", no)
	return nil
}

// target is who is to write, as the command line or a file has it.
func (o *handoverFlags) target(args []string, stdin io.Reader) (string, error) {
	switch {
	case o.request:
		return "", nil
	case o.file == "":
		return args[1], nil
	}
	from := stdin
	if o.file != "-" {
		f, err := os.Open(o.file)
		if err != nil {
			return "", &problem{code: codeUsage, what: "the request cannot be read", why: err}
		}
		defer f.Close()
		from = f
	}
	b, err := io.ReadAll(io.LimitReader(from, state.MaxRequest+1))
	if err != nil {
		return "", &problem{code: codeUsage, what: "the request cannot be read", why: err}
	}
	if text := string(b); state.IsRequest(text) {
		return text, nil
	}
	return "", usage("--request-file: there is no request in it; it is the line that hushfs handover --request prints")
}

// askForWriting prints the request of this machine.
func (a *app) askForWriting(u *drive.Unlocked, dir string) error {
	if err := noteSingle(dir); err != nil {
		return explain("write to the state folder", err)
	}
	st, _, err := state.Open(dir, u.Root(), u.ID, deviceName(), u.Previous()...)
	if err != nil {
		return explain("no request was made", fmt.Errorf("%w: %w", volume.ErrState, err))
	}
	defer st.Wipe()
	text, err := st.Request()
	switch {
	case errors.Is(err, state.ErrEnrolled):
		_, no, name := st.Device()
		return &problem{code: codeUsage, what: "no request was made", why: fmt.Errorf("this machine is device %d (%s) of the drive already", no, name),
			next: fmt.Sprintf("On the writer: hushfs handover STORE %d", no)}
	case err != nil:
		return explain("no request was made", fmt.Errorf("%w: %w", volume.ErrState, err))
	}
	if a.json {
		a.print(handoverResult{Drive: u.ID.String(), Request: text})
		return nil
	}
	a.say("%s", text)
	return nil
}

// heirOf says who target is: a request, a device's number, or its name.
func heirOf(u *drive.Unlocked, target string) (publish.Heir, error) {
	if state.IsRequest(target) {
		key, name, err := state.ParseRequest(u.Root(), u.ID, target)
		if err != nil {
			return publish.Heir{}, &problem{code: codeUsage, what: "the drive was not handed on", why: err,
				next: "Compare the line with what hushfs handover --request printed there; it must be of this drive."}
		}
		return publish.Heir{Key: key, Name: name}, nil
	}
	if no, err := strconv.ParseUint(target, 10, 16); err == nil && no > 0 {
		return publish.Heir{No: meta.Device(no)}, nil
	}
	return publish.Heir{Name: strings.TrimSpace(target)}, nil
}

// giveWriting sends what waits here and hands the writing on.
func (a *app) giveWriting(ctx context.Context, at location, c daemonConfig, u *drive.Unlocked, heir publish.Heir) (no meta.Device, err error) {
	log := a.asideLog()
	b, err := a.openStore(ctx, at, false, log)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	v, err := volume.Open(ctx, volume.Options{
		Bucket: b, Drive: u, State: c.State, Cache: c.Cache, CacheSize: -1, DeviceName: c.DeviceName,
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Log: log, Writer: writer(u),
	})
	var not *volume.NotWriter
	if errors.As(err, &not) {
		return 0, &problem{code: codeState, what: "the drive was not handed on", why: err, next: "Run this on the machine that writes to the drive."}
	}
	if err != nil {
		return 0, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := v.Run(running); err != nil && running.Err() == nil {
			log.Error("work in the background has stopped", "err", err)
		}
	}()
	no, err = v.HandOver(ctx, heir)
	serr := v.Shutdown(ctx)
	stop()
	<-ended
	if err != nil {
		// What could not be sent stays in the journal, and this machine the writer.
		return 0, err
	}
	if serr != nil {
		a.warn("the drive was handed on, and this machine's part of it was not closed as it should: %v", serr)
	}
	return no, nil
}
