package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store"
)

func TestCodesArePromised(t *testing.T) {
	// A script somewhere relies on each line: none may change.
	want := "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24"
	var got []string
	for _, c := range codes {
		got = append(got, fmt.Sprint(int(c.code)))
		if !strings.Contains(exitCodeHelp(), c.meaning) {
			t.Errorf("help does not tell of code %d", c.code)
		}
	}
	if s := strings.Join(got, " "); s != want {
		t.Errorf("codes %s, want %s", s, want)
	}
}

func TestExplain(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		code code
	}{
		"wrong passphrase":                  {keyslot.ErrPassphrase, codeSecret},
		"wrong words":                       {keyslot.ErrWords, codeSecret},
		"no drive":                          {drive.ErrNoDrive, codeNoDrive},
		"another drive":                     {drive.ErrOther, codeNoDrive},
		"not empty":                         {drive.ErrNotEmpty, codeNotEmpty},
		"newer drive":                       {drive.ErrNewer, codeNewer},
		"newer header":                      {keyslot.ErrNewer, codeNewer},
		"newer state folder":                {fmt.Errorf("%w: %w", volume.ErrState, state.ErrNewer), codeNewer},
		"newer journal":                     {fmt.Errorf("%w: %w", volume.ErrJournal, journal.ErrNewer), codeNewer},
		"newer record":                      {chain.ErrVersion, codeNewer},
		"newer hints":                       {errors.Join(publish.ErrNoKey, chain.ErrVersion), codeNewer},
		"no hints":                          {publish.ErrNoKey, codeStore},
		"newer table":                       {fmt.Errorf("read: %w", table.ErrVersion), codeNewer},
		"newer record, and something waits": {&volume.Undrained{Ops: 1, Why: chain.ErrVersion}, codeUndrained},
		"store away":                        {store.ErrUnavailable, codeStore},
		"store refuses":                     {store.ErrDenied, codeStore},
		"store full":                        {store.ErrFull, codeStore},
		"a full store, by the system":       {fmt.Errorf("%w: %w", store.ErrFull, syscall.ENOSPC), codeStore},
		"a full local disk":                 {syscall.ENOSPC, codeState},
		"rollback":                          {volume.ErrRollback, codeHistory},
		"fork":                              {volume.ErrFork, codeHistory},
		"two histories while mounted":       {publish.ErrFork, codeHistory},
		"set back, and removed there":       {errors.Join(volume.ErrRollback, publish.ErrRemoved), codeRemoved},
		"foreign journal":                   {volume.ErrJournal, codeState},
		"interrupted, and only read":        {volume.ErrUnfinished, codeState},
		"time over":                         {context.DeadlineExceeded, codeTimeout},
		"interrupted":                       {context.Canceled, codeFailure},
		"undrained":                         {volume.ErrUndrained, codeUndrained},
		"undrained since time was over":     {&volume.Undrained{Ops: 1, Why: context.DeadlineExceeded}, codeUndrained},
		"undrained since told to hurry":     {&volume.Undrained{Ops: 1, Why: context.Canceled}, codeUndrained},
		"undrained since the store is off":  {&volume.Undrained{Ops: 1, Why: store.ErrUnavailable}, codeUndrained},
		"anything else":                     {errors.New("x"), codeFailure},
		"a problem already":                 {usage("x"), codeUsage},
		"a problem of another process":      {&control.Problem{Code: int(codeHistory), Message: "x"}, codeHistory},
	} {
		t.Run(name, func(t *testing.T) {
			p := explain("it failed", fmt.Errorf("somewhere: %w", test.err))
			if p.code != test.code {
				t.Errorf("code %d, want %d", p.code, test.code)
			}
			if back := explain("", p.wire()); back.code != p.code || back.text() != p.text() {
				t.Errorf("%q became %q on its way", p.text(), back.text())
			}
		})
	}
	if explain("x", nil) != nil {
		t.Error("nil is a problem")
	}
}

func TestProblemText(t *testing.T) {
	p := &problem{what: "it failed", why: errors.Join(errors.New("a"), errors.New("b.")), next: "Do this."}
	if got := p.text(); got != "it failed: a; b. Do this." {
		t.Errorf("%q", got)
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"":          "''",
		"/a/b-c_1":  "/a/b-c_1",
		"-f":        "'-f'",
		"~x":        "'~x'",
		"a b":       "'a b'",
		"it's":      `'it'\''s'`,
		"$(reboot)": "'$(reboot)'",
		"ä":         "'ä'",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestSizeFlag(t *testing.T) {
	for in, want := range map[string]int64{
		"19MiB": 19 << 20, "1GB": 1e9, "10 GiB": 10 << 30, "1.5KiB": 1536, "1b": 1,
		"": 0, "64": 0, "1,000": 0, "0MiB": 0, "MiB": 0, "12XB": 0, "-1MiB": 0, "99999EiB": 0,
	} {
		var s sizeFlag
		err := s.Set(in)
		if (err == nil) != (want > 0) || int64(s) != want {
			t.Errorf("%q: %d, %v, want %d", in, s, err, want)
		}
	}
}

// A state folder that only cannot be read is not to be moved away: changes wait in it.
func TestStateWithoutPermission(t *testing.T) {
	denied := &fs.PathError{Op: "open", Path: "/state", Err: syscall.EACCES}
	for _, c := range []struct {
		err  error
		next string
	}{
		{fmt.Errorf("%w: %w", volume.ErrState, denied), "Check the owner and the mode"},
		{fmt.Errorf("%w: %w", volume.ErrState, state.ErrMalformed), "move it away"},
	} {
		if p := explain("the drive was not mounted", c.err); p.code != codeState || !strings.Contains(p.next, c.next) {
			t.Errorf("%v: %d %s", c.err, p.code, p.next)
		}
	}
}
