package integration

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/hushfs/hushfs/store/s3"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// auditFound is the exit code of an audit that found something.
const auditFound = 20

// auditReport is what the tests want to know of hushfs audit-bucket --json.
type auditReport struct {
	Whole    bool
	Learned  struct{ Objects int }
	Looked   struct{ Objects int }
	Findings []struct{ Kind, Object, Detail string }
}

// account is what they want to know of each object.
type account struct {
	Object, Kind, State, Detail string
	Files                       []struct{ Paths []string }
}

// audit runs hushfs audit-bucket --json, which must end with code. No passphrase is
// given to it.
func (m *machine) audit(code int, flags ...string) (r auditReport) {
	m.t.Helper()
	got := m.run(append(append([]string{"audit-bucket", "--json"}, flags...), m.store)...)
	if got.code != code {
		m.t.Fatalf("exit code %d, want %d\n%s%s", got.code, code, got.stdout, got.stderr)
	}
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		m.t.Fatalf("%v:\n%s", err, got.stdout)
	}
	if !r.Whole {
		m.t.Fatalf("%+v", r)
	}
	return r
}

// accounts runs it with the key.
func (m *machine) accounts(flags ...string) map[string]account {
	m.t.Helper()
	out := m.ok(append(append([]string{"audit-bucket", "--json", "--passphrase-file", m.pass}, flags...), m.store)...)
	all := map[string]account{}
	for line := range strings.Lines(out) {
		var a account
		must(m.t, json.Unmarshal([]byte(line), &a))
		all[a.Object] = a
	}
	return all
}

// work leaves traces of a session: files, one of them deleted again.
func (m *machine) work() {
	m.t.Helper()
	d := m.mount()
	must(m.t, os.Mkdir(m.in("docs"), 0o755))
	must(m.t, writeSynced(m.in("docs", "letter.bin"), os.O_CREATE, pattern(1, 0, 400_000)))
	must(m.t, writeSynced(m.in("gone"), os.O_CREATE, pattern(2, 0, 400_000)))
	m.ok("wait", m.mnt)
	must(m.t, os.Remove(m.in("gone")))
	d.umount()
}

// accounted holds the accounts of all objects to those that there are.
func (m *machine) accounted(names []string) {
	m.t.Helper()
	all := m.accounts("--all")
	states := map[string]int{}
	letter := ""
	for _, n := range names {
		a, ok := all[n]
		if !ok || a.Kind == "unknown" {
			m.t.Errorf("%s: %+v", n, a)
		}
		states[a.State]++
		for _, f := range a.Files {
			if len(f.Paths) == 1 && f.Paths[0] == "/docs/letter.bin" {
				letter = n
			}
		}
	}
	if len(all) != len(names) || states["garbage"] == 0 || states["in use"] == 0 || letter == "" {
		m.t.Errorf("%d accounts of %d objects, %v, the letter is in %q", len(all), len(names), states, letter)
		return
	}
	text := m.ok("audit-bucket", "--explain", letter, "--passphrase-file", m.pass, m.store)
	if !strings.Contains(text, "/docs/letter.bin: bytes 0 to 399999") {
		m.t.Error(text)
	}
	m.refused(4, nil, "audit-bucket", "--explain", letter+"0", "--passphrase-file", m.pass, m.store)
}

func TestAuditFolder(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	m.work()
	n := m.another()
	before := objects(t, m.store)
	r := n.audit(0, "--data")
	if r.Learned.Objects != len(before) || r.Looked.Objects != len(before) || len(r.Findings) != 0 {
		t.Errorf("%+v, %d objects", r, len(before))
	}
	n.accounted(before)
	if text := n.ok("audit-bucket", n.store); !strings.Contains(text, "Nothing was found beyond that.") || strings.Contains(text, "letter") {
		t.Error(text)
	}
	must(t, os.WriteFile(m.store+"/v0/letter.txt", []byte("dear Ann"), 0o600))
	if r := n.audit(auditFound); len(r.Findings) != 1 || r.Findings[0].Object != "v0/letter.txt" {
		t.Errorf("%+v", r)
	}
	n.refused(2, nil, "audit-bucket", "--passphrase-file", n.pass, n.store)
	n.refused(2, nil, "audit-bucket", "--all", "--data", n.store)
}

func TestAuditBucket(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	m.work()
	names := m.inBucket(server)
	if r := m.audit(0, "--data"); r.Learned.Objects != len(names) || len(r.Findings) != 0 {
		t.Errorf("%+v, %d objects", r, len(names))
	}
	m.accounted(names)
	reader := m.another() // for whom reading is all that is allowed
	reader.settings = sessionOf(t, server, "s3:GetObject", "s3:ListBucket")
	if r := reader.audit(0, "--data"); r.Learned.Objects != len(names) || len(r.Findings) != 0 {
		t.Errorf("with credentials to read %+v, %d objects", r, len(names))
	}
	reader.accounted(names)

	l, err := s3.ParseLocation(m.store)
	must(t, err)
	_, err = server.Client(t).CopyObject(t.Context(),
		minio.CopyDestOptions{Bucket: l.Bucket, Object: l.Prefix + "/" + names[0], ReplaceMetadata: true, UserMetadata: map[string]string{"path": "/home/ann"}},
		minio.CopySrcOptions{Bucket: l.Bucket, Object: l.Prefix + "/" + names[0]})
	must(t, err)
	if r := m.audit(auditFound); len(r.Findings) != 1 || r.Findings[0].Kind != "metadata" || r.Findings[0].Object != names[0] {
		t.Errorf("%+v", r)
	}
}
