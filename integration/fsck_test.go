package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store/s3"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// Exit codes of fsck.
const (
	fsckDamaged  = 17
	fsckRepaired = 18
)

// fsckReport is what the tests want to know of hushfs fsck --json.
type fsckReport struct {
	Check  fsckCheck  `json:"check"`
	After  *fsckCheck `json:"after"`
	Repair *struct {
		Saved   []string `json:"saved"`
		Folder  string   `json:"folder"`
		Skipped []string `json:"skipped"`
	} `json:"repair"`
}

type fsckCheck struct {
	Drive  string `json:"drive"`
	Slot   uint64 `json:"slot"`
	Mode   string `json:"mode"`
	Seed   uint64 `json:"seed"`
	Whole  bool   `json:"whole"`
	Counts struct {
		Commits, Inodes, Names, Packs int
		Read                          int `json:"packs_read"`
		Earlier                       int `json:"packs_earlier"`
	} `json:"counts"`
	Findings []struct {
		Kind, Severity, Cause, Object, Detail string
		Files                                 []struct {
			Paths []string
			Size  uint64
			Lost  []struct{ Offset, Length uint64 }
		}
	} `json:"findings"`
}

// fsck runs hushfs fsck --json, which must end with code.
func (m *machine) fsck(code int, flags ...string) (r fsckReport) {
	m.t.Helper()
	args := append(append([]string{"fsck", "--json", "--passphrase-file", m.pass}, flags...), m.store)
	got := m.run(args...)
	if got.code != code {
		m.t.Fatalf("hushfs %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got.code, code, got.stdout, got.stderr)
	}
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		m.t.Fatalf("%v:\n%s", err, got.stdout)
	}
	return r
}

// A drive in a folder: whole, damaged, repaired, whole again.
func TestFsck(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	must(t, os.Mkdir(m.in("docs"), 0o755))
	must(t, writeSynced(m.in("docs", "letter.bin"), os.O_CREATE, pattern(1, 0, 400_000)))
	must(t, os.Link(m.in("docs", "letter.bin"), m.in("a second name")))
	m.ok("wait", m.mnt)
	packs := ofKind(t, m.store, "pack")
	must(t, writeSynced(m.in("other"), os.O_CREATE, pattern(2, 0, 400_000)))
	m.ok("wait", m.mnt)

	// Also while it is mounted; but then nothing is repaired.
	r := m.fsck(0)
	if c := r.Check; !c.Whole || c.Mode != "quick" || c.Slot < 3 || c.Counts.Inodes != 4 || c.Counts.Names != 4 || c.Counts.Packs < 2 || c.Counts.Read != 0 || len(c.Drive) != 52 || len(c.Findings) != 0 {
		t.Errorf("%+v", c)
	}
	m.refused(9, []string{m.mnt, "umount"}, "fsck", "--repair", "--yes", "--passphrase-file", m.pass, m.store)
	d.umount()

	// Without any state of this machine, and without leaving any; nor does it write to
	// the store.
	n := m.another()
	before := objects(t, m.store)
	if r = n.fsck(0, "--data"); r.Check.Counts.Read != r.Check.Counts.Packs || r.Check.Mode != "data" {
		t.Errorf("%+v", r.Check)
	}
	if r = n.fsck(0, "--sample", "1%", "--seed", "7"); r.Check.Counts.Read < 1 || r.Check.Seed != 7 {
		t.Errorf("%+v", r.Check)
	}
	if !slices.Equal(before, objects(t, m.store)) {
		t.Error("the store changed")
	}
	if found, _ := filepath.Glob(n.at("state", "hushfs", "*")); len(found) > 0 {
		t.Errorf("a state folder was made: %v", found)
	}
	if out := n.ok("fsck", "--passphrase-file", n.pass, n.store); !strings.Contains(out, "No damage.") {
		t.Errorf("it says: %s", out)
	}

	// One bit, which only reading finds.
	change(t, m.store, packs[0], func(b []byte) []byte { b[70_000] ^= 1; return b })
	m.fsck(0)
	r = m.fsck(fsckDamaged, "--data")
	f := r.Check.Findings[0]
	if len(r.Check.Findings) != 1 || f.Object != packs[0] || f.Kind != "pack" || f.Severity != "lost" || f.Cause != "altered" ||
		len(f.Files) != 1 || !slices.Equal(f.Files[0].Paths, []string{"/a second name", "/docs/letter.bin"}) ||
		len(f.Files[0].Lost) != 1 || f.Files[0].Lost[0] != struct{ Offset, Length uint64 }{65536, 65536} {
		t.Errorf("%+v", r.Check.Findings)
	}
	// The log of a machine never names a file.
	text := m.run("fsck", "--data", "--passphrase-file", m.pass, m.store)
	if text.code != fsckDamaged || !strings.Contains(text.stdout, "/docs/letter.bin") || !strings.Contains(text.stdout, packs[0]) || !strings.Contains(text.stdout, "65536 to 131071") || strings.Contains(text.stderr, "letter") {
		t.Errorf("exit code %d\n%s%s", text.code, text.stdout, text.stderr)
	}
	// Nobody there to be asked.
	if r := m.run("fsck", "--data", "--repair", "--passphrase-file", m.pass, m.store); r.code != 2 {
		t.Errorf("exit code %d without an answer", r.code)
	}
	r = m.fsck(fsckRepaired, "--data", "--repair", "--yes")
	if r.Repair == nil || len(r.Repair.Saved) != 2 || r.Repair.Folder != "/lost+found" || r.After == nil || len(r.After.Findings) != 0 {
		t.Errorf("%+v", r)
	}
	m.fsck(0, "--data")
	d = m.mount()
	want := pattern(1, 0, 400_000)
	clear(want[65536:131072])
	for _, name := range []string{"docs - letter (damaged).bin", "a second name (damaged)"} {
		if string(read(t, m.in("lost+found", name))) != string(want) {
			t.Errorf("%s does not hold what could be saved", name)
		}
	}
	if text := string(read(t, m.in("lost+found", "READ ME.txt"))); !strings.Contains(text, "/docs/letter.bin") || !strings.Contains(text, "65536 to 131071") {
		t.Errorf("the text says: %s", text)
	}
	if string(read(t, m.in("other"))) != string(pattern(2, 0, 400_000)) {
		t.Error("another file changed")
	}
	d.umount()
}

