package fs

import (
	"os"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func TestCaller(t *testing.T) {
	for in, want := range map[string]uint32{
		"Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n": 4,
		"Uid:\t0\t0\t0\t4294967294\n":                    4294967294,
	} {
		if got, ok := fsUID([]byte(in)); !ok || got != want {
			t.Errorf("%q: %d, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "Uid:\t1\t2\t3\n", "Gid:\t1\t2\t3\t4\n"} {
		if got, ok := fsUID([]byte(in)); ok {
			t.Errorf("%q: %d", in, got)
		}
	}
	me := &fuse.InHeader{Caller: fuse.Caller{Owner: fuse.Owner{Uid: unsaid}, Pid: uint32(os.Getpid())}}
	if isRoot(me) != (os.Geteuid() == 0) {
		t.Error("wrong about this process")
	}
	if isRoot(&fuse.InHeader{Caller: fuse.Caller{Owner: fuse.Owner{Uid: unsaid}}}) || isRoot(&fuse.InHeader{Caller: fuse.Caller{Owner: fuse.Owner{Uid: 7}}}) {
		t.Error("somebody else is root")
	}
}
