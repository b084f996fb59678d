package machines

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/retry"
	"github.com/hushfs/hushfs/store/s3/s3test"
)

// measured is how long the machines of one row write.
const measured = 6 * time.Second

// BenchmarkMachines has 1 to 16 machines make small files, each of which its machine
// waits for to be in the store before it makes the next; one more machine looks on. Run
// it with -benchtime 1x.
func BenchmarkMachines(b *testing.B) {
	server := s3test.Start(b, s3test.MinIO)
	for _, way := range []time.Duration{0, 40 * time.Millisecond} {
		for _, n := range []int{1, 2, 4, 8, 16} {
			for _, tells := range []bool{false, true} {
				if tells && n != 1 && n != 16 {
					continue
				}
				name := fmt.Sprintf("%dms/%d", way.Milliseconds(), n)
				if tells {
					name += "/told"
				}
				b.Run(name, func(b *testing.B) {
					for b.Loop() {
						newFleet(b, server, n, way, tells).measure(b)
					}
				})
			}
		}
	}
}

// fleet is a drive and the machines that write to it, and one that looks on.
type fleet struct {
	writers []*volume.Volume
	viewer  *volume.Volume
	teller  *teller // nil: the store tells nothing

	mu      sync.Mutex // guards the fields below
	folders map[meta.Ino]meta.Ref
	stored  map[string]time.Time // when its machine knew that a file is in the store
	seen    map[string]time.Time // when the viewer was told of it
}

func newFleet(b *testing.B, server *s3test.Server, n int, way time.Duration, tells bool) *fleet {
	b.Helper()
	f := &fleet{folders: map[meta.Ino]meta.Ref{}, stored: map[string]time.Time{}, seen: map[string]time.Time{}}
	if tells {
		f.teller = &teller{to: map[*hearing]bool{}}
	}
	o := server.Options(b)
	bucket := func() store.Bucket {
		return retry.Wrap(far{server.OpenWith(b, o), way, f.teller}, retry.Options{Once: retry.Prefixes("v0/s/")})
	}
	ctx, pass, dir := b.Context(), []byte("open sesame"), b.TempDir()
	state := func(i int) string { return filepath.Join(dir, fmt.Sprint(i), "state") }
	_, err := drive.Create(ctx, bucket(), drive.CreateOptions{
		Passphrase: pass, KDF: keyslot.Params{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}, DeviceName: "0",
		StateDir: func(drive.ID) (string, error) { return state(0), nil },
	})
	must(b, err)
	first, err := drive.Unlock(ctx, bucket(), drive.UnlockOptions{Passphrase: pass})
	must(b, err)
	secret := first.Handover()
	first.Wipe()
	for i := range n + 1 {
		u, err := drive.FromHandover(secret)
		must(b, err)
		v, err := volume.Open(ctx, volume.Options{
			Bucket: bucket(), Drive: u, State: state(i), Cache: filepath.Join(dir, fmt.Sprint(i), "cache"),
			CacheSize: -1, DeviceName: fmt.Sprint(i), ReadOnly: i == n,
		})
		must(b, err)
		run, stop := context.WithCancel(context.Background())
		ended := make(chan struct{})
		if i < n {
			f.writers = append(f.writers, v)
		} else {
			f.viewer = v
			v.Watch(f)
		}
		go func() { defer close(ended); _ = v.Run(run) }()
		b.Cleanup(func() {
			_ = v.Shutdown(context.Background())
			stop()
			<-ended
		})
	}
	return f
}

var _ volume.Watcher = (*fleet)(nil)

// Knows implements volume.Watcher: the viewer looks at the folders.
func (f *fleet) Knows(ino meta.Ino) (meta.Ref, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ref, ok := f.folders[ino]
	return ref, ok
}

// Became implements volume.Watcher.
func (f *fleet) Became([]meta.Ref, meta.Ref, meta.Ref) {}

// Changed implements volume.Watcher: it notes what the viewer sees.
func (f *fleet) Changed(c volume.Change) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range c.Names {
		if _, ok := f.seen[string(n.Name)]; !ok {
			f.seen[string(n.Name)] = now
		}
	}
}

func (f *fleet) measure(b *testing.B) {
	folders := make([]meta.Ref, len(f.writers))
	for i, v := range f.writers { // makes devices of them
		a, err := v.Make(b.Context(), meta.RootRef, fmt.Appendf(nil, "folder %d", i), volume.Node{Kind: meta.Dir, Perm: 0o755}, false)
		must(b, err)
		must(b, v.WaitStored(b.Context()))
		folders[i] = a.Ref
		f.mu.Lock()
		f.folders[a.Ref.Ino] = a.Ref
		f.mu.Unlock()
	}
	waits := make([][]time.Duration, len(f.writers))
	ctx, cancel := context.WithTimeout(b.Context(), measured)
	defer cancel()
	before := f.writers[0].Status().Slot
	began := time.Now()
	var g sync.WaitGroup
	for i, v := range f.writers {
		g.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				name := fmt.Sprintf("file %d of %d", k, i)
				at := time.Now()
				if _, err := v.Make(b.Context(), folders[i], []byte(name), volume.Node{Kind: meta.File, Perm: 0o644}, false); err != nil {
					b.Errorf("machine %d: %v", i, err)
					return
				}
				if err := v.WaitStored(b.Context()); err != nil {
					b.Errorf("machine %d: %v", i, err)
					return
				}
				now := time.Now()
				waits[i] = append(waits[i], now.Sub(at))
				f.mu.Lock()
				f.stored[name] = now
				f.mu.Unlock()
			}
		})
	}
	g.Go(func() {
		for ctx.Err() == nil {
			f.viewer.Used()
			time.Sleep(time.Second)
		}
	})
	g.Wait()
	took := time.Since(began)
	var slots uint64
	for _, v := range f.writers {
		slots = max(slots, v.Status().Slot)
	}
	f.report(b, waits, slots-before, took)
}

func (f *fleet) report(b *testing.B, waits [][]time.Duration, slots uint64, took time.Duration) {
	var all []time.Duration
	least, most := len(waits[0]), 0
	for _, w := range waits {
		least, most = min(least, len(w)), max(most, len(w))
		all = append(all, w...)
	}
	// The viewer has not seen the last ones yet.
	f.viewer.Used()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if f.missing() == 0 {
			break
		}
	}
	if n := f.missing(); n > 0 {
		b.Errorf("%d files were never seen by who looks on", n)
	}
	var stale []time.Duration
	f.mu.Lock()
	for name, at := range f.stored {
		stale = append(stale, max(f.seen[name].Sub(at), 0))
	}
	f.mu.Unlock()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(slots)/took.Seconds(), "commits/s")
	b.ReportMetric(float64(len(all))/took.Seconds(), "files/s")
	b.ReportMetric(float64(least), "least")
	b.ReportMetric(float64(most), "most")
	for _, p := range []struct {
		name string
		of   []time.Duration
		at   float64
	}{{"wait-p50-ms", all, 0.5}, {"wait-p99-ms", all, 0.99}, {"wait-max-ms", all, 1}, {"stale-p50-ms", stale, 0.5}, {"stale-p99-ms", stale, 0.99}} {
		b.ReportMetric(float64(percentile(p.of, p.at).Microseconds())/1000, p.name)
	}
}

func (f *fleet) missing() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.stored {
		if _, ok := f.seen[name]; !ok {
			n++
		}
	}
	return n
}

func percentile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(int(p*float64(len(d))), len(d)-1)]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
