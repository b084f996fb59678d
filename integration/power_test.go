package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/integration/crashwork"
	"github.com/hushfs/hushfs/integration/powerloss"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/dir"
	"github.com/hushfs/hushfs/store/mem"
)

// envImages is how many images of a long history the power tests try.
const envImages = "HUSHFS_POWER_IMAGES"

// The power fails at every point of a short history, and leaves what was synced,
// and then a part of the rest as well.
func TestPowerLossEverywhere(t *testing.T) {
	t.Parallel()
	seed := given(t, envSeed, rand.Uint64()>>16)
	t.Logf("%s=%d", envSeed, seed)
	p := newPower(t, seed)
	p.work(2, 12)
	p.d.kill()
	p.d = p.m.mount(p.flags...)
	p.d.umount()
	p.judgeAll(func(int, int) []powerloss.Mode {
		return []powerloss.Mode{powerloss.Nothing, powerloss.Mode(1 + p.r.IntN(int(powerloss.Modes)-1))}
	})
}

// The same at points of chance of a longer one, in which the daemon is killed as
// well, and what it left is used again.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	images := int(given(t, envImages, 200))
	seed := given(t, envSeed, rand.Uint64()>>16)
	t.Logf("%d images, %s=%d", images, envSeed, seed)
	p := newPower(t, seed)
	for range 2 {
		p.work(3, 60)
		p.d.kill()
		p.d = p.m.mount(p.flags...)
	}
	p.work(2, 40)
	p.d.umount()
	p.judgeAll(func(cut, of int) (all []powerloss.Mode) {
		// So many of those that are left to choose are chosen here, on average.
		for left := of - cut; images > 0 && p.r.IntN(left+images) < images; images-- {
			all = append(all, powerloss.Mode(p.r.IntN(int(powerloss.Modes))))
		}
		return all
	})
}

// power is a machine whose disk is recorded, and what its images are judged by.
type power struct {
	t     *testing.T
	m     *machine
	d     *daemon
	r     *rand.Rand
	seed  uint64
	flags []string
	under string // folder that is recorded
	rec   *powerloss.Recorder
	first int // events before the first cut
	ids   int // workers so far

	drive    []byte // see drive.Unlocked.Handover
	id       string // the drive's folder
	bucket   *mem.Bucket
	judged   int
	drained  int // of these, sent to the store and looked at from elsewhere
	mounted  int // of these, mounted by a daemon
	left     int // things that were left
	promised int // things that had to be
}

func newPower(t *testing.T, seed uint64) *power {
	t.Helper()
	p := &power{t: t, m: newMachine(t), seed: seed, r: rand.New(rand.NewPCG(seed, 1)), bucket: mem.New()}
	p.flags = []string{"--cache-size", "64MiB"}
	p.under = p.ground()
	disk := p.m.mkdir("disk")
	var err error
	p.rec, err = powerloss.Record(p.under, disk)
	must(t, err)
	t.Cleanup(func() { _, _ = p.rec.End() })
	for _, dir := range []string{"state", "cache", "notes"} {
		must(t, os.Mkdir(filepath.Join(disk, dir), 0o700))
	}
	must(t, syncFolder(disk))
	p.m.store = filepath.Join(disk, "store")
	p.m.settings = append(p.m.settings, "XDG_STATE_HOME="+filepath.Join(disk, "state"), "XDG_CACHE_HOME="+filepath.Join(disk, "cache"))
	p.m.init()
	p.unlock() // as it was made: a later header knows of slots that an image does not have
	p.d = p.m.mount(p.flags...)
	must(t, os.MkdirAll(p.m.in("work", crashwork.Shared), 0o755))
	must(t, writeSynced(p.m.in("work", crashwork.Log), os.O_CREATE, nil))
	for _, dir := range []string{p.m.in("work", crashwork.Shared), p.m.in("work"), p.m.mnt} {
		must(t, syncFolder(dir))
	}
	p.first = p.rec.History().Len()
	return p
}

