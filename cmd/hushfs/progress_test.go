package main

import (
	"strings"
	"testing"
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
		screen := make(chan string)
		go func() {
			var all []byte
			b := make([]byte, 4096)
			for !strings.Contains(string(all), "the end") {
				n, err := master.Read(b)
				all = append(all, b[:n]...)
				if err != nil {
					break
				}
			}
			screen <- string(all)
		}()
		a := &app{stderr: slave}
		bar := a.newProgress()
		for left := int64(12); left > 0; left-- {
			bar.show(volume.Status{PendingOps: int(left), PendingFiles: 3, PendingBytes: left * 105_000, Offline: "connection refused"})
			time.Sleep(10 * time.Millisecond) // real: the bar takes its time from the clock
		}
		bar.end()
		if _, err := slave.WriteString("the end"); err != nil {
			t.Fatal(err)
		}
		text := <-screen
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
