package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeThread makes what /proc shows of one thread.
func fakeThread(t *testing.T, dir, state string, flags int, wchan string, files ...string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Join(dir, "fd")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("comm", "a (b) c\n")
	write("stat", fmt.Sprintf("17 (a (b) c) %s 1 17 17 0 -1 %d 100 0 0 0", state, flags))
	write("wchan", wchan)
	for i, f := range files {
		if err := os.Symlink(f, filepath.Join(dir, "fd", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
}

// Who keeps a mount busy: by its files, also those of a thread that outlived the
// first; else who was killed and cannot end for the sake of a file system.
func TestUsers(t *testing.T) {
	const exiting = 0x4
	for _, c := range []struct {
		name string
		make func(proc string)
		want string
	}{
		{"an open file", func(p string) {
			fakeThread(t, p+"/17", "S", 0, "0", "/mnt/x/file")
			fakeThread(t, p+"/18", "S", 0, "0", "/mnt/xx/file")
		}, "pid 17 (a (b) c: open file)"},
		{"a thread of its own", func(p string) {
			fakeThread(t, p+"/17", "Z", exiting, "0")
			fakeThread(t, p+"/17/task/17", "Z", exiting, "0")
			fakeThread(t, p+"/17/task/19", "D", 0, "request_wait_answer", "/mnt/x/file")
		}, "pid 17 (a (b) c: open file)"},
		{"killed, its files gone", func(p string) {
			fakeThread(t, p+"/17", "Z", exiting, "0")
			fakeThread(t, p+"/17/task/19", "D", exiting, "request_wait_answer")
		}, "pid 17 (a (b) c: killed, and waits in the kernel)"},
		{"killed, and the kernel says not for whom it waits", func(p string) {
			fakeThread(t, p+"/17/task/17", "D", exiting, "0")
		}, "pid 17 (?: killed, and waits in the kernel)"},
		{"killed, and waits for a disk", func(p string) {
			fakeThread(t, p+"/17/task/17", "D", exiting, "io_schedule")
		}, ""},
		{"waits, and was not killed", func(p string) {
			fakeThread(t, p+"/17/task/17", "D", 0, "request_wait_answer")
		}, ""},
		{"killed, beside one with an open file", func(p string) {
			fakeThread(t, p+"/17/task/17", "D", exiting, "request_wait_answer")
			fakeThread(t, p+"/18", "S", 0, "0", "/mnt/x")
		}, "pid 18 (a (b) c: open file)"},
		{"this command, and another", func(p string) {
			fakeThread(t, p+"/99", "S", 0, "0", "/mnt/x/file")
			fakeThread(t, p+"/17", "S", 0, "0", "/mnt/x/file")
		}, "pid 17 (a (b) c: open file)"},
		{"this command, and nobody else", func(p string) {
			fakeThread(t, p+"/99", "S", 0, "0", "/mnt/x/file")
		}, "pid 99 (this command itself: open file)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			proc := t.TempDir()
			c.make(proc)
			if got := usersText(usersIn(proc, "/mnt/x", 99)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// When nobody shows a file, it is said what else it may be.
func TestBusyWithoutUsers(t *testing.T) {
	if got := busyText("/proc/self/no such mount"); !strings.Contains(got, "another user") || !strings.Contains(got, "try again") {
		t.Errorf("%q", got)
	}
}
