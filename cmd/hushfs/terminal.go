package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// errNoTerminal: a prompt is needed and nobody is there to answer.
var errNoTerminal = errors.New("standard input is no terminal")

// terminal is where a person can be asked and be shown a secret.
type terminal struct {
	in, out *os.File
	own     bool // in and out were opened here
}

// openTerminal opens the terminal of this process when its standard input is
// one: a program that feeds us something else is never kept waiting by a prompt.
func (a *app) openTerminal() (*terminal, error) {
	if !term.IsTerminal(int(a.stdin.Fd())) {
		return nil, errNoTerminal
	}
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		return &terminal{tty, tty, true}, nil
	}
	out := a.stderr
	if !term.IsTerminal(int(out.Fd())) {
		out = a.stdin
	}
	return &terminal{a.stdin, out, false}, nil
}

func (t *terminal) Close() error {
	if t.own {
		return t.in.Close()
	}
	return nil
}

func (t *terminal) printf(format string, args ...any) { fmt.Fprintf(t.out, format, args...) }

// secret asks without echo. The line's bytes are the caller's to wipe; ctx
// ends the question and gives the terminal its echo back.
func (t *terminal) secret(ctx context.Context, prompt string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fd := int(t.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	t.printf("%s", prompt)
	// ReadPassword alone would leave the echo off when a signal ends us.
	type line struct {
		text []byte
		err  error
	}
	read := make(chan line, 1)
	go func() {
		b, err := term.ReadPassword(fd)
		read <- line{b, err}
	}()
	select {
	case <-ctx.Done():
		err := term.Restore(fd, before)
		t.printf("\n")
		return nil, errors.Join(ctx.Err(), err)
	case l := <-read:
		t.printf("\n")
		if errors.Is(l.err, io.EOF) {
			return nil, usage("no passphrase was typed")
		}
		return l.text, l.err
	}
}

// line asks with echo; ctx ends the question.
func (t *terminal) line(ctx context.Context, prompt string) (string, error) {
	t.printf("%s", prompt)
	type typed struct {
		text string
		err  error
	}
	read := make(chan typed, 1)
	go func() {
		text, err := bufio.NewReader(t.in).ReadString('\n')
		read <- typed{text, err}
	}()
	select {
	case <-ctx.Done():
		t.printf("\n")
		return "", ctx.Err()
	case l := <-read:
		return l.text, l.err
	}
}

// isTerminal reports whether f shows its output to a person.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// answers runs do, which may hang on a mount that does not answer, and gives up
// waiting for it after limit or when ctx ends. The goroutine ends when the
// kernel lets go of it, at the latest with the process.
func answers(ctx context.Context, limit time.Duration, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
