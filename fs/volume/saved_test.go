package volume

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// exchange swaps what two names stand for.
func exchange(a, b string) act {
	return func(m *machine) error {
		dir, name, _, err := m.find(a)
		if err != nil {
			return err
		}
		dir2, name2, _, err := m.find(b)
		if err != nil {
			return err
		}
		return m.v.Rename(m.t.Context(), dir, name, dir2, name2, meta.Exchange)
	}
}

// waysToSave are what editors do to put content into f.txt by another file.
var waysToSave = map[string]func(content string) []act{
	"rename": func(content string) []act { return []act{saveAs("f.txt", content)} },
	"rename of another": func(content string) []act {
		return []act{write(content, content), rename(content, "f.txt")}
	},
	"backup": func(content string) []act {
		return []act{rename("f.txt", "f.txt~"), write("new", content), rename("new", "f.txt")}
	},
	"as vim": func(content string) []act {
		return []act{rename("f.txt", "f.txt~"), write("f.txt", content), unlink("f.txt~")}
	},
	"exchange": func(content string) []act {
		return []act{write("new", content), exchange("new", "f.txt"), unlink("new")}
	},
}

// A machine that is held back saves a file ten times, in each way, and another saves it
// meanwhile: there is one copy, the newest, and one record, by which a person can choose.
// So it is when the machine is killed, when the other saves again, and for who has the
// file open.
func TestSavedWhileHeldBack(t *testing.T) {
	t.Parallel()
	type held struct{ mine, desk *machine }
	for how, then := range map[string]func(h held) string{
		"":       func(held) string { return "A1" },
		"killed": func(h held) string { h.mine.crash(); return "A1" },
		"killed when it followed": func(h held) string {
			as(h.mine, caughtUp)
			h.mine.crash()
			return "A1"
		},
		"saved again, and killed": func(h held) string {
			as(h.mine, caughtUp)
			as(h.desk, saveAs("f.txt", "A2"), drained)
			h.mine.crash()
			as(h.mine, caughtUp)
			h.mine.crash()
			return "A2"
		},
	} {
		for way, save := range waysToSave {
			for _, keep := range []Keep{KeepMine, KeepTheirs} {
				t.Run(fmt.Sprintf("%s/%s/%s", way, how, keep), func(t *testing.T) {
					w := newWorld(t)
					mine, desk := w.laptop, w.machine("desk")
					as(mine, write("f.txt", "0"), drained)
					as(desk, caughtUp, saveAs("f.txt", "A1"), drained)
					for i := range 10 {
						as(mine, save(fmt.Sprint("B", i+1))...)
						as(mine, fsync("f.txt"))
					}
					theirs := then(held{mine, desk})
					as(mine, drained)
					as(desk, caughtUp)
					as(mine, read("f.txt", theirs))
					copied := mine.copyOf("", "f.txt")
					as(mine, read(copied, "B10"))
					all := mine.unresolved()
					if len(all) != 1 || all[0].Mine.Gone || all[0].Theirs.Gone || strings.Join(all[0].Mine.Paths, " ") != "/"+copied {
						t.Fatalf("records: %+v", all)
					}
					as(desk, resolve(keep), drained)
					as(mine, caughtUp, missing(copied), read("f.txt", map[Keep]string{KeepMine: "B10", KeepTheirs: theirs}[keep]), lock)
				})
			}
		}
	}
}

// Who has a file open that was saved over and over goes on with what he opened: it is the
// copy, or what a program has replaced since.
func TestOpenWhileItIsSaved(t *testing.T) {
	t.Parallel()
	for way, save := range waysToSave {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t)
			mine, desk := w.laptop, w.machine("desk")
			as(mine, write("f.txt", "0"), drained)
			as(desk, caughtUp, saveAs("f.txt", "A1"), drained)
			var open []meta.Ref
			for i := range 5 {
				as(mine, save(fmt.Sprint("B", i+1))...)
				open = append(open, mine.opens("f.txt", true))
			}
			as(mine, caughtUp)
			for i, h := range open {
				as(mine, shows(h, fmt.Sprint("B", i+1)))
			}
			as(mine, puts(open[4], 0, "b"), synced(open[4]), puts(open[2], 0, "x"), shows(open[2], "x3"))
			copied := mine.copyOf("", "f.txt")
			as(mine, read(copied, "b5"), read("f.txt", "A1"), drained, shows(open[4], "b5"))
			for _, h := range open {
				as(mine, closes(h))
			}
			as(mine, lock)
			as(desk, caughtUp, read(copied, "b5"), read("f.txt", "A1"))
		})
	}
}

// What was saved last holds what the other machine has saved: there is nothing to choose.
// (Of what was exchanged that is left to --all-identical.)
func TestSavedTheSameInTheEnd(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"rename", "backup", "as vim"} {
		save := waysToSave[way]
		t.Run(way, func(t *testing.T) {
			w := newWorld(t)
			mine, desk := w.laptop, w.machine("desk")
			as(mine, write("f.txt", "0"), drained)
			as(desk, caughtUp, saveAs("f.txt", "the same"), drained)
			for _, content := range []string{"B1", "B2", "the same"} {
				as(mine, save(content)...)
			}
			as(mine, drained, read("f.txt", "the same"))
			names, _ := mine.list("")
			for _, name := range names {
				if strings.Contains(name, "conflict") {
					t.Errorf("there is %s", name)
				}
			}
			if all := mine.unresolved(); len(all) > 0 {
				t.Errorf("records: %+v", all)
			}
			as(mine, lock)
		})
	}
}

// Two machines save two files again and again, at once: at most a copy of each for a commit
// that came upon another's, a record of each copy, and what each saved last is there.
func TestTwoSaveAgainAndAgain(t *testing.T) {
	t.Parallel()
	for way, save := range map[string]func(path, content string) act{
		"rename": saveAs,
		"backup": func(path, content string) act {
			return series(rename(path, path+"~"), write(path+".new", content), rename(path+".new", path))
		},
	} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				both := []*machine{w.laptop, w.machine("desk")}
				as(both[0], write("f", "0"), write("g", "0"), drained)
				as(both[1], caughtUp)
				for _, m := range both {
					m.run()
				}
				before := len(w.names("l"))
				for i := range 40 {
					for _, m := range both {
						as(m, save("f", fmt.Sprint("f", m.name, i)), save("g", fmt.Sprint("g", m.name, i)))
						time.Sleep(150 * time.Millisecond)
					}
				}
				for _, m := range both {
					m.halt()
					as(m, drained)
				}
				commits := len(w.names("l")) - before
				as(both[0], caughtUp)
				all := both[0].unresolved()
				names, _ := both[0].list("")
				copies := map[string]bool{}
				for _, name := range names {
					if strings.Contains(name, "conflict") {
						copies["/"+name] = true
					}
				}
				if len(copies) == 0 || len(copies) > 2*commits || len(all) != len(copies) {
					t.Errorf("%d copies and %d records of %d commits: %q", len(copies), len(all), commits, names)
				}
				for _, c := range all {
					if c.Mine.Gone || !copies[strings.Join(c.Mine.Paths, " ")] {
						t.Errorf("a record of nothing: %+v", c)
					}
				}
				for _, m := range both {
					as(both[0], held("f"+m.name+"39"), held("g"+m.name+"39"))
				}
				if both[0].tree() != both[1].tree() {
					t.Error("the machines show different trees")
				}
			})
		})
	}
}
