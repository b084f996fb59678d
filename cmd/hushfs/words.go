package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/drive"
)

// words is where the recovery words of a new drive go: a terminal, or a file
// that takes its room on the disk before they are made.
type words struct {
	terminal *terminal
	file     *os.File
	kept     bool
}

// openWords settles where the words go: to the new file path, which must not
// lie in the store, else to the terminal.
func (a *app) openWords(path, store string) (*words, error) {
	if path == "" {
		t, err := a.openTerminal()
		if err != nil && isTerminal(a.stderr) {
			t, err = &terminal{a.stderr, a.stderr, false}, nil
		}
		if err != nil {
			return nil, &problem{code: codeUsage, what: "the recovery words cannot be shown, and would be lost", why: err, next: "Use --recovery-file FILE."}
		}
		return &words{terminal: t}, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if within(store, abs) {
		return nil, usage("--recovery-file lies in STORE: whoever has the store would have the words")
	}
	f, err := os.OpenFile(abs, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, &problem{code: codeNotEmpty, what: "the recovery file " + path + " exists already", next: "Nothing was touched. Choose another name."}
	}
	if err != nil {
		return nil, &problem{code: codeUsage, what: "the recovery file cannot be made", why: err}
	}
	w := &words{file: f}
	if _, err = f.Write(make([]byte, 4096)); err == nil {
		err = w.sync()
	}
	if err != nil {
		return nil, errors.Join(&problem{code: codeUsage, what: "the recovery file cannot be written", why: err}, w.close())
	}
	return w, nil
}

// give shows or writes the words.
func (w *words) give(id drive.ID, list []string) error {
	if w.terminal != nil {
		w.terminal.printf("%sThey are for drive\n  %s\nWrite that down too: words alone do not say which drive they are for.\n\n", wordTable(list), id)
		return nil
	}
	text := keyslot.FormatRecovery([32]byte(id), list)
	defer wipe(text)
	if _, err := w.file.WriteAt(text, 0); err != nil {
		return err
	}
	if err := w.file.Truncate(int64(len(text))); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	w.kept = true
	return nil
}

// sync makes the file and its name last.
func (w *words) sync() error {
	if err := w.file.Sync(); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(w.file.Name()))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// close ends the giving; a file that holds no words is removed.
func (w *words) close() error {
	if w.terminal != nil {
		return w.terminal.Close()
	}
	err := w.file.Close()
	if !w.kept {
		err = errors.Join(err, os.Remove(w.file.Name()))
	}
	return err
}

// wordTable sets the words in four numbered columns, read downwards.
func wordTable(list []string) string {
	const columns = 4
	rows := (len(list) + columns - 1) / columns
	var b strings.Builder
	b.WriteString("\nRecovery words. Write them down, in this order; they are not shown again.\n\n")
	for row := range rows {
		for n := row; n < len(list); n += rows {
			cell := fmt.Sprintf("%2d %s", n+1, list[n])
			if n+rows < len(list) {
				cell = fmt.Sprintf("%-16s", cell)
			}
			b.WriteString("  " + cell)
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.String()
}