// ground is a folder in memory if there is one: images are written by the
// thousand, and syncing them proves nothing.
func (p *power) ground() string {
	p.t.Helper()
	under, err := os.MkdirTemp("/dev/shm", "hush")
	if err != nil {
		under, err = os.MkdirTemp(work, "under")
	}
	must(p.t, err)
	p.t.Cleanup(func() { must(p.t, os.RemoveAll(under)) })
	return under
}

// work lets n more workers do count things each.
func (p *power) work(n, count int) {
	p.t.Helper()
	self, err := os.Executable()
	must(p.t, err)
	var all []*exec.Cmd
	for range n {
		o := crashwork.Options{ID: p.ids, Seed: p.seed + uint64(p.ids)<<8, Base: p.m.in("work"), Notes: p.m.at("disk", p.notes(p.ids)), Count: count}
		c := p.m.command(p.t.Context(), self, o.Args()...)
		c.Env = append(c.Env, envTask+"=crashwork", crashwork.Env)
		c.Stderr = new(strings.Builder)
		must(p.t, c.Start())
		all = append(all, c)
		p.ids++
	}
	for _, c := range all {
		c.Wait()
		if c.ProcessState.ExitCode() != 0 {
			p.t.Fatalf("a worker ended with code %d: %s", c.ProcessState.ExitCode(), c.Stderr)
		}
	}
}

func (p *power) notes(id int) string { return fmt.Sprint("notes/", id) }

// judgeAll ends the recording, goes over the history, and judges the images that
// modes asks for at each of so many points.
func (p *power) judgeAll(modes func(cut, of int) []powerloss.Mode) {
	p.t.Helper()
	h, err := p.rec.End()
	must(p.t, err)
	disk := powerloss.NewDisk(h)
	began := time.Now()
	for cut := 0; ; cut++ {
		e := disk.Step()
		if e == nil {
			break
		}
		p.follow(disk, e)
		if cut < p.first {
			continue
		}
		for _, mode := range modes(cut-p.first, h.Len()-p.first) {
			p.judge(disk, cut, mode)
			if p.t.Failed() {
				p.t.Fatalf("seed %d, power lost after event %d of %d, left: %v", p.seed, cut, h.Len(), mode)
			}
		}
	}
	took := time.Since(began)
	p.t.Logf("%d events, %d images (%.0f a minute), %d of them sent and seen from elsewhere, %d mounted; of the things that programs had done %d were left, %d had to be",
		h.Len(), p.judged, float64(p.judged)/took.Minutes(), p.drained, p.mounted, p.left, p.promised)
}

// unlock finds the drive in what was recorded.
func (p *power) unlock() {
	p.t.Helper()
	found, err := filepath.Glob(filepath.Join(p.under, "state", "hushfs", "*"))
	must(p.t, err)
	if len(found) != 1 {
		p.t.Fatalf("%d state folders", len(found))
	}
	p.id = filepath.Base(found[0])
	b, err := dir.Open(filepath.Join(p.under, "store"), dir.Options{ReadOnly: true})
	must(p.t, err)
	defer b.Close()
	u, err := drive.Unlock(p.t.Context(), b, drive.UnlockOptions{Passphrase: []byte(passphrase)})
	must(p.t, err)
	defer u.Wipe()
	p.drive = u.Handover()
}

// follow keeps the bucket as the store was at the disk's point. The store is no
// part of what loses power.
func (p *power) follow(disk *powerloss.Disk, e *powerloss.Event) {
	p.t.Helper()
	path := disk.Named(e)
	name, ok := strings.CutPrefix(path, "store/")
	if !ok || strings.HasPrefix(name, dir.TempFolder) {
		return
	}
	if b, ok := disk.Read(path); ok {
		if err := p.bucket.PutIfAbsent(p.t.Context(), name, b); !errors.Is(err, store.ErrName) {
			must(p.t, err)
		}
	}
}

