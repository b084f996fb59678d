package volume

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// alone opens the drive as one of a single writer, device 1 as made.
func (m *machine) alone(check bool) error {
	m.t.Helper()
	u, err := drive.FromHandover(m.unlock)
	if err != nil {
		m.t.Fatal(err)
	}
	o := Options{
		Bucket: m.bucket, Drive: u, State: m.state(), Cache: m.cache(), CacheSize: -1, ReadOnly: m.ro, DeviceName: m.name,
		UID: 1000, GID: 1000, Log: slog.New(slog.NewTextHandler(m.log, nil)), Writer: 1,
	}
	if check {
		defer u.Wipe()
		return MayWrite(context.Background(), o)
	}
	if m.v, err = Open(context.Background(), o); err != nil {
		u.Wipe()
		m.v = nil
	}
	return err
}

func (m *machine) mustWriteAlone(file, bytes string) {
	m.t.Helper()
	if err := m.alone(true); err != nil {
		m.t.Fatalf("%s may not write: %v", m.name, err)
	}
	if err := m.alone(false); err != nil {
		m.t.Fatalf("%s does not open: %v", m.name, err)
	}
	as(m, write(file, bytes), lock)
}

func (m *machine) mustNotWrite(words string) {
	m.t.Helper()
	for _, check := range []bool{true, false} {
		var not *NotWriter
		if err := m.alone(check); !errors.As(err, &not) || !errors.Is(err, ErrWriter) || !strings.Contains(err.Error(), words) {
			m.t.Fatalf("%s: %v, want %q", m.name, err, words)
		}
	}
}

// request is what the machine asks with.
func (m *machine) request() publish.Heir {
	m.t.Helper()
	u, err := drive.FromHandover(m.unlock)
	if err != nil {
		m.t.Fatal(err)
	}
	defer u.Wipe()
	st, _, err := state.Open(m.state(), u.Root(), u.ID, m.name)
	if err != nil {
		m.t.Fatal(err)
	}
	defer st.Wipe()
	text, err := st.Request()
	if err != nil {
		m.t.Fatal(err)
	}
	key, name, err := state.ParseRequest(u.Root(), u.ID, text)
	if err != nil {
		m.t.Fatal(err)
	}
	return publish.Heir{Key: key, Name: name}
}

// handOver hands the writing on, with one file written just before.
func (m *machine) handOver(to publish.Heir, file string) (meta.Device, error) {
	m.t.Helper()
	if err := m.alone(false); err != nil {
		m.t.Fatal(err)
	}
	as(m, write(file, file))
	m.run()
	no, err := m.v.HandOver(m.t.Context(), to)
	as(m, lock)
	return no, err
}

