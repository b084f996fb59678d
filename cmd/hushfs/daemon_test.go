package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/mem"
	"github.com/hushfs/hushfs/store/s3"
)

func TestParcel(t *testing.T) {
	for name, secret := range map[string][]byte{
		"no secret": {}, "a secret": []byte("key"), "the largest": make([]byte, maxParcel),
	} {
		var b bytes.Buffer
		in := daemonConfig{location: location{Store: "s3://b/p", S3: s3Flags{Profile: "x", Style: styleFlag(s3.StyleHost)}}, DrainTimeout: time.Hour, Sockets: []string{"a", "b"}}
		if err := sendParcel(&b, in, secret); err != nil {
			t.Fatal(err)
		}
		var out daemonConfig
		got, err := receiveParcel(&b, &out)
		if err != nil || !bytes.Equal(got, secret) || out.location != in.location || out.DrainTimeout != in.DrainTimeout {
			t.Errorf("%s: %+v, %d bytes, %v", name, out, len(got), err)
		}
	}
	if err := sendParcel(io.Discard, 1, make([]byte, maxParcel+1)); err == nil {
		t.Error("a secret that is too large was sent")
	}
	for name, raw := range map[string]string{
		"nothing": "", "half a length": "\x00\x00", "half a text": "\x00\x00\x00\x05{", "too long a text": "\xff\xff\xff\xff{}", "no JSON": "\x00\x00\x00\x01x",
	} {
		if _, err := receiveParcel(strings.NewReader(raw), &daemonConfig{}); err == nil {
			t.Errorf("%s was received", name)
		}
	}
}

func TestSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow(mem.New(), time.Minute, "")
		start := time.Now()
		if err := b.PutIfAbsent(t.Context(), "a", nil); err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if _, err := b.Get(t.Context(), "a", 0, -1); err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.PutIfAbsent(ctx, "b", nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute+time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if _, err := b.Get(t.Context(), "b", 0, -1); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("put although it was cancelled: %v", err)
		}
	})
	if b := mem.New(); slow(b, 0, "") != store.Bucket(b) {
		t.Error("wrapped without a delay")
	}
}

func TestHeldStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := filepath.Join(t.TempDir(), "held")
		if err := os.WriteFile(held, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		m := mem.New()
		b := slow(m, 0, held)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.PutIfAbsent(ctx, "a", nil); !errors.Is(err, context.DeadlineExceeded) || len(m.Names()) > 0 {
			t.Errorf("put while it is held: %v, %q", err, m.Names())
		}
		put := make(chan error, 1)
		go func() { put <- b.PutIfAbsent(t.Context(), "b", nil) }()
		time.Sleep(time.Minute)
		if names := m.Names(); len(names) > 0 {
			t.Errorf("%q while it is held", names)
		}
		if err := os.Remove(held); err != nil {
			t.Fatal(err)
		}
		if err := <-put; err != nil || !slices.Equal(m.Names(), []string{"b"}) {
			t.Errorf("%v, %q", err, m.Names())
		}
	})
}

// envStep makes TestFailpointKills's child walk through steps.
const envStep = "HUSHFS_TEST_WALK"

func TestFailpointKills(t *testing.T) {
	if os.Getenv(envStep) != "" {
		step, err := newSteps(os.Getenv)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b", "a", "c", "a"} {
			step(name)
			os.Stdout.WriteString(name)
		}
		return
	}
	m := newMachine(t)
	for point, want := range map[string]string{"a": "", "a:1": "", "a:2": "ab", "b": "a", "c": "aba", "a:3": "abac"} {
		c := m.command("-test.run=^TestFailpointKills$")
		c.Env = []string{envStep + "=1", envFailpoint + "=" + point, envSteps + "=" + m.path("steps")}
		var out bytes.Buffer
		c.Stdout = &out
		err := c.Run()
		status, ok := c.ProcessState.Sys().(syscall.WaitStatus)
		if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL || out.String() != want {
			t.Errorf("%s: %v, %q, want %q", point, err, out.String(), want)
		}
	}
	b, err := os.ReadFile(m.path("steps"))
	if err != nil || strings.Count(string(b), "a\n") != 1 || strings.Count(string(b), "c\n") != 1 || len(b) != 6 {
		t.Errorf("%q %v", b, err)
	}
}