// Of the images every drainEvery-th is sent to the store and looked at from
// elsewhere, and every mountEvery-th mounted by a daemon.
const (
	drainEvery = 20
	mountEvery = 100
)

// judge draws an image, opens the drive on it and compares what is there with what
// the workers had noted by then. That this machine has not been started anew since
// lets the cache trust what it would throw away: a harder test than the real thing.
func (p *power) judge(disk *powerloss.Disk, cut int, mode powerloss.Mode) {
	p.t.Helper()
	p.judged++
	image := disk.Draw(mode, p.r)
	state, near := p.write(image)
	bucket := p.bucket.Clone()
	v, log := p.open(bucket, state, near)
	if v == nil {
		return
	}
	seen, err := lookAt(v)
	if err != nil {
		p.t.Errorf("the drive cannot be read: %v", err)
	}
	p.compare(disk, seen)
	if s := v.Status(); len(s.Damaged)+len(s.Warnings) > 0 || s.Stopped != "" || s.Device != 1 {
		p.t.Errorf("device %d, damaged %q, warnings %q, stopped %q", s.Device, s.Damaged, s.Warnings, s.Stopped)
	}
	p.close(v, bucket, seen)
	if p.judged%mountEvery == 0 {
		p.mount(disk, image)
	}
	if p.t.Failed() {
		p.t.Logf("log:\n%s", log)
	}
}

// write puts an image where state and cache were.
func (p *power) write(image *powerloss.Image) (state, near string) {
	p.t.Helper()
	for _, kind := range []string{"state", "cache"} {
		folder := filepath.Join(p.under, kind, "hushfs", p.id)
		must(p.t, os.MkdirAll(folder, 0o700))
		_, err := image.Write(kind+"/hushfs/"+p.id, folder)
		must(p.t, err)
	}
	return filepath.Join(p.under, "state", "hushfs", p.id), filepath.Join(p.under, "cache", "hushfs", p.id)
}

// compare judges all workers by what they had noted.
func (p *power) compare(disk *powerloss.Disk, seen map[string]*crashwork.Seen) {
	p.t.Helper()
	for id := range p.ids {
		b, _ := disk.Read(p.notes(id))
		notes, err := crashwork.Read(bytes.NewReader(b))
		must(p.t, err)
		j := crashwork.Judge(id, &crashwork.Past{}, notes, seen, false)
		for _, w := range j.Wrong {
			p.t.Errorf("worker %d: %s\nit had noted:\n%s\nthere is: %s", id, w, last(string(b), 24), crashwork.Names(id, seen))
		}
		p.left, p.promised = p.left+j.Left, p.promised+j.Firm
	}
	for _, w := range crashwork.CheckLog(p.ids, seen[crashwork.Log]) {
		p.t.Error(w)
	}
}

