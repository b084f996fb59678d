package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openPTY is a terminal for a child: what it prints is read from master, what
// is written there it reads as typed.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// converse runs hushfs on a terminal: each prompt is awaited and answered. It
// returns everything that was on the screen. No answer is shown.
func (m *machine) converse(answers [][2]string, args ...string) (code, string) {
	m.t.Helper()
	return m.talk(answers, func(master *os.File) { awaitNoEcho(m.t, master) }, args...)
}

// talk is converse for questions whose answers are shown or not: typing is called when one
// was asked.
func (m *machine) talk(answers [][2]string, typing func(master *os.File), args ...string) (code, string) {
	m.t.Helper()
	master, slave := openPTY(m.t)
	c := m.command(args...)
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		m.t.Fatal(err)
	}
	slave.Close()
	var screen strings.Builder
	r := bufio.NewReader(io.TeeReader(master, &screen))
	for _, a := range answers {
		awaitText(m.t, r, a[0])
		typing(master)
		if _, err := io.WriteString(master, a[1]); err != nil {
			m.t.Fatal(err)
		}
	}
	// EIO is the end: nobody has the terminal open any more.
	if _, err := io.Copy(io.Discard, r); err != nil && !strings.Contains(err.Error(), "input/output error") {
		m.t.Fatal(err)
	}
	if err := c.Wait(); c.ProcessState == nil {
		m.t.Fatal(err)
	}
	return code(c.ProcessState.ExitCode()), strings.ReplaceAll(screen.String(), "\r\n", "\n")
}

func awaitText(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	var seen strings.Builder
	for !strings.HasSuffix(seen.String(), want) {
		b, err := r.ReadByte()
		if err != nil {
			t.Fatalf("waiting for %q: %v after %q", want, err, seen.String())
		}
		seen.WriteByte(b)
	}
}

// awaitNoEcho returns when echo is switched off, which is just after the prompt is shown.
func awaitNoEcho(t *testing.T, master *os.File) {
	t.Helper()
	for {
		mode, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if mode.Lflag&unix.ECHO == 0 {
			return
		}
	}
}

const (
	firstPrompt = "(empty = make one for me): "
	againPrompt = "The same again: "
	interrupt   = "\x03"
)

func TestInitOnATerminal(t *testing.T) {
	for name, test := range map[string]struct {
		answers [][2]string
		code    code
		shows   []string // regular expressions
		made    bool
	}{
		"a passphrase, typed twice": {[][2]string{{firstPrompt, "sesame\n"}, {againPrompt, "sesame\n"}}, codeOK,
			[]string{`Recovery words`, `(?m)^   1 [a-z]+ +7 [a-z]+ +13 [a-z]+ +19 [a-z]+$`, `(?m)^   6 [a-z]+ +12 [a-z]+ +18 [a-z]+ +24 [a-z]+$`, `hushfs mount store`}, true},
		"a generated one": {[][2]string{{firstPrompt, "\n"}}, codeOK,
			[]string{`Your passphrase, shown this once: ([a-z]+-){6}[a-z]+\n`, `(?m)24 [a-z]+$`}, true},
		"two that differ":         {[][2]string{{firstPrompt, "sesame\n"}, {againPrompt, "simsim\n"}}, codeUsage, []string{`differ`}, false},
		"interrupted":             {[][2]string{{firstPrompt, interrupt}}, codeFailure, []string{`interrupted`}, false},
		"interrupted at the last": {[][2]string{{firstPrompt, "sesame\n"}, {againPrompt, interrupt}}, codeFailure, []string{`interrupted`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			code, screen := m.converse(test.answers, append([]string{"init", "store"}, cheap...)...)
			if code != test.code {
				t.Errorf("code %d, want %d", code, test.code)
			}
			for _, want := range test.shows {
				if !regexp.MustCompile(want).MatchString(screen) {
					t.Errorf("nothing matches %s in\n%s", want, screen)
				}
			}
			if strings.Contains(screen, "sesame") {
				t.Errorf("the passphrase was echoed:\n%s", screen)
			}
			if _, err := os.Stat(m.path("store")); (err == nil) != test.made {
				t.Errorf("store: %v", err)
			}
		})
	}
}

// TestEchoComesBack: a prompt that is interrupted leaves the terminal as it was.
func TestEchoComesBack(t *testing.T) {
	m := newMachine(t)
	master, slave := openPTY(t)
	c := m.command("init", "store")
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	awaitText(t, bufio.NewReader(master), firstPrompt)
	awaitNoEcho(t, master)
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); c.ProcessState.ExitCode() != int(codeFailure) {
		t.Errorf("ended with %v", err)
	}
	mode, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil || mode.Lflag&unix.ECHO == 0 {
		t.Errorf("echo is off (%v)", err)
	}
}