func TestFailpointNames(t *testing.T) {
	for text, ok := range map[string]bool{"": true, "a.b": true, "a.b:3": true, "a:0": false, "a:": false, ":1": false, "a:x": false, "a:-1": false} {
		step, err := newSteps(func(k string) string { return map[string]string{envFailpoint: text}[k] })
		if (err == nil) != ok || (step == nil) != (text == "" || !ok) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLogRotates(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, logName)
	if err := os.WriteFile(path, make([]byte, maxLog-1), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := openLog(dir)
	if err != nil || l.size != maxLog-1 {
		t.Fatalf("%v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, maxLog), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err = openLog(dir); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Write([]byte("line\n")); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(path)
	if err != nil || string(now) != "line\n" {
		t.Errorf("%d bytes, %v", len(now), err)
	}
	if i, err := os.Stat(path + ".1"); err != nil || i.Size() != maxLog {
		t.Errorf("%v %v", i, err)
	}
}

func TestStatusText(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 3, 7, 0, time.Local)
	base := control.Status{PID: 7, Mountpoint: "/d", Store: "/s", Phase: control.Mounted, Since: now.Add(-time.Hour)}
	for name, test := range map[string]struct {
		change func(*control.Status)
		says   []string
	}{
		"nothing waits, set back": {func(s *control.Status) { s.Volume.Stored, s.Volume.Stopped = true, "the store is missing commits" }, []string{"No change waits", "Nothing more is sent: the store is missing commits"}},
		"all stored":              {func(s *control.Status) { s.Volume.Stored = true }, []string{"All changes are in the store (12:03:07)", "mounted since 2026-01-02 11:03:07, pid 7"}},
		"some wait": {func(s *control.Status) {
			s.Volume = volume.Status{PendingOps: 1, PendingBytes: 1024, OldestPending: now.Add(-90 * time.Second)}
		},
			[]string{"1 change (1.0 KiB) waits, the oldest since 2026-01-02 12:01:37 (2m)"}},
		"draining": {func(s *control.Status) { s.Phase, s.DrainUntil = control.Draining, now.Add(time.Hour) }, []string{"unmounted, sending for at most another 1h0m"}},
		"detached": {func(s *control.Status) { s.Phase = control.Detached }, []string{"programs still have files open"}},
		"off line": {func(s *control.Status) { s.Volume.Offline = "no answer" }, []string{"cannot be reached: no answer"}},
		"full": {func(s *control.Status) {
			s.Volume.NotTaken, s.Volume.NotTakenNext = "the store is full", "make room in the store"
		}, []string{"Nothing more is sent: the store is full.", "What to do: make room in the store."}},
		"stopped": {func(s *control.Status) { s.Volume.Stopped = "lost a slot" }, []string{"Nothing more is sent: lost a slot"}},
		"damaged": {func(s *control.Status) { s.Volume.Damaged, s.Volume.Warnings = []string{"v0/p/x"}, []string{"look"} },
			[]string{"1 object", "    v0/p/x", "Warning: look"}},
		"read-only": {func(s *control.Status) { s.Volume.ReadOnly = true }, []string{"mounted read-only"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := base
			test.change(&s)
			got := statusText(s, now)
			for _, want := range test.says {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
		})
	}
}

func TestHowAnUmountEnds(t *testing.T) {
	live := context.Background()
	over, cancel := context.WithCancel(live)
	cancel()
	s := control.Status{PID: 7, Mountpoint: "/d", State: t.TempDir(), Volume: volume.Status{PendingOps: 2}}
	for was, says := range map[string]string{
		"older":     leftBehind(volume.Status{ReadOnly: true, Older: true}),
		"read-only": leftBehind(volume.Status{ReadOnly: true}),
	} {
		if strings.Contains(says, "Everything is in the store") || says == "" {
			t.Errorf("of a mount that was %s it says %q", was, says)
		}
	}
	for name, test := range map[string]struct {
		ctx, wait context.Context
		result    control.Result
		err       error
		code      code
		says      string
	}{
		"all is in the store": {live, live, control.Result{Stored: true}, nil, codeOK, "Locked. Everything is in the store."},
		"not all is":          {live, live, control.Result{Message: "2 left"}, nil, codeUndrained, "2 left"},
		"interrupted":         {over, over, control.Result{}, context.Canceled, codeUndrained, "2 changes wait"},
		"time over":           {live, over, control.Result{}, context.Canceled, codeTimeout, "2 changes wait"},
		"the daemon died":     {live, live, control.Result{}, control.ErrNoDaemon, codeUndrained, "died"},
	} {
		t.Run(name, func(t *testing.T) {
			a, said := quiet(t)
			p := explain("", a.concluded(test.ctx, test.wait, s, test.result, test.err))
			if p == nil {
				p = &problem{what: said()}
			}
			if p.code != test.code || !strings.Contains(p.text()+".", test.says) {
				t.Errorf("%d %q", p.code, p.text())
			}
		})
	}
}

func TestLastWords(t *testing.T) {
	state := t.TempDir()
	s := control.Status{PID: 7, State: state}
	l, err := takeLock(state, holder{PID: 7, Result: &control.Result{Stored: true}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	if r, err := lastWords(t.Context(), s, control.ErrNoDaemon); err != nil || !r.Stored {
		t.Errorf("%+v %v", r, err)
	}
	s.PID = 8 // the words are of another daemon
	if _, err := lastWords(t.Context(), s, control.ErrNoDaemon); !errors.Is(err, control.ErrNoDaemon) {
		t.Errorf("%v", err)
	}
}
