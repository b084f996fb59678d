package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/volume"
)

// Words that are not found may be those of a machine that was away: it has no words of the
// newest slot, and is asked for the number of its own.
func TestHeadsOfAMachineThatIsBehind(t *testing.T) {
	for _, want := range []string{"is behind", "newer changes", "another history", "hushfs heads --slot N --compare 'WORDS' STORE", "slot 1198"} {
		if got := unknownText(0, 1198); !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if got := unknownText(2000, 1198); strings.Contains(got, "behind") || !strings.Contains(got, "slot 2000") || !strings.Contains(got, "words of slot 1198") {
		t.Errorf("with a slot: %q", got)
	}
}

// Who has not looked into the journal does not say that nothing waits in it.
func TestSetbackThatKnowsOfNoJournal(t *testing.T) {
	b, err := json.Marshal(setbackOf(&volume.Setback{}))
	if err != nil || strings.Contains(string(b), `"waiting"`) {
		t.Errorf("%s, %v", b, err)
	}
}

// What a machine sent is no news from others.
func TestSyncText(t *testing.T) {
	for before, want := range map[uint64]string{
		7: "/d: everything written so far is in the store; nothing new is there.",
		6: "/d: everything written so far is in the store; the drive is 1 commit further, this machine's own included.",
		5: "/d: everything written so far is in the store; the drive is 2 commits further, this machine's own included.",
	} {
		if got := syncText(control.Synced{Status: control.Status{Mountpoint: "/d"}, Before: before, Slot: 7}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
