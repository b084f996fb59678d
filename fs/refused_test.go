package fs

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/mem"
)

// What a rename was to replace is not gone where another machine was faster: nothing says
// of it what it was.
func TestRefusedRenameLeavesNoMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, dir := mem.New(), t.TempDir()
		laptop, desk := filepath.Join(dir, "laptop"), filepath.Join(dir, "desk")
		_, err := drive.Create(t.Context(), b, drive.CreateOptions{
			Passphrase: []byte("open sesame"), KDF: keyslot.Params{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}, DeviceName: "laptop",
			StateDir: func(drive.ID) (string, error) { return laptop, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		v := openMachine(t, b, laptop)
		for _, name := range []string{"a", "b"} {
			if _, err := v.Make(t.Context(), meta.RootRef, []byte(name), volume.Node{Kind: meta.File, Perm: 0o644}, false); err != nil {
				t.Fatal(err)
			}
		}
		shut(t, v)

		v = openMachine(t, b, laptop)
		s := &Server{v: v, log: slog.New(slog.DiscardHandler), nodes: newNodes()}
		s.notify = newNotifier(&told{}, s)
		v.Watch(s.notify)
		over, err := v.Lookup(t.Context(), meta.RootRef, []byte("b"))
		if err != nil {
			t.Fatal(err)
		}
		id, _ := s.nodes.lookup(over.Ref, false, place{meta.RootRef, "b"}, s.nodes.now())

		other := openMachine(t, b, desk)
		if err := other.Rename(t.Context(), meta.RootRef, []byte("a"), meta.RootRef, []byte("theirs"), 0); err != nil {
			t.Fatal(err)
		}
		shut(t, other)

		said := make(chan fuse.Status, 1)
		go func() {
			said <- s.Rename(nil, &fuse.RenameIn{InHeader: fuse.InHeader{NodeId: rootID}, Newdir: rootID}, "a", "b")
		}()
		synctest.Wait() // it waits for the store
		if _, gone := s.nodes.gone(id, nil); !gone {
			t.Error("nothing is known of what was replaced, for who holds it still")
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- v.Run(ctx) }()
		if st := <-said; st != estale {
			t.Errorf("another machine took it, and the program hears %v", st)
		}
		if a, err := v.Lookup(t.Context(), meta.RootRef, []byte("b")); err != nil || a.Ref != over.Ref {
			t.Errorf("what was to be replaced: %v, %v", a.Ref, err)
		}
		if was, gone := s.nodes.gone(id, nil); gone {
			t.Errorf("it has its name, and is told to have %d", was.Inode.Nlink)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		shut(t, v)
	})
}

// openMachine opens the drive in b on a machine that wants names in the store.
func openMachine(t *testing.T, b store.Bucket, state string) *volume.Volume {
	t.Helper()
	u, err := drive.Unlock(t.Context(), b, drive.UnlockOptions{Passphrase: []byte("open sesame")})
	if err != nil {
		t.Fatal(err)
	}
	v, err := volume.Open(t.Context(), volume.Options{
		Bucket: b, Drive: u, State: state, Cache: state + "-cache", CacheSize: -1, DeviceName: filepath.Base(state),
		Remote: true, RemoteTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func shut(t *testing.T, v *volume.Volume) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := v.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}
