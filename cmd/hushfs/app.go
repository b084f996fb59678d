package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
)

// app is what every command has at hand.
type app struct {
	stdin          *os.File
	stdout, stderr *os.File
	env            func(string) string
	json           bool // --json: results and errors as JSON on stdout
	verbose        bool // --verbose: debug lines in the log

	unwritten error // why a result could not be written; nil when all were
}

// run is the whole program: arguments in, exit code out.
func run(args []string, stdin, stdout, stderr *os.File, env func(string) string) code {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, env: env}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil {
		return a.concludedWriting()
	}
	var elsewhere *told
	if errors.As(err, &elsewhere) {
		return elsewhere.code
	}
	var p *problem
	if !errors.As(err, &p) {
		// Everything that a command returns is a problem; what is none comes
		// from cobra, which found the command line wrong.
		p = usage("%v", err)
		p.next = "See: hushfs help"
		if c, _, _ := root.Find(args); c != nil && c.HasParent() {
			p.next = helpOf(c)
		}
	}
	a.json = a.json || jsonAsked(args)
	a.report(p)
	return p.code
}

// concludedWriting is the code of a command that did what it should. Whose result
// reached nobody did not: a script would take an empty file for an answer.
func (a *app) concludedWriting() code {
	if a.unwritten == nil {
		return codeOK
	}
	fmt.Fprintf(a.stderr, "hushfs: what was asked for is done, but the result could not be written: %v\n", a.unwritten)
	return codeFailure
}

// jsonAsked finds --json also on a command line that could not be parsed.
func jsonAsked(args []string) bool {
	for _, s := range args {
		if s == "--" {
			return false
		}
		if s == "--json" || s == "--json=true" {
			return true
		}
	}
	return false
}

// command fills in what all commands have in common: one that fails returns a
// problem, and ctx ends at the first SIGINT, SIGTERM or SIGHUP.
func (a *app) command(c *cobra.Command, do func(ctx context.Context, args []string) error) *cobra.Command {
	c.DisableFlagsInUseLine = true
	numbered(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		err := do(ctx, args)
		var elsewhere *told
		if err == nil || errors.As(err, &elsewhere) {
			return err
		}
		p := explain(c.Name(), err)
		if p.code == codeUsage && p.next == "" && !c.Hidden {
			wrong := *p
			wrong.next = helpOf(c)
			p = &wrong
		}
		return p
	}
	return c
}

// report tells the user of p: as JSON on stdout when asked to, else in a line
// on stderr.
func (a *app) report(p *problem) {
	if a.json {
		a.print(map[string]*control.Problem{"error": p.wire()})
		return
	}
	fmt.Fprintf(a.stderr, "hushfs: %s\n", p.text())
}

// print writes one JSON value and a newline to stdout.
func (a *app) print(v any) {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		a.unwritten = err
	}
}

// say writes a line for people to stdout; with --json there are none.
func (a *app) say(format string, args ...any) {
	if a.json {
		return
	}
	if _, err := fmt.Fprintf(a.stdout, format+"\n", args...); err != nil {
		a.unwritten = err
	}
}

// warn writes a line to stderr, also with --json.
func (a *app) warn(format string, args ...any) {
	fmt.Fprintf(a.stderr, "hushfs: warning: "+format+"\n", args...)
}

// logger writes to w: text, or JSON where the user asked for it.
func (a *app) logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelInfo}
	if a.verbose {
		o.Level = slog.LevelDebug
	}
	if a.json {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// asideLog is for commands that answer otherwise: it is seen with --verbose only.
func (a *app) asideLog() *slog.Logger {
	if a.verbose {
		return a.logger(a.stderr)
	}
	return slog.New(slog.DiscardHandler)
}

// shellQuote makes s safe to paste into a shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=~", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 && s[0] != '~' && s[0] != '-' {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// count is n things in words: "1 change", "2 changes".
func count[N int | int64 | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
