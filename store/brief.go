package store

import (
	"errors"
	"strings"
)

// Brief says in a few words why a call failed, for a line that people look at: no
// operation, no object, no advice. The log has the whole error. What is no error of a
// store is returned whole.
func Brief(err error) string {
	const most = 100 // bytes; what says more is not for one line
	var b interface{ Brief() string }
	if errors.As(err, &b) {
		return b.Brief()
	}
	text := err.Error()
	if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrDenied) && !errors.Is(err, ErrFull) {
		return text
	}
	if i := strings.LastIndex(text, ": "); i >= 0 && i+2 < len(text) {
		text = text[i+2:]
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// Advice says what to do next about an error of a store, in a few words without a
// full stop; empty when the store has nothing to say.
func Advice(err error) string {
	var a interface{ Advice() string }
	if errors.As(err, &a) {
		return a.Advice()
	}
	return ""
}