// Each kind of object, gone: it is named, with a code of its own.
func TestFsckNamesWhatIsGone(t *testing.T) {
	t.Parallel()
	whole := storeOfPieces(t)
	foldPieces(t, whole)
	for _, kind := range []string{"pack", "commit", "hint", "ledger", "table"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			n := newMachine(t)
			n.tool("cp", "-a", whole.store, n.store)
			all := ofKind(t, n.store, kind)
			object := all[len(all)/2]
			switch kind {
			case "hint":
				object = all[0] // the newest; of the others none is missed
			case "pack":
				for _, p := range all { // one that a file needs
					if i, err := os.Stat(filepath.Join(n.store, p)); err == nil && i.Size() > 300_000 {
						object = p
					}
				}
			}
			must(t, os.Remove(filepath.Join(n.store, object)))
			code := fsckDamaged
			if kind == "hint" {
				code = 0
			}
			r := n.fsck(code)
			if len(r.Check.Findings) == 0 {
				t.Fatal("nothing was found")
			}
			f := r.Check.Findings[0]
			if f.Kind != kind || kind != "hint" && (f.Object != object || f.Cause != "missing") || kind == "hint" && f.Cause != "stale" {
				t.Errorf("%+v, want %s", f, object)
			}
			if kind == "commit" {
				return // of history alone, and not to be had again
			}
			after := 0
			if code == fsckDamaged {
				after = fsckRepaired
			}
			n.fsck(after, "--repair", "--yes")
			n.fsck(0, "--data")
		})
	}
}

// The same on a bucket: what is away is no damage, and an interrupted check goes on
// where it was.
func TestFsckOfABucket(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	d := m.mount()
	for i := range 12 {
		must(t, writeSynced(m.in(fmt.Sprint("file", i)), os.O_CREATE, pattern(uint64(i), 0, 400_000)))
		m.ok("wait", m.mnt)
	}
	d.umount()
	packs := m.fsck(0).Check.Counts.Packs

	// The sixth pack and those after it hang; then a Ctrl-C.
	proxy := server.Proxy(t)
	n := m.another()
	n.settings = slices.Clone(m.settings)
	n.settings[0] = "AWS_ENDPOINT_URL=" + proxy.Endpoint
	var asked atomic.Int64
	late := func(r *http.Request) bool { return s3test.Gets("/p/")(r) && asked.Add(1) > 5 }
	proxy.Spoil(s3test.Where(late, s3test.Hang))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := n.command(ctx, hushfs, "fsck", "--data", "--json", "--passphrase-file", n.pass, n.store)
	var out strings.Builder
	c.Stdout = &out
	must(t, c.Start())
	eventually(t, "some packs are read and others wait", time.Minute, func() bool { return asked.Load() > 5+5 })
	must(t, c.Process.Signal(syscall.SIGINT))
	_ = c.Wait()
	if code := c.ProcessState.ExitCode(); code != 1 || !strings.Contains(out.String(), "goes on where it was") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
	proxy.Spoil()
	r := n.fsck(0, "--data")
	if k := r.Check.Counts; k.Earlier < 1 || k.Earlier > 5 || k.Earlier+k.Read != packs {
		t.Errorf("of %d packs: %+v", packs, k)
	}
	if r = n.fsck(0, "--data"); r.Check.Counts.Earlier != 0 || r.Check.Counts.Read != packs {
		t.Errorf("after the end of one: %+v", r.Check.Counts)
	}

	// A bucket that refuses everything has lost nothing.
	proxy.Spoil(s3test.Where(s3test.Gets("/p/"), s3test.Say(403, "AccessDenied")), s3test.Where(s3test.Lists, s3test.Say(403, "AccessDenied")))
	n.refused(11, []string{"denies"}, "fsck", "--data", "--passphrase-file", n.pass, n.store)
	proxy.Spoil()

	// One object lost, and one altered.
	l, err := s3.ParseLocation(m.store)
	must(t, err)
	b := server.OpenWith(t, s3.Options{Bucket: l.Bucket, Prefix: l.Prefix, Endpoint: server.Endpoint, CAFile: server.CAFile,
		Credentials: s3.NewCredentials(server.AccessKey, server.Secret, "")})
	var names []string
	for _, name := range m.inBucket(server) {
		if kindOf(name) == "pack" {
			names = append(names, name)
		}
	}
	object, err := b.Get(t.Context(), names[1], 0, -1)
	must(t, err)
	object[9] ^= 1
	for _, name := range names[:2] {
		must(t, b.Delete(t.Context(), name))
	}
	must(t, b.PutIfAbsent(t.Context(), names[1], object))
	r = m.fsck(fsckDamaged, "--data")
	causes := map[string]string{}
	for _, f := range r.Check.Findings {
		causes[f.Object] = f.Cause
	}
	if causes[names[0]] != "missing" || causes[names[1]] != "altered" || len(causes) != 2 {
		t.Errorf("%v", causes)
	}
	if r = m.fsck(fsckRepaired, "--data", "--repair", "--yes"); len(r.Repair.Saved) != 2 {
		t.Errorf("%+v", r.Repair)
	}
	m.fsck(0, "--data")
}
