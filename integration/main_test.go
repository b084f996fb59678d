package integration

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hushfs/hushfs/integration/crashwork"
)

// hushfs is the built program; work is the folder below which all tests work,
// open to other users.
var hushfs, work string

// envTask makes this test program another one: a worker that writes files (see
// worker, and the package crashwork), or a single case of posixtest.
const envTask = "HUSHFS_TEST_TASK"

func TestMain(m *testing.M) {
	if task := os.Getenv(envTask); task == "worker" {
		os.Exit(workerMain(os.Args[1:]))
	} else if task == "crashwork" {
		os.Exit(crashwork.Main(os.Args[1:]))
	} else if task == "posix" {
		os.Exit(m.Run())
	}
	os.Exit(prepared(m))
}

// prepared builds the program, checks what the tests need, and runs them.
func prepared(m *testing.M) int {
	// Who runs the tests may have these ignored (nohup, or & in a script), which processes
	// inherit, unless this one handles them.
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	for _, program := range []string{"fusermount3", "git", "cp", "diff", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			return fail("%s is missing: make setup", program)
		}
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return fail("%v: make setup", err)
	}
	f.Close()
	// A short path, for sockets; on a disk, for O_DIRECT and the room.
	if work, err = os.MkdirTemp("/var/tmp", "hush"); err != nil {
		return fail("%v", err)
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o755); err != nil {
		return fail("%v", err)
	}
	hushfs = filepath.Join(work, "hushfs")
	if out, err := exec.Command("go", "build", "-o", hushfs, "../cmd/hushfs").CombinedOutput(); err != nil {
		return fail("build hushfs: %v\n%s", err, out)
	}
	return m.Run()
}

func fail(format string, a ...any) int {
	fmt.Fprintf(os.Stderr, "integration: "+format+"\n", a...)
	return 1
}

// needRoot fails a test that only root can make: it takes part in the suite of
// whoever runs it as root, and says so to others.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this needs root (a file system or a mount of its own): run make test as root")
	}
}
