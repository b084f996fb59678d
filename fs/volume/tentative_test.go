package volume

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// Several programs wait for one name: each hears what became of its own operation, in
// whatever order they ask, and of none anything is left.
func TestTwoWaitForOneName(t *testing.T) {
	var q tentative
	for no := meta.OpNo(5); no <= 7; no++ {
		if err := q.add(no, nil); err != nil {
			t.Fatal(err)
		}
	}
	_ = q.end(7) // it was not executed, and the number goes to something else
	if q.has(7) || !q.has(5) || !q.has(6) {
		t.Error("another one is forgotten than that which was not executed")
	}
	q.followed([]meta.Refusal{{No: 5, Err: meta.ErrExist}, {No: 7, Err: meta.ErrExist}})
	if err := q.end(6); err != nil {
		t.Errorf("the second hears %v", err)
	}
	if !q.has(5) {
		t.Error("the first is not waited for any more")
	}
	if err := q.end(5); !errors.Is(err, meta.ErrExist) {
		t.Errorf("the first hears %v", err)
	}
	if len(q.waiting)+len(q.halves) > 0 {
		t.Errorf("left: %v, %v", q.waiting, q.halves)
	}
}

// However many wait, none is forgotten: it would be told that it has its name.
func TestMoreWaitThanCan(t *testing.T) {
	var q tentative
	for no := range meta.OpNo(tentativeMost) {
		if err := q.add(no+1, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.add(tentativeMost+1, nil); err == nil {
		t.Error("one more waits")
	}
	if !q.has(1) || q.has(tentativeMost+1) {
		t.Error("another one waits than those who were let in")
	}
}

// remotely has two machines know what the first did, whose names wait for the store.
func remotely(t *testing.T, acts ...act) (laptop, desk *machine) {
	w := newWorld(t)
	laptop, desk = w.laptop, w.machine("desk")
	laptop.set = remote
	as(laptop, append(acts, drained)...)
	as(desk, caughtUp)
	return laptop, desk
}

// slower wants the program that gave a name to hear that another machine was faster.
func slower(given Given) act {
	return func(m *machine) error {
		if err := m.v.Named(given); !errors.Is(err, publish.ErrFaster) {
			return fmt.Errorf("another machine was faster, and the program hears %v", err)
		}
		return nil
	}
}

// A program hears of its own name alone: not of one that another program gives to what the
// first took away.
func TestVerdictIsNotAnothers(t *testing.T) {
	laptop, desk := remotely(t, write("a", "1"))
	renamed := moved("a", "b").must(laptop)
	made := surely("a").must(laptop)
	as(desk, unlink("a"), drained, write("a", "theirs"), drained)
	if err := laptop.v.Named(renamed); err != nil {
		t.Fatalf("it was told of what nobody knows yet: %v", err)
	}
	as(laptop, caughtUp, slower(made), read("a", "theirs"), lock)
}

// A folder says of what is taken out of it, too, that the store is to decide: two machines
// that take the same hear that one of them has it.
func TestTakenOutOfAFolder(t *testing.T) {
	w := newWorld(t)
	laptop, desk := w.laptop, w.machine("desk")
	as(laptop, mkdir("spool"), write("spool/job", "1"), func(m *machine) error {
		_, _, d, err := m.find("spool")
		if err != nil {
			return err
		}
		return m.v.SetXattr(t.Context(), d.Ref, []byte(DurabilityAttr), []byte(DurabilityRemote), 0)
	}, drained)
	as(desk, caughtUp)
	given := moved("spool/job", "mine").must(laptop)
	as(desk, rename("spool/job", "theirs"), drained)
	as(laptop, caughtUp, slower(given), missing("mine"), read("theirs", "1"), lock)
}

// Who puts a file in the place of one that it made just now, and that another machine made
// before, has not put it in the place of the other's.
func TestPutInThePlaceOfTheSlower(t *testing.T) {
	laptop, desk := remotely(t, write("a", "1"))
	as(laptop, write("n", "ours"), write("tmp", "newer"))
	given := moved("tmp", "n").must(laptop)
	as(desk, write("n", "theirs"), drained)
	as(laptop, caughtUp, slower(given), read("n", "theirs"), read("tmp", "newer"), drained, lock)
}

// A folder that had to be made for something else before, and got another name, is not the
// one that was made.
func TestFolderThatWasNeededBefore(t *testing.T) {
	laptop, desk := remotely(t, write("x", "1"))
	as(laptop, write("x", "2"))
	a, err := laptop.v.Make(t.Context(), meta.RootRef, []byte("d"), Node{Kind: meta.Dir, Perm: 0o755, UID: 1000, GID: 1000, Sure: true}, false)
	if err != nil {
		t.Fatal(err)
	}
	as(laptop, rename("x", "d/x"))
	as(desk, unlink("x"), write("d", "a file"), drained)
	as(laptop, caughtUp, slower(a.Given), read("d", "a file"), drained, lock)
}

// What a rename was to replace stays whole where another machine was faster: with what was
// written to it a moment before, and with what is written to it by who has it open.
func TestNotReplaced(t *testing.T) {
	data := strings.Repeat("much", inlineMax) // it floats for a while
	for name, c := range map[string]struct {
		before, meanwhile, after string // written to it
		there, copied            string // held in the end by it, and by a copy of it; empty: there is none
	}{
		"a moment before": {before: data, there: data},
		"afterwards":      {after: "mine", there: "mine"},
		"meanwhile":       {meanwhile: "mine", there: "base", copied: "mine"},
		"all the time":    {meanwhile: "mi", after: "mine", there: "base", copied: "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			laptop, desk := remotely(t, write("a", "1"), write("b", "base"))
			h := laptop.opens("b", true)
			if c.before != "" {
				as(laptop, closes(h), write("b", c.before))
			}
			given := moved("a", "b").must(laptop)
			if c.meanwhile != "" {
				as(laptop, puts(h, 0, c.meanwhile))
			}
			as(desk, rename("a", "theirs"), drained)
			as(laptop, caughtUp, slower(given))
			if c.after != "" {
				as(laptop, puts(h, 0, c.after))
			}
			if c.before == "" {
				as(laptop, closes(h))
			}
			as(laptop, read("theirs", "1"), read("b", c.there), drained)
			as(desk, caughtUp, read("b", c.there))
			if c.copied != "" {
				as(laptop, read(laptop.copyOf("", "b"), c.copied))
			}
			as(laptop, lock)
		})
	}
}
