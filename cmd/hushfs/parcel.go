package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
)

// A parcel goes through a pipe between two of our processes: a length of 4
// bytes, that much JSON, then a secret to the end. Pipes are not seen by other
// processes, as arguments and the environment are.

// maxParcel bounds the JSON and the secret, each, in bytes.
const maxParcel = 1 << 20

// errNoParcel: the other process ended before it sent anything.
var errNoParcel = errors.New("no answer")

// sendParcel writes a parcel; the secret stays the caller's.
func sendParcel(w io.Writer, v any, secret []byte) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(text) > maxParcel || len(secret) > maxParcel {
		return fmt.Errorf("parcel of %d and %d bytes is too large", len(text), len(secret))
	}
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(text)))); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	_, err = w.Write(secret)
	return err
}

// receiveParcel reads a parcel to its end. The secret is the caller's to wipe.
func receiveParcel(r io.Reader, v any) (secret []byte, err error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoParcel, err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxParcel {
		return nil, fmt.Errorf("parcel of %d bytes is too large", n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoParcel, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return nil, err
	}
	return readAtMost(r, maxParcel)
}

// outcome is the answer of a child process: a problem, or what it was asked for.
type outcome struct {
	Problem *control.Problem `json:"problem,omitempty"`
	Status  control.Status   `json:"status"`          // of a daemon that is ready
	Drive   string           `json:"drive,omitempty"` // id of the drive that the helper unlocked
}
