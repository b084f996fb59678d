package fs

import (
	"bufio"
	"bytes"
	"fmt"
	"os"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// unsaid is the user of a request for which the kernel does not say whose it is. Where
// there may be mounts that show other numbers of users (idmapped ones), it says so of
// those alone that make an inode, and then what the number is in the drive.
const unsaid = 1<<32 - 1

// isRoot says whether a request is root's. Where the kernel does not say, it is asked
// about the process that waits for the answer.
func isRoot(in *fuse.InHeader) bool {
	if in.Uid != unsaid {
		return in.Uid == 0
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", in.Pid))
	if err != nil {
		return false // it is gone, or not to be seen from here
	}
	uid, ok := fsUID(status)
	return ok && uid == 0
}

// fsUID finds the user by whose number the kernel checks access, the last of four, in
// a process's status.
func fsUID(status []byte) (uid uint32, ok bool) {
	for s := bufio.NewScanner(bytes.NewReader(status)); s.Scan(); {
		var one, two, three uint32
		if n, _ := fmt.Sscanf(s.Text(), "Uid:\t%d\t%d\t%d\t%d", &one, &two, &three, &uid); n == 4 {
			return uid, true
		}
	}
	return 0, false
}
