package main

import (
	"errors"
	"math"
	"strings"

	"github.com/dustin/go-humanize"
)

// size is n bytes for people.
func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// sizeFlag is a number of bytes on the command line. A unit is needed: 10 of
// what would be a guess.
type sizeFlag int64

func (s *sizeFlag) String() string {
	if *s == 0 {
		return ""
	}
	return size(int64(*s))
}

func (s *sizeFlag) Type() string { return "size" }

func (s *sizeFlag) Set(text string) error {
	if strings.Trim(text, "0123456789., ") == "" {
		return errors.New("a number with a unit is needed, as 64MiB or 10GB")
	}
	n, err := humanize.ParseBytes(text)
	if err != nil {
		return errors.New("not a size, as 64MiB or 10GB")
	}
	if n == 0 || n > math.MaxInt64 {
		return errors.New("out of range")
	}
	*s = sizeFlag(n)
	return nil
}
