package volume

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
)

// What waits was sealed under the key of an epoch that the store does not have any more, or
// has with another key: it is shown and exported, also after the machine looked before.
func TestExportBehindAnotherEpoch(t *testing.T) {
	for name, removed := range map[string][]int{
		"another key of that number": {3},
		"none of that number":        {3, 4},
	} {
		t.Run(name, func(t *testing.T) {
			w, desk, old := twoMachines(t)
			for _, name := range []string{"third", "fourth"} {
				as(w.machine(name), write(name, "1"), lock)
			}
			for _, no := range removed {
				as(desk, remove(no), lock)
			}
			as(desk, write("precious", big), fsync("precious"))
			desk.crash()
			w.laptop.bucket, desk.bucket = old, old
			w.laptop.mustAccept()
			as(w.laptop, remove(2), lock)

			for range 2 {
				as(desk.reading(true), read("precious", big))
				to := filepath.Join(t.TempDir(), "export")
				if x, err := desk.v.ExportPending(t.Context(), to); err != nil || len(x.Failed) > 0 || x.Files != 1 {
					t.Errorf("%+v, %v", x, err)
				}
				if b, err := os.ReadFile(filepath.Join(to, "precious")); err != nil || string(b) != big {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			}
			// Should the store come back, it is sent.
			desk.bucket = w.faults
			as(desk.reading(false), lock)
			as(w.machine("fresh"), read("precious", big))
		})
	}
}

// A look at what waits changes nothing of the journal that it waits in, nor of what lies
// beside that: a pack which a look fills is none of it, and the keys of the store that was
// set back are none that it is sealed under.
func TestLookingBehindLeavesTheJournal(t *testing.T) {
	most := strings.Repeat("x", inlineMax)
	for name, lost := range map[string]string{
		"it is whole":        "",
		"the keys are lost":  keysFile,
		"the packs are lost": "packs/*", // all comes from the journal, and fills another
	} {
		t.Run(name, func(t *testing.T) {
			w, desk, old := removedBehind(t)
			desk.bucket = w.faults
			for i := range 20 {
				as(desk, write(fmt.Sprint(i), most), fsync(fmt.Sprint(i)))
			}
			desk.crash()
			desk.bucket = old
			journals, err := filepath.Glob(filepath.Join(desk.state(), "journal-*"))
			if err != nil || len(journals) != 1 {
				t.Fatal(journals, err)
			}
			if lost != "" {
				files, err := filepath.Glob(filepath.Join(journals[0], lost))
				if err != nil || len(files) == 0 {
					t.Fatal(files, err)
				}
				for _, f := range files {
					noError(t, os.Remove(f))
				}
			}
			was := t.TempDir()
			copyFolder(t, journals[0], was)
			for range 2 {
				as(desk.reading(true), read("19", most), read("d2/tail", "small"))
				desk.crash()
			}
			scratch := filepath.Base(pack.Path("", meta.MakePack(2, meta.MaxCounter-1))) // the next mount removes it
			if out, err := exec.Command("diff", "-r", "-x", scratch, was, journals[0]).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
