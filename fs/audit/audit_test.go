package audit_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/audit"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/dir"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/s3"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// bucket is what an audit needs, and a place to put things.
type bucket interface {
	store.Bucket
	store.Surveyor
}

// world is a store with a small drive in it.
type world struct {
	t   *testing.T
	b   bucket
	dir string // of a store in a directory
	vol crypt.VolumeID
	key *crypt.Key
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inDirectory is a drive in a directory.
func inDirectory(t *testing.T) *world {
	t.Helper()
	place := t.TempDir()
	b, err := dir.Open(place, dir.Options{})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	w := &world{t: t, b: b, dir: place}
	w.fill()
	return w
}

func (w *world) fill() {
	w.t.Helper()
	_, err := drive.Create(w.t.Context(), w.b, drive.CreateOptions{
		Passphrase: []byte("open sesame"), KDF: keyslot.Params{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}, DeviceName: "laptop",
		StateDir: func(drive.ID) (string, error) { return w.t.TempDir(), nil },
	})
	must(w.t, err)
	page, err := w.b.List(w.t.Context(), "v0/s/", "", 1)
	must(w.t, err)
	w.vol, err = crypt.ParseVolumeID(strings.Split(page[0].Name, "/")[2])
	must(w.t, err)
	w.key = crypt.NewKey()
	for _, n := range []int{1, 100, 70_000, 3 << 20} {
		w.pack(bytes.Repeat([]byte("all the same "), n/13+1)[:n])
	}
}

// sealed makes an object.
func (w *world) sealed(typ crypt.Type, content []byte) (crypt.Name, []byte) {
	w.t.Helper()
	object, name, err := crypt.NewSealer(w.key, w.vol, typ, 1).Seal(nil, content)
	must(w.t, err)
	return name, bytes.Clone(object)
}

// pack puts a pack, and returns its name in the store.
func (w *world) pack(content []byte) string {
	name, object := w.sealed(crypt.TypePack, content)
	return w.put(chain.PackName(w.vol, name), object)
}

func (w *world) put(name string, object []byte) string {
	w.t.Helper()
	must(w.t, w.b.PutIfAbsent(w.t.Context(), name, object))
	return name
}

func (w *world) audit(o audit.Options) *audit.Report {
	w.t.Helper()
	o.Place = w.b
	r, err := audit.Run(w.t.Context(), o)
	must(w.t, err)
	if !r.Whole {
		w.t.Fatal("the audit did not come to its end")
	}
	return r
}

// tail makes the end of an object whose segments are these, as if they were sealed:
// what somebody writes who knows the format and seals nothing.
func tail(typ crypt.Type, segments ...[]byte) []byte {
	var b []byte
	for _, s := range segments {
		sum := sha256.Sum256(s)
		b = append(b, sum[:]...)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(segments)))
	b = append(b, "HUSH\x00\x01"...)
	b = append(b, byte(typ), 0, 0, 0, 0, 1)
	return append(b, chance(64)...)
}

func chance(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// dressed is content in an envelope that seals nothing, under its right name.
func (w *world) dressed(content []byte) string {
	content = append(content, chance(int(crypt.Padme(int64(len(content))))-len(content)+16)...)
	object := append(content, tail(crypt.TypePack, content)...)
	t, err := crypt.ParseTail(object)
	must(w.t, err)
	return w.put(chain.PackName(w.vol, t.Name()), object)
}

func archive(t *testing.T) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create("letter.txt")
	must(t, err)
	_, err = f.Write(chance(3000))
	must(t, err)
	must(t, z.Close())
	return b.Bytes()
}

func TestCleanDrive(t *testing.T) {
	t.Parallel()
	w := inDirectory(t)
	for _, o := range []audit.Options{{}, {Data: true}, {Sample: 0.5, Seed: 3}} {
		r := w.audit(o)
		if !r.Clean() {
			t.Errorf("%+v: %+v", o, r.Findings)
		}
		if r.Looked.Tests == 0 || r.Looked.FalseAlarm <= 0 || r.Looked.FalseAlarm > 1e-9 {
			t.Errorf("%+v: %+v", o, r.Looked)
		}
		if part := o.Sample > 0; part != (r.Looked.Objects < r.Learned.Objects) {
			t.Errorf("%+v: %d of %d objects were opened", o, r.Looked.Objects, r.Learned.Objects)
		}
	}
}

