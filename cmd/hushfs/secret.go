package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/pflag"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/drive"
)

const (
	maxPassphrase = 4096    // bytes
	maxRecovery   = 1 << 16 // bytes of a recovery file
)

// secretFlags say where a secret comes from when nobody is to be asked. They
// hold no secret: one in an argument would be seen by every process.
type secretFlags struct {
	File     string `json:"file"`     // of the passphrase; - is stdin
	Command  string `json:"command"`  // whose output is the passphrase
	Recovery string `json:"recovery"` // file of recovery words; - is stdin
	Drive    string `json:"drive"`    // id that the drive must have; no secret
}

func (s *secretFlags) register(f *pflag.FlagSet) {
	f.StringVar(&s.File, "passphrase-file", "", "read the passphrase from `FILE`, without its last newline (- is standard input)")
	f.StringVar(&s.Command, "passphrase-command", "", "run `CMD` with sh -c; what it prints, without the last newline, is the passphrase")
}

// registerUnlock are the flags of a command that unlocks a drive; when says when it does.
func (s *secretFlags) registerUnlock(f *pflag.FlagSet, when string) {
	s.register(f)
	f.StringVar(&s.Recovery, "recovery-file", "", when+"unlock with the recovery words in `FILE` instead of the passphrase (- is standard input)")
	f.StringVar(&s.Drive, "drive", "", when+"refuse any other drive than the one called `ID`, which init and status show")
}

// check finds flags that exclude each other; mount's three are one secret, init
// only reads a passphrase.
func (s *secretFlags) check() error {
	n := 0
	for _, v := range []string{s.File, s.Command, s.Recovery} {
		if v != "" {
			n++
		}
	}
	if n > 1 {
		return usage("only one of --passphrase-file, --passphrase-command and --recovery-file can open a drive")
	}
	return nil
}

// passphrase reads the passphrase of an existing drive. The caller wipes it.
func (a *app) passphrase(ctx context.Context, s secretFlags) ([]byte, error) {
	if s.File != "" || s.Command != "" {
		return a.givenPassphrase(ctx, s)
	}
	t, err := a.openTerminal()
	if err != nil {
		return nil, needSecret(err)
	}
	defer t.Close()
	p, err := t.secret(ctx, "Passphrase: ")
	if err == nil && len(p) == 0 {
		return nil, usage("the passphrase is empty")
	}
	return p, err
}

// newPassphrase reads the passphrase of a drive to be made: twice, or once from
// a file or command. Nothing typed is answered with a generated one, shown once.
func (a *app) newPassphrase(ctx context.Context, s secretFlags) ([]byte, error) {
	if s.File != "" || s.Command != "" {
		return a.givenPassphrase(ctx, s)
	}
	t, err := a.openTerminal()
	if err != nil {
		return nil, needSecret(err)
	}
	defer t.Close()
	first, err := t.secret(ctx, "Passphrase (empty = make one for me): ")
	if err != nil {
		return nil, err
	}
	if len(first) == 0 {
		made, err := keyslot.GeneratePassphrase()
		if err != nil {
			return nil, err
		}
		t.printf("\n  Your passphrase, shown this once: %s\n\n", made)
		return []byte(made), nil
	}
	again, err := t.secret(ctx, "The same again: ")
	if err != nil {
		wipe(first)
		return nil, err
	}
	same := bytes.Equal(first, again)
	wipe(again)
	if !same {
		wipe(first)
		return nil, &problem{code: codeUsage, what: "the two passphrases differ", next: "Nothing was made. Try again."}
	}
	return first, nil
}

func needSecret(err error) error {
	return &problem{code: codeUsage, what: "a passphrase is needed and cannot be asked for", why: err,
		next: "Use --passphrase-file FILE (- is standard input) or --passphrase-command CMD."}
}

