// Package crashwork is what programs do on a drive while it is crashed, and how
// what is left is judged.
//
// A worker is a process of its own. It does random things to files, links and
// directories of its own, some of them in a folder that it shares with others,
// and notes outside of the drive what it is about to do and what was
// acknowledged. The drive may die under it; the worker does not. Every block
// that it writes tells file, block and version, and all its bytes follow from
// these, so the notes hold none.
//
// The judge executes the notes on a model and compares that with what is there.
// What a worker did to names, attributes and sizes was done in one order, so
// what is left must be what some beginning of it made, and not one shorter than
// what was acknowledged. Contents float: each block of a file holds something
// that was written to it, no older than what was acknowledged, and no younger
// than what is left of the names. Nothing else may be there.
package crashwork

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Exit codes of a worker, beside 0 for all of its work done and 2 for usage.
const (
	Died    = 3 // the drive was gone
	Misread = 4 // what was read is not what was written
	Refused = 5 // a call failed though it should not
)

// Shared is the folder below the base that all workers work in, Log the file
// that all append to.
const (
	Shared = "shared"
	Log    = "log"
)

// Own is the folder of worker id, below the base.
func Own(id int) string { return fmt.Sprintf("w%d", id) }

// own says whether a path is worker id's to change.
func own(id int, path string) bool {
	return path == Own(id) || strings.HasPrefix(path, Own(id)+"/") || strings.HasPrefix(path, Shared+"/"+Own(id)+"-")
}

// Note is one thing that a worker does. Paths are below the base.
type Note struct {
	Op   string `json:"op"`
	A    string `json:"a,omitempty"`    // what is changed
	B    string `json:"b,omitempty"`    // the other path, a link's target, an attribute's name
	File uint64 `json:"file,omitempty"` // number of a new file
	At   int    `json:"at,omitempty"`   // first block
	From int    `json:"from,omitempty"` // first block that is copied
	N    int    `json:"n,omitempty"`    // how many blocks
	Len  int    `json:"len,omitempty"`  // bytes of the last of them
	Ver  uint32 `json:"ver,omitempty"`  // version of what is written
	Size int64  `json:"size,omitempty"`
	Mode uint32 `json:"mode,omitempty"`
	Flag string `json:"flag,omitempty"`

	Done bool   `json:"done,omitempty"` // it was acknowledged
	Ino  uint64 `json:"ino,omitempty"`  // of what was made
	Err  string `json:"err,omitempty"`  // why the worker ended
}

// Read reads the notes of a worker: each thing on a line, and on the next
// whether it was done. The last line may be torn.
func Read(r io.Reader) ([]Note, error) {
	var all []Note
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		var n Note
		if err := json.Unmarshal(line, &n); err != nil {
			return nil, fmt.Errorf("note %d: %w", len(all)+1, err)
		}
		switch {
		case n.Op != "":
			all = append(all, n)
		case len(all) == 0:
			return nil, errors.New("an answer to nothing")
		default:
			l := &all[len(all)-1]
			l.Done, l.Ino, l.Err = n.Done, n.Ino, n.Err
		}
	}
}

// ReadFile is Read of a file; one that is not there holds no notes.
func ReadFile(path string) ([]Note, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(f)
}
