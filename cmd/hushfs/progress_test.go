package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/volume"
)

// A bar is never wider than the terminal: a line that wraps is not taken away again.
// Where there is no room for all, why nothing moves is said before how much waits.
func TestProgressFitsTheTerminal(t *testing.T) {
	for _, c := range []struct {
		width uint16
		words string
	}{{60, "the store cannot be"}, {80, "the store cannot be reached: connection refused"}, {200, "12 changes, 3 files (1.2 MiB) wait (the store cannot be reached: connection refused)"}} {
		master, slave := openPTY(t)
		if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: c.width}); err != nil {
			t.Fatal(err)
		}
		screen := shownOn(master)
		synctest.Test(t, func(*testing.T) {
			a := &app{stderr: slave}
			bar := a.newProgress()
			for left := int64(12); left > 0; left-- {
				bar.show(volume.Status{PendingOps: int(left), PendingFiles: 3, PendingBytes: left * 105_000, Offline: "connection refused"})
				time.Sleep(10 * time.Millisecond)
			}
			bar.end()
		})
		text := screen(slave)
		if !strings.Contains(text, c.words) {
			t.Errorf("%d columns: %q is missing in %q", c.width, c.words, text)
		}
		for line := range strings.SplitSeq(text, "\r") {
			if n := utf8.RuneCountInString(strings.TrimRight(line, " \n")); n > int(c.width) {
				t.Errorf("%d columns, and a line of %d: %q", c.width, n, line)
			}
		}
	}
}

// shownOn reads a terminal, beside the virtual time of a test. What it returns ends that,
// by the terminal's other side, and says what was on the screen.
func shownOn(master *os.File) func(slave *os.File) string {
	const end = "the end"
	screen := make(chan string)
	go func() {
		var all []byte
		b := make([]byte, 4096)
		for !strings.Contains(string(all), end) {
			n, err := master.Read(b)
			all = append(all, b[:n]...)
			if err != nil {
				break
			}
		}
		screen <- strings.TrimSuffix(string(all), end)
	}()
	return func(slave *os.File) string {
		if _, err := slave.WriteString(end); err != nil {
			return err.Error()
		}
		return <-screen
	}
}

// Who mounts is told what takes long, when it is news and not too often.
func TestMountSaysWhatItIsAt(t *testing.T) {
	begin := func(doing func(since time.Duration) string, takes time.Duration) string {
		master, slave := openPTY(t)
		screen := shownOn(master)
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), takes)
			defer cancel()
			sayDoing(ctx, slave, func() string { return doing(time.Since(begun)) })
		})
		return strings.ReplaceAll(screen(slave), "\r\n", "\n")
	}
	if text := begin(func(time.Duration) string { return "1 of 9" }, sayStarting-time.Millisecond); text != "" {
		t.Errorf("a short mount says %q", text)
	}
	if text := begin(func(time.Duration) string { return "" }, time.Hour); text != "" {
		t.Errorf("%q", text)
	}
	slow := func(since time.Duration) string { return fmt.Sprintf("%d of 9", since/(20*time.Second)) }
	if text, want := begin(slow, 50*time.Second), "hushfs: mounting: 0 of 9\nhushfs: mounting: 1 of 9\nhushfs: mounting: 2 of 9\n"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
	quick := func(since time.Duration) string { return fmt.Sprintf("%v of 9", since) }
	if n, most := strings.Count(begin(quick, time.Minute), "\n"), int(time.Minute/sayStarting); n < most/2 || n > most {
		t.Errorf("%d lines in a minute", n)
	}
}

// No status has a line that is too long for people.
func TestWhyTheStoreIsAwayIsShort(t *testing.T) {
	b, err := openBucket(t.Context(), location{Store: "s3://bucket/drive", S3: s3Flags{Endpoint: "http://127.0.0.1:1"}}, func(name string) string {
		return map[string]string{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}[name]
	}, false, nil)
	if err == nil {
		b.Close()
		t.Fatal("a bucket at no server")
	}
	var s volume.Status
	s.SetOffline(err)
	if s.Offline != "connection refused" || !strings.Contains(s.OfflineNext, "check the network") {
		t.Errorf("%q, %q", s.Offline, s.OfflineNext)
	}
	if s.SetOffline(nil); s.Offline != "" || s.OfflineNext != "" {
		t.Errorf("%+v", s)
	}
}
