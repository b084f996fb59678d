package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// numbered has a command say in our words that it was given too few arguments, or too
// many, and how it is written. That an unknown word is no command of its group, cobra
// says well.
func numbered(c *cobra.Command) {
	check := c.Args
	if check == nil || c.HasSubCommands() && check(c, []string{"x"}) != nil {
		return
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if check(c, args) == nil {
			return nil
		}
		what := "too many arguments"
		for more := slices.Clone(args); len(more) < len(args)+4; {
			if more = append(more, "x"); check(c, more) == nil {
				what = "too few arguments"
			}
		}
		return &problem{code: codeUsage, what: fmt.Sprintf("%s: %s", nameOf(c), what), next: "Write: " + c.UseLine()}
	}
}

// wrongFlag says what is wrong with a flag, in words that are none of Go's.
func wrongFlag(c *cobra.Command, err error) error {
	p := &problem{code: codeUsage, what: nameOf(c), why: err, next: helpOf(c)}
	var value *pflag.InvalidValueError
	if !errors.As(err, &value) {
		return p
	}
	p.what, p.why = fmt.Sprintf("%s: --%s %s", p.what, value.GetFlag().Name, shellQuote(value.GetValue())), errors.Unwrap(value)
	var number *strconv.NumError
	switch value.GetFlag().Value.Type() {
	case "duration":
		p.why = errors.New("a time is needed, as 90s, 10m or 1h30m")
	case "bool":
		p.why = errors.New("it takes no value, or true or false")
	default:
		if errors.As(err, &number) {
			p.why = errors.New("a whole number is needed")
		}
	}
	return p
}

// nameOf is what follows hushfs on the command line.
func nameOf(c *cobra.Command) string {
	if !c.HasParent() {
		return "the command line"
	}
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
}

// helpOf says where a command is explained.
func helpOf(c *cobra.Command) string { return "See: " + c.CommandPath() + " --help" }