// The writing goes from one machine to another that never wrote, to a third, and
// back; each time the former writer is none at once, and nothing of its is lost.
func TestHandOver(t *testing.T) {
	w := newWorld(t)
	desktop, phone := w.machine("desktop"), w.machine("phone")
	w.laptop.mustWriteAlone("a", "1")
	desktop.mustNotWrite("single writer, device 1 (laptop), and this machine is another")

	no, err := w.laptop.handOver(desktop.request(), "b")
	if err != nil || no != 2 {
		t.Fatalf("handed on to device %d: %v", no, err)
	}
	w.laptop.mustNotWrite("single writer, device 2 (desktop), and this machine is device 1")
	phone.mustNotWrite("device 2 (desktop)")
	desktop.mustWriteAlone("c", "3")
	desktop.mustWriteAlone("d", "4")

	if no, err = desktop.handOver(phone.request(), "e"); err != nil || no != 3 {
		t.Fatalf("handed on to device %d: %v", no, err)
	}
	phone.mustWriteAlone("f", "6")
	desktop.mustNotWrite("device 3 (phone)")
	for _, c := range []struct {
		name string
		heir publish.Heir
	}{
		{"nobody of that name", publish.Heir{Name: "tablet"}},
		{"nobody of that number", publish.Heir{No: 9}},
		{"itself", publish.Heir{No: 3}},
		{"itself by name", publish.Heir{Name: "phone"}},
	} {
		if _, err := phone.handOver(c.heir, "g"); !errors.Is(err, publish.ErrHeir) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if no, err = phone.handOver(publish.Heir{Name: "laptop"}, "h"); err != nil || no != 1 {
		t.Fatalf("handed back to device %d: %v", no, err)
	}
	w.laptop.mustWriteAlone("i", "9")
	phone.ro = true
	if err := phone.alone(false); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{"a": "1", "b": "b", "c": "3", "d": "4", "e": "e", "f": "6", "g": "g", "h": "h", "i": "9"} {
		as(phone, read(file, content))
	}
}

// The answer to the hand-over gets lost, or it is lost itself, or the machine dies in
// the middle: either it is made, and the former writer is none, or the same commit is
// tried again. Never are there two.
func TestHandOverInterrupted(t *testing.T) {
	for fact, action := range map[string]fault.Action{
		"its answer is lost": fault.LostAnswer, "it is lost": fault.Fail(store.ErrUnavailable), "it comes late": fault.Late,
	} {
		t.Run(fact, func(t *testing.T) {
			w := newWorld(t)
			desktop := w.machine("desktop")
			w.laptop.mustWriteAlone("a", "1")
			heir := desktop.request()
			if err := w.laptop.alone(false); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			w.faults.Add(fault.On(fault.Put, 1, func(c context.Context, r fault.Request) fault.Answer {
				defer cancel()
				return action(c, r)
			}).Prefix("v0/s/"))
			if _, err := w.laptop.v.HandOver(ctx, heir); err == nil {
				t.Error("handed on without an answer")
			}
			w.laptop.crash()
			w.faults.Clear()
			w.faults.Deliver(t.Context())
			// The next open settles what was on its way. Then it is made, or made now.
			err := w.laptop.alone(false)
			var not *NotWriter
			switch {
			case errors.As(err, &not):
			case err != nil:
				t.Fatal(err)
			default:
				w.laptop.run()
				if no, err := w.laptop.v.HandOver(t.Context(), heir); err != nil || no != 2 {
					t.Fatalf("device %d, %v", no, err)
				}
				as(w.laptop, lock)
			}
			desktop.mustWriteAlone("b", "2")
			w.laptop.mustNotWrite("device 2")
		})
	}
}

// The one that handed it on and is shown the bucket of before cannot go on.
func TestHandOverRolledBack(t *testing.T) {
	w := newWorld(t)
	desktop := w.machine("desktop")
	w.laptop.mustWriteAlone("a", "1")
	before := w.objects.Clone()
	if _, err := w.laptop.handOver(desktop.request(), "b"); err != nil {
		t.Fatal(err)
	}
	w.laptop.bucket = before
	if err := w.laptop.alone(false); !errors.Is(err, ErrRollback) {
		t.Errorf("the former writer on the old bucket: %v", err)
	}
}

// A copy of a request's folder does not become the same device.
func TestHandOverToACopy(t *testing.T) {
	w := newWorld(t)
	desktop, twin := w.machine("desktop"), w.machine("twin")
	w.laptop.mustWriteAlone("a", "1")
	heir := desktop.request()
	if err := os.CopyFS(twin.state(), os.DirFS(desktop.state())); err != nil {
		t.Fatal(err)
	}
	if no, err := w.laptop.handOver(heir, "b"); err != nil || no != 2 {
		t.Fatalf("%d, %v", no, err)
	}
	twin.mustNotWrite("this machine is another")
	desktop.mustWriteAlone("c", "3")
}

// Who becomes a device by being handed the writing, and is called as another one is, gets
// a number behind the name, as all who join.
func TestHandOverToANamesake(t *testing.T) {
	w := newWorld(t)
	other := w.machine("laptop")
	w.laptop.mustWriteAlone("a", "1")
	if no, err := w.laptop.handOver(other.request(), "b"); err != nil || no != 2 {
		t.Fatalf("handed on to device %d: %v", no, err)
	}
	w.laptop.mustNotWrite("device 2 (laptop-2)")
	other.mustWriteAlone("c", "2")
	if no, err := other.handOver(publish.Heir{Name: "laptop"}, "d"); err != nil || no != 1 {
		t.Fatalf("handed back to device %d by its name: %v", no, err)
	}
	other.mustNotWrite("device 1 (laptop), and this machine is device 2")
}