// givenPassphrase takes the passphrase from a file or a command.
func (a *app) givenPassphrase(ctx context.Context, s secretFlags) ([]byte, error) {
	if s.Command != "" {
		return a.commandOutput(ctx, s.Command)
	}
	raw, err := a.readSecretFile(s.File, maxPassphrase+1)
	if err != nil {
		return nil, &problem{code: codeUsage, what: "the passphrase file cannot be read", why: err}
	}
	return onePassphrase(raw, "the passphrase file")
}

// commandOutput runs a program that knows the passphrase. It has our terminal,
// for questions of its own.
func (a *app) commandOutput(ctx context.Context, command string) ([]byte, error) {
	c := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	c.Stdin, c.Stderr = a.stdin, a.stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, &problem{code: codeFailure, what: "the passphrase command cannot be run", why: err}
	}
	raw, readErr := readAtMost(out, maxPassphrase+1)
	if readErr != nil {
		// It may go on to write into the pipe, which nobody reads any more.
		readErr = errors.Join(readErr, c.Cancel())
	}
	if err := errors.Join(c.Wait(), readErr); err != nil {
		wipe(raw)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &problem{code: codeFailure, what: "the passphrase command failed", why: err}
	}
	return onePassphrase(raw, "what the passphrase command printed")
}

// onePassphrase strips one trailing newline from raw, in place.
func onePassphrase(raw []byte, source string) ([]byte, error) {
	p := bytes.TrimSuffix(raw, []byte{'\n'})
	if len(p) == 0 {
		return nil, usage("%s is empty", source)
	}
	if len(p) > maxPassphrase {
		wipe(raw)
		return nil, usage("%s is longer than %d bytes", source, maxPassphrase)
	}
	return p, nil
}

// recovery reads the words of a recovery file, and the drive they are for when
// the file says so.
func (a *app) recovery(path string) (*crypt.Key, *drive.ID, error) {
	raw, err := a.readSecretFile(path, maxRecovery)
	if err != nil {
		return nil, nil, &problem{code: codeUsage, what: "the recovery file cannot be read", why: err}
	}
	defer wipe(raw)
	id, key, err := keyslot.ParseRecovery(raw)
	if err != nil {
		return nil, nil, &problem{code: codeSecret, what: "the recovery file holds no recovery words", why: err,
			next: "Compare the words with the paper, one by one."}
	}
	return key, (*drive.ID)(id), nil
}

// expected is the drive that --drive names, nil when it names none.
func (s *secretFlags) expected() (*drive.ID, error) {
	if s.Drive == "" {
		return nil, nil
	}
	id, err := drive.ParseID(s.Drive)
	if err != nil {
		return nil, usage("--drive: %v", err)
	}
	return &id, nil
}

// confirm asks on the terminal whether recovery words that name no drive opened
// the right one. Without a terminal the answer is no.
func (a *app) confirm(ctx context.Context, id drive.ID) bool {
	t, err := a.openTerminal()
	if err != nil {
		return false
	}
	defer t.Close()
	t.printf("These words open the drive\n  %s\nWords alone prove nothing: somebody else may have made it. Is that the id that was written down with them?\n", id)
	answer, err := t.line(ctx, "Type yes: ")
	return err == nil && strings.TrimSpace(answer) == "yes"
}

// readSecretFile reads at most limit bytes of a file, - being stdin, and warns
// when others may do so, too.
func (a *app) readSecretFile(path string, limit int) ([]byte, error) {
	if path == "-" {
		return readAtMost(a.stdin, limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if i.IsDir() {
		return nil, errors.New("it is a directory")
	}
	if i.Mode().IsRegular() && i.Mode().Perm()&0o044 != 0 {
		a.warn("%s can be read by others; chmod 600 it", path)
	}
	return readAtMost(f, limit)
}

// readAtMost reads to the end of r into one buffer, so that no copy of a secret
// stays behind. More than limit bytes are an error.
func readAtMost(r io.Reader, limit int) ([]byte, error) {
	b := make([]byte, limit+1)
	n, err := io.ReadFull(r, b)
	if err == nil {
		wipe(b)
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		wipe(b)
		return nil, err
	}
	return b[:n], nil
}
