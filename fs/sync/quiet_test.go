package sync

import (
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/state"
)

// watcher asks a store, by a clock of its own.
type watcher struct {
	state.Silence
	newest  chain.Slot
	removed uint16
	date    int32
}

// day asks for hours on the next day.
func (w *watcher) day(hours int) {
	w.date++
	w.asks(hours)
}

func (w *watcher) asks(hours int) {
	for range hours * 60 {
		w.Silence = listened(w.Silence, heard{time.Minute, w.date, w.newest, w.removed})
	}
}

// days asks on days on which others write, as the letters say: x something, - nothing.
func (w *watcher) days(what string, hours int) {
	for _, c := range what {
		if c == 'x' {
			w.newest++
		}
		w.day(hours)
	}
}

// A day ends when the next one begins, so the last of those below is not counted yet.
func TestQuiet(t *testing.T) {
	for name, c := range map[string]struct {
		days  string
		hours int
		want  uint16
	}{
		"nobody ever wrote":                   {"--------------------", 24, 0},
		"a new machine":                       {"-", 24, 0},
		"daily, and then not":                 {"xxxxxxx------", 24, 5},
		"daily, and then not for long":        {"xxxxxxx-------------------------------", 24, 30},
		"a day less":                          {"xxxxxxx-----", 24, 0},
		"and again":                           {"xxxxxxx--------x", 24, 0},
		"daily again, and then not":           {"xxxxxxx--------xxxxx------", 24, 5},
		"after a pause not daily yet":         {"xxxxxxx--------xxxx---------", 24, 0},
		"a working week":                      {"xxxxx--xxxxx--xxxxx--x", 24, 0},
		"a working week, looked at on Monday": {"xxxxx--xxxxx--x------", 24, 5},
		"a long weekend":                      {"xxxxx--xxxxx----xxxxx", 24, 0},
		"every other day":                     {"x-x-x-x-x-x-x---------", 24, 0},
		"four of seven days":                  {"xx--xx-xx--xx-------------", 24, 0},
		"two times in their life":             {"xx-----------", 24, 0},
		"in the evenings, four hours a day":   {"xxxxxxx------", 5, 5},
		"an hour a day is a day in four":      {"xxxxxxx------", 1, 0},
		"an hour a day, for long":             {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx---------------------------------", 1, 8},
	} {
		t.Run(name, func(t *testing.T) {
			w := &watcher{date: 20_000}
			w.days(c.days, c.hours)
			if got := quietFor(w.Silence); got != c.want {
				t.Errorf("%d days, want %d: %+v", got, c.want, w.Silence)
			}
		})
	}
}

// No clock brings the warning on: days are asked through, whatever date it is.
func TestQuietByWrongClocks(t *testing.T) {
	for name, jump := range map[string]int32{"forwards": 10, "backwards": -10, "by a year": 365, "to the beginning": -20_000} {
		t.Run(name, func(t *testing.T) {
			w := &watcher{date: 20_000}
			w.days("xxxxxxx-", 24)
			for range 3 {
				w.date += jump
				w.asks(3)
			}
			if got := quietFor(w.Silence); got != 0 || w.Silent > 3 {
				t.Errorf("%d days after 9 hours: %+v", got, w.Silence)
			}
		})
	}
	w := &watcher{date: 20_000}
	w.days("xxxxxxx", 24)
	w.asks(100 * 24) // the clock stands
	if got := quietFor(w.Silence); got != 0 {
		t.Errorf("%d days on one day", got)
	}
}

// What was known of others counts no more when one of them was removed, or when what
// they wrote was given up.
func TestQuietBeginsAnew(t *testing.T) {
	for name, change := range map[string]func(w *watcher){
		"a device is removed":   func(w *watcher) { w.removed++ },
		"a rollback, accepted":  func(w *watcher) { w.newest -= 3 },
		"something comes today": func(w *watcher) { w.newest++ },
	} {
		t.Run(name, func(t *testing.T) {
			w := &watcher{date: 20_000}
			w.days("xxxxxxx-------", 24)
			if quietFor(w.Silence) == 0 {
				t.Fatal("nothing to begin with")
			}
			change(w)
			w.asks(1)
			if got := quietFor(w.Silence); got != 0 {
				t.Errorf("%d days", got)
			}
			w.days("----", 24)
			if got := quietFor(w.Silence); got != 0 {
				t.Errorf("%d days after four more", got)
			}
		})
	}
}