// last are the last lines of a text.
func last(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// mount does the same by a daemon, which has files of its own in the state folder.
func (p *power) mount(disk *powerloss.Disk, image *powerloss.Image) {
	p.t.Helper()
	p.mounted++
	p.write(image)
	n := newMachine(p.t)
	n.settings = []string{"XDG_STATE_HOME=" + filepath.Join(p.under, "state"), "XDG_CACHE_HOME=" + filepath.Join(p.under, "cache")}
	objects, err := p.bucket.List(p.t.Context(), "", "", 1<<20)
	must(p.t, err)
	for _, o := range objects {
		b, err := p.bucket.Get(p.t.Context(), o.Name, 0, -1)
		must(p.t, err)
		path := filepath.Join(n.store, o.Name)
		must(p.t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(p.t, os.WriteFile(path, b, 0o644))
	}
	d := n.mount(p.flags...)
	seen, err := crashwork.Look(n.in("work"))
	must(p.t, err)
	p.compare(disk, seen)
	d.umount()
}

// open opens the drive in this process, as a daemon would. It is not to fail.
func (p *power) open(b *mem.Bucket, state, near string) (*volume.Volume, *bytes.Buffer) {
	p.t.Helper()
	u, err := drive.FromHandover(p.drive)
	must(p.t, err)
	log := new(bytes.Buffer)
	v, err := volume.Open(p.t.Context(), volume.Options{
		Bucket: b, Drive: u, State: state, Cache: near, CacheSize: 64 << 20, UID: 1000, GID: 1000,
		DeviceName: "image", Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		u.Wipe()
		p.t.Errorf("the drive does not open: %v\n%s", err, log)
		return nil, log
	}
	return v, log
}

// close leaves the drive as a kill would, or, now and then, sends everything and
// looks at it with a machine that has only the store.
func (p *power) close(v *volume.Volume, bucket *mem.Bucket, seen map[string]*crashwork.Seen) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	if p.judged%drainEvery != 0 {
		cancel()
	} else {
		p.drained++
	}
	err := v.Shutdown(ctx)
	if p.judged%drainEvery != 0 {
		if err != nil && !errors.Is(err, volume.ErrUndrained) && !errors.Is(err, context.Canceled) {
			p.t.Errorf("close: %v", err)
		}
		return
	}
	must(p.t, err)
	elsewhere := p.t.TempDir()
	n, _ := p.open(bucket, filepath.Join(elsewhere, "state"), filepath.Join(elsewhere, "cache"))
	if n == nil {
		return
	}
	there, err := lookAt(n)
	must(p.t, err)
	if err := n.Shutdown(ctx); err != nil {
		p.t.Error(err)
	}
	for path, s := range seen {
		if o := there[path]; o == nil || !bytes.Equal(o.Content, s.Content) || o.Ino != s.Ino || o.Mode != s.Mode || o.To != s.To || o.Links != s.Links || !maps.Equal(o.Attrs, s.Attrs) {
			p.t.Errorf("%s is not the same elsewhere", path)
		}
	}
	if len(there) != len(seen) {
		p.t.Errorf("%d names elsewhere, %d here", len(there), len(seen))
	}
}

// lookAt is crashwork.Look of the folder work of a volume that is not mounted.
func lookAt(v *volume.Volume) (map[string]*crashwork.Seen, error) {
	ctx := context.Background()
	base, err := v.Lookup(ctx, meta.RootRef, []byte("work"))
	if err != nil {
		return nil, err
	}
	all := map[string]*crashwork.Seen{}
	return all, lookIn(ctx, v, base.Ref, "", all)
}

func lookIn(ctx context.Context, v *volume.Volume, folder meta.Ref, path string, all map[string]*crashwork.Seen) error {
	entries, err := v.List(ctx, folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		a, err := v.Attr(ctx, e.Ref)
		if err != nil {
			return err
		}
		name := filepath.Join(path, string(e.Name))
		s := &crashwork.Seen{Ino: uint64(e.Ref.Ino), Mode: uint32(a.Inode.Perm), Links: int(a.Inode.Nlink)}
		all[name] = s
		switch a.Inode.Kind {
		case meta.Dir:
			s.Kind = 'd'
			if err := lookIn(ctx, v, e.Ref, name, all); err != nil {
				return err
			}
		case meta.Symlink:
			s.Kind, s.To = 'l', string(a.Inode.Target)
		case meta.File:
			s.Kind, s.Content = 'f', make([]byte, a.Inode.Size)
			_, s.Err = v.Read(ctx, e.Ref, 0, s.Content)
		}
		if s.Attrs, err = attributes(ctx, v, e.Ref); err != nil {
			return err
		}
	}
	return nil
}

func attributes(ctx context.Context, v *volume.Volume, ref meta.Ref) (map[string]string, error) {
	names, err := v.Xattrs(ctx, ref)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for name := range bytes.SplitSeq(names, []byte{0}) {
		if !bytes.HasPrefix(name, []byte("user.a")) {
			continue
		}
		value, err := v.Xattr(ctx, ref, name)
		if err != nil {
			return nil, err
		}
		all[string(name)] = string(value)
	}
	return all, nil
}
