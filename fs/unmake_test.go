package fs

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store/mem"
)

// What could not be completed is taken away by its name only as long as that is its own:
// another machine may have been faster to give it.
func TestUnmakeTakesNothingOfOthers(t *testing.T) {
	s := &Server{v: openVolume(t), log: slog.New(slog.DiscardHandler), nodes: newNodes()}
	made := func(kind meta.Kind) volume.Attr {
		t.Helper()
		a, err := s.v.Make(t.Context(), meta.RootRef, []byte("n"), volume.Node{Kind: kind, Perm: 0o755}, false)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	there := func(a volume.Attr) bool {
		now, err := s.v.Lookup(t.Context(), meta.RootRef, []byte("n"))
		return err == nil && now.Ref == a.Ref
	}
	for _, kind := range []meta.Kind{meta.File, meta.Dir} {
		ours := made(kind)
		if s.unmake(meta.RootRef, "n", ours, false); there(ours) {
			t.Fatalf("%v: it is there still", kind)
		}
		// Where it is gone, so that its lists cannot be given to it, it is known all the same.
		if a, err := s.handDown(t.Context(), meta.RootRef, ours, acl{{aclUserObj, 7, aclNoID}, {aclGroupObj, 5, aclNoID}, {aclOther, 5, aclNoID}}); err == nil || a.Inode == nil {
			t.Errorf("%v: what is gone got its lists: %v, %v", kind, a, err)
		}
		theirs := made(kind)
		if s.unmake(meta.RootRef, "n", ours, false); !there(theirs) {
			t.Fatalf("%v: what another made is gone", kind)
		}
		s.unmake(meta.RootRef, "n", theirs, false)
	}
}

// openVolume is a volume of a new drive, of which nothing is published.
func openVolume(t *testing.T) *volume.Volume {
	t.Helper()
	b, state := mem.New(), filepath.Join(t.TempDir(), "state")
	_, err := drive.Create(t.Context(), b, drive.CreateOptions{
		Passphrase: []byte("open sesame"), KDF: keyslot.Params{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}, DeviceName: "laptop",
		StateDir: func(drive.ID) (string, error) { return state, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	u, err := drive.Unlock(t.Context(), b, drive.UnlockOptions{Passphrase: []byte("open sesame")})
	if err != nil {
		t.Fatal(err)
	}
	v, err := volume.Open(t.Context(), volume.Options{Bucket: b, Drive: u, State: state, Cache: t.TempDir(), CacheSize: -1, DeviceName: "laptop", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := v.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return v
}
