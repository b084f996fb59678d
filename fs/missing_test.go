package fs

import (
	"log/slog"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// That a name is not there the kernel may keep for long in a folder, which it looks up anew
// when everything may have changed. The root folder it never does.
func TestHowLongANameIsMissing(t *testing.T) {
	s := &Server{v: openVolume(t), log: slog.New(slog.DiscardHandler), nodes: newNodes()}
	if _, err := s.v.Make(t.Context(), meta.RootRef, []byte("d"), volume.Node{Kind: meta.Dir, Perm: 0o755}, false); err != nil {
		t.Fatal(err)
	}
	missing := func(dir uint64, name string) time.Duration {
		var out fuse.EntryOut
		if st := s.Lookup(nil, &fuse.InHeader{NodeId: dir}, name, &out); !st.Ok() || out.NodeId != 0 {
			t.Fatalf("%v, node %d", st, out.NodeId)
		}
		return out.EntryTimeout()
	}
	var d fuse.EntryOut
	if st := s.Lookup(nil, &fuse.InHeader{NodeId: rootID}, "d", &d); !st.Ok() {
		t.Fatal(st)
	}
	if got := missing(d.NodeId, "n"); got != valid {
		t.Errorf("in a folder: %v", got)
	}
	if got := missing(rootID, "n"); got > walked {
		t.Errorf("in the root folder: %v", got)
	}
}