func TestWhatIsLearned(t *testing.T) {
	t.Parallel()
	w := inDirectory(t)
	r := w.audit(audit.Options{})
	l := r.Learned
	if len(l.Drives) != 1 || len(l.Volumes) != 1 || len(l.Ways) != 2 && len(l.Ways) != 1 {
		t.Fatalf("%+v", l)
	}
	v := l.Volumes[0]
	if v.ID != w.vol.String() || v.Commits.Count != 1 || v.Commits.Days != 1 || v.Commits.BusiestDay != 1 || v.Boxes != 16 || v.Principals != 1 {
		t.Errorf("%+v", v)
	}
	if len(v.Epochs) != 1 || v.Epochs[0].Epoch != 1 || v.Epochs[0].Objects < 6 {
		t.Errorf("epochs %+v", v.Epochs)
	}
	kinds := map[audit.Kind]int{}
	total := int64(0)
	for _, k := range l.Kinds {
		kinds[k.Kind] = k.Objects
		total += k.Bytes
	}
	if kinds[audit.Pack] != 4 || kinds[audit.Header] != 1 || kinds[audit.Commit] != 1 || kinds[audit.Hint] != 1 || total != l.Bytes {
		t.Errorf("%+v", l.Kinds)
	}
	if !strings.HasPrefix(l.Ways[0].Type, "passphrase, Argon2id 19 MiB") {
		t.Errorf("%+v", l.Ways)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// planted are objects of every bad class.
var planted = []struct {
	what  string
	plant func(w *world) string
	kinds []audit.Finds // those that must be found, and no others
}{
	{"a file in clear", func(w *world) string { return w.put("notes.txt", []byte("dear diary, today I wrote a test")) },
		[]audit.Finds{audit.BadName}},
	{"a file beside the packs", func(w *world) string {
		return w.put(chain.PackPrefix(w.vol)+"ab/holiday.zip", archive(w.t))
	}, []audit.Finds{audit.BadName}},
	{"random bytes under the name of a pack", func(w *world) string {
		return w.put(chain.PackName(w.vol, crypt.Name(chance(32))), chance(int(crypt.ObjectSize(1000))))
	}, []audit.Finds{audit.BadShape}},
	{"JSON in a slot", func(w *world) string {
		return w.put(chain.SlotName(w.vol, 9), []byte(`{"name":"letter to the bank.odt"}`+strings.Repeat(" ", 400)))
	}, []audit.Finds{audit.BadSize, audit.BadShape}},
	{"a pack that is not padded", func(w *world) string {
		content := chance(1001 + 16)
		object := append(content, tail(crypt.TypePack, content)...)
		t, err := crypt.ParseTail(object)
		must(w.t, err)
		return w.put(chain.PackName(w.vol, t.Name()), object)
	}, []audit.Finds{audit.BadSize}},
	{"text in an envelope", func(w *world) string {
		return w.dressed([]byte("The quick brown fox jumps over the lazy dog, and goes on to the river."))
	}, []audit.Finds{audit.NotChance}},
	{"a page of text amid sealed bytes", func(w *world) string {
		return w.dressed(slices.Concat(chance(20_000), bytes.Repeat([]byte("secret "), 600), chance(20_000)))
	}, []audit.Finds{audit.NotChance}},
	{"a PNG in an envelope", func(w *world) string {
		return w.dressed(append([]byte("\x89PNG\r\n\x1a\n"), chance(2000)...))
	}, []audit.Finds{audit.Signed}},
	{"a pack under another name", func(w *world) string {
		_, object := w.sealed(crypt.TypePack, []byte("one"))
		return w.put(chain.PackName(w.vol, crypt.Name(chance(32))), object)
	}, []audit.Finds{audit.BadName}},
	{"a table where packs are", func(w *world) string {
		name, object := w.sealed(crypt.TypeTable, []byte("one"))
		return w.put(chain.PackName(w.vol, name), object)
	}, []audit.Finds{audit.BadShape}},
	{"a flipped bit", func(w *world) string {
		name, object := w.sealed(crypt.TypePack, chance(5000))
		object[2000] ^= 1
		return w.put(chain.PackName(w.vol, name), object)
	}, []audit.Finds{audit.Altered}},
	{"one commit in two slots", func(w *world) string {
		object, err := w.b.Get(w.t.Context(), chain.SlotName(w.vol, 1), 0, -1)
		must(w.t, err)
		return w.put(chain.SlotName(w.vol, 2), object)
	}, []audit.Finds{audit.SameSalt}},
	{"a hint of text", func(w *world) string {
		return w.put(chain.HintName(w.vol, 5), []byte(strings.Repeat("where a new machine begins ", 50)))
	}, []audit.Finds{audit.BadShape}},
	{"a hint with boxes in clear", func(w *world) string {
		object := w.hint()
		copy(object[46:], make([]byte, 600))
		return w.put(chain.HintName(w.vol, 5), object)
	}, []audit.Finds{audit.NotChance, audit.SameSalt}},
	{"a hint with boxes out of order", func(w *world) string {
		object := w.hint()
		first := bytes.Clone(object[46 : 46+1168])
		copy(object[46:], object[46+1168:46+2*1168])
		copy(object[46+1168:], first)
		return w.put(chain.HintName(w.vol, 5), object)
	}, []audit.Finds{audit.BadShape, audit.SameSalt}},
	{"a header of zeros", func(w *world) string {
		return w.put(keyslot.ObjectName(7), make([]byte, 500))
	}, []audit.Finds{audit.BadShape}},
	{"a header with a keyring in clear", func(w *world) string {
		object, err := w.b.Get(w.t.Context(), keyslot.ObjectName(1), 0, -1)
		must(w.t, err)
		h, err := keyslot.Decode(object)
		must(w.t, err)
		h.Counter, h.Keyring = 7, []byte(strings.Repeat(`{"seed":"none"}`, 20))
		return w.put(keyslot.ObjectName(7), h.Encode())
	}, []audit.Finds{audit.NotChance}},
	{"an empty pack", func(w *world) string {
		return w.put(chain.PackName(w.vol, crypt.Name(chance(32))), nil)
	}, []audit.Finds{audit.BadSize, audit.BadShape}},
	{"an object of a newer version", func(w *world) string {
		name, object := w.sealed(crypt.TypePack, []byte("one"))
		object[len(object)-72] = 9
		return w.put(chain.PackName(w.vol, name), object)
	}, []audit.Finds{audit.BadShape}},
}

func (w *world) hint() []byte {
	object, err := w.b.Get(w.t.Context(), chain.HintName(w.vol, 0), 0, -1)
	must(w.t, err)
	return object
}

// found are the kinds of what was found of an object; of copies, either may be told of.
func found(r *audit.Report, name string) []audit.Finds {
	var kinds []audit.Finds
	for _, f := range r.Findings {
		if f.Object == name || f.Kind == audit.SameSalt {
			kinds = append(kinds, f.Kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

func (w *world) plantAll(t *testing.T) {
	for _, p := range planted {
		t.Run(p.what, func(t *testing.T) {
			above := w.t
			w.t = t
			defer func() { w.t = above }()
			name := p.plant(w)
			r := w.audit(audit.Options{Data: true})
			want := slices.Sorted(slices.Values(p.kinds))
			if got := found(r, name); !slices.Equal(got, want) || len(r.Findings) != len(want) {
				t.Errorf("found %v, want %v: %+v", got, want, r.Findings)
			}
			must(t, w.b.Delete(t.Context(), name))
			if r := w.audit(audit.Options{Data: true}); !r.Clean() {
				t.Errorf("still there when it is gone: %+v", r.Findings)
			}
		})
	}
}

func TestPlanted(t *testing.T) {
	t.Parallel()
	inDirectory(t).plantAll(t)
}

func TestBesideFiles(t *testing.T) {
	t.Parallel()
	w := inDirectory(t)
	name := w.pack([]byte("two"))
	must(t, unix.Setxattr(filepath.Join(w.dir, name), "user.comment", []byte("holiday in Rome"), 0))
	must(t, os.Symlink("/etc/passwd", filepath.Join(w.dir, "v0", "link")))
	must(t, os.WriteFile(filepath.Join(w.dir, "v0", "Übersicht.ods"), []byte("PK\x03\x04..."), 0o600))
	r := w.audit(audit.Options{})
	text := fmt.Sprintf("%+v", r.Findings)
	for _, want := range []string{`attribute "user.comment" says "holiday in Rome"`, "it is no file", "a ZIP archive"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not told: %s", want, text)
		}
	}
	if len(r.Findings) != 3 {
		t.Errorf("%+v", r.Findings)
	}
}

// A store that goes away ends the audit; what was found by then is told.
func TestStoreGoesAway(t *testing.T) {
	t.Parallel()
	w := inDirectory(t)
	w.put("notes.txt", []byte("dear diary"))
	sick := broken{Surveyor: w.b, Bucket: fault.Wrap(w.b, fault.On(fault.Get, 1, fault.Fail(store.ErrUnavailable)).Onwards())}
	r, err := audit.Run(t.Context(), audit.Options{Place: sick})
	if err == nil || r.Whole {
		t.Errorf("%v, whole %v", err, r.Whole)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := audit.Run(ctx, audit.Options{Place: w.b}); err == nil || r.Whole {
		t.Errorf("cancelled: %v", err)
	}
}

// broken surveys well and gives nothing.
type broken struct {
	store.Surveyor
	store.Bucket
}

func TestBuckets(t *testing.T) {
	s := s3test.Start(t, s3test.MinIO)
	o := s.Options(t)
	o.Prefix = "some/where"
	w := &world{t: t, b: s.OpenWith(t, o)}
	w.fill()
	if r := w.audit(audit.Options{Data: true}); !r.Clean() {
		t.Fatalf("%+v", r.Findings)
	}
	w.plantAll(t)

	c := s.Client(t)
	_, object := w.sealed(crypt.TypePack, []byte("three"))
	end, err := crypt.ParseTail(object)
	must(t, err)
	name := chain.PackName(w.vol, end.Name())
	for _, add := range []struct {
		what string
		o    minio.PutObjectOptions
		want string
	}{
		{"content type", minio.PutObjectOptions{ContentType: "image/png"}, `header "Content-Type" says "image/png"`},
		{"encoding", minio.PutObjectOptions{ContentType: "application/octet-stream", ContentEncoding: "gzip"}, `header "Content-Encoding" says "gzip"`},
		{"disposition", minio.PutObjectOptions{ContentDisposition: "attachment; filename=letter.odt"}, `filename=letter.odt`},
		{"user metadata", minio.PutObjectOptions{UserMetadata: map[string]string{"Path": "/home/ann/letter.odt"}}, `metadata "path" says "/home/ann/letter.odt"`},
		{"tag", minio.PutObjectOptions{UserTags: map[string]string{"project": "divorce"}}, `tag "project" says "divorce"`},
	} {
		_, err := c.PutObject(t.Context(), o.Bucket, "some/where/"+name, bytes.NewReader(object), int64(len(object)), add.o)
		must(t, err)
		r := w.audit(audit.Options{})
		if len(r.Findings) != 1 || r.Findings[0].Kind != audit.Beside || r.Findings[0].Object != name || !strings.Contains(r.Findings[0].Detail, add.want) {
			t.Errorf("%s: %+v", add.what, r.Findings)
		}
		if r.Learned.Versions == nil || r.Learned.Versions.Older != 0 {
			t.Errorf("versions %+v", r.Learned.Versions)
		}
		must(t, w.b.Delete(t.Context(), name))
	}
	// A key that is no name of a store.
	for _, key := range []string{"Notes from 2026.txt", "v0/h/.hidden", "ünder"} {
		_, err := c.PutObject(t.Context(), o.Bucket, "some/where/"+key, strings.NewReader("dear diary"), 10, minio.PutObjectOptions{})
		must(t, err)
		r := w.audit(audit.Options{})
		if len(r.Findings) != 1 || r.Findings[0].Kind != audit.BadName || r.Findings[0].Object != key || !strings.Contains(r.Findings[0].Detail, "it is text") {
			t.Errorf("%s: %+v", key, r.Findings)
		}
		must(t, c.RemoveObject(t.Context(), o.Bucket, "some/where/"+key, minio.RemoveObjectOptions{}))
	}
	// Versions that the bucket keeps.
	must(t, c.EnableVersioning(t.Context(), o.Bucket))
	for range 3 {
		_, err := c.PutObject(t.Context(), o.Bucket, "some/where/"+name, bytes.NewReader(object), int64(len(object)), minio.PutObjectOptions{})
		must(t, err)
	}
	must(t, w.b.Delete(t.Context(), name))
	r := w.audit(audit.Options{})
	if v := r.Learned.Versions; v == nil || v.Older != 3 || v.Markers != 1 || v.Bytes != 3*int64(len(object)) {
		t.Errorf("versions %+v", v)
	}
	// Reading is all that is needed.
	access, secret, token := s.Session(t, `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::`+o.Bucket+`"]},
		{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::`+o.Bucket+`/*"]}]}`)
	reader := o
	reader.Credentials = s3.NewCredentials(access, secret, token)
	w.b = s.OpenWith(t, reader)
	if r := w.audit(audit.Options{}); !r.Clean() || r.Learned.Objects == 0 {
		t.Errorf("%+v, %d objects", r.Findings, r.Learned.Objects)
	}
}
