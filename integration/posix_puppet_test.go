package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A puppet is a process, perhaps of another user, that makes system calls when it
// is told to, one after the other. It is this test program with a task.
type puppet struct {
	t      testing.TB
	pid    int
	orders *json.Encoder
	answer *json.Decoder
	end    func()
}

// order is one system call. Open files have numbers that the test chooses.
type order struct {
	Do   string
	ID   int
	To   int
	Path string
	New  string
	Text octets
	N    []int64
}

// octets are any bytes; JSON's strings are not.
type octets string

func (b octets) MarshalJSON() ([]byte, error) { return json.Marshal([]byte(b)) }

func (b *octets) UnmarshalJSON(j []byte) error {
	var raw []byte
	err := json.Unmarshal(j, &raw)
	*b = octets(raw)
	return err
}

// answer is what came of it: an errno, 0 for none.
type answer struct {
	Errno syscall.Errno
	Text  octets
	N     []int64
}

// envPuppet makes TestPuppet one.
const envPuppet = "HUSHFS_PUPPET"

// puppet starts a process of the user uid, or of whoever runs the tests for -1. It
// ends with the test.
func (m *machine) puppet(uid int) *puppet {
	m.t.Helper()
	in, orders, err := os.Pipe()
	must(m.t, err)
	answers, out, err := os.Pipe()
	must(m.t, err)
	user := *m
	user.uid = uid
	c := user.command(m.t.Context(), testProgram(m.t), "-test.run", "^TestPuppet$")
	c.Env = append(c.Env, envTask+"=posix", envPuppet+"=1")
	c.ExtraFiles = []*os.File{in, out}
	must(m.t, c.Start())
	p := &puppet{t: m.t, pid: c.Process.Pid, orders: json.NewEncoder(orders), answer: json.NewDecoder(answers)}
	must(m.t, errors.Join(in.Close(), out.Close()))
	ended := false
	p.end = func() {
		if ended {
			return
		}
		ended = true
		if err := c.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			m.t.Error(err)
		}
		c.Wait() // killed, as it should be
		must(m.t, errors.Join(orders.Close(), answers.Close()))
	}
	m.t.Cleanup(p.end)
	return p
}

// testProgram is this test program at a place where every user can start it.
func testProgram(t testing.TB) string {
	t.Helper()
	path := filepath.Join(work, "tests")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	self, err := os.Executable()
	must(t, err)
	from, err := os.Open(self)
	must(t, err)
	defer from.Close()
	to, err := os.CreateTemp(work, "tests*")
	must(t, err)
	_, err = io.Copy(to, from)
	must(t, errors.Join(err, to.Chmod(0o755), to.Close()))
	must(t, os.Rename(to.Name(), path))
	allExecuted() // nobody has it open to write
	return path
}

// begin gives an order and does not wait.
func (p *puppet) begin(o order) {
	p.t.Helper()
	must(p.t, p.orders.Encode(o))
}

// outcome waits for the answer to the order that was begun.
func (p *puppet) outcome() answer {
	p.t.Helper()
	var a answer
	must(p.t, p.answer.Decode(&a))
	return a
}

func (p *puppet) do(o order) answer {
	p.t.Helper()
	p.begin(o)
	return p.outcome()
}

// want does what o says, which must come to errno.
func (p *puppet) want(errno syscall.Errno, o order) answer {
	p.t.Helper()
	a := p.do(o)
	if a.Errno != errno {
		p.t.Errorf("%s: %v, want %v", strings.TrimSpace(fmt.Sprint(o.Do, " ", o.N)), error(a.Errno), error(errno))
	}
	return a
}

// waits returns when the puppet is within the system call of the given number.
func (p *puppet) waits(call int) {
	p.t.Helper()
	eventually(p.t, fmt.Sprint("a process waits in system call ", call), patience, func() bool {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", p.pid))
		must(p.t, err)
		for _, task := range tasks {
			b, err := os.ReadFile(task)
			if err == nil && strings.HasPrefix(string(b), fmt.Sprint(call, " ")) {
				return true
			}
		}
		return false
	})
}

// TestPuppet is what such a process runs; it has nothing to do otherwise.
func TestPuppet(t *testing.T) {
	if os.Getenv(envPuppet) == "" {
		return
	}
	unix.Umask(0o022)
	orders, answers := json.NewDecoder(os.NewFile(3, "orders")), json.NewEncoder(os.NewFile(4, "answers"))
	files := map[int]int{}
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		a, err := obey(files, o)
		if err != nil && !errors.As(err, &a.Errno) {
			t.Fatal(err)
		}
		must(t, answers.Encode(a))
	}
}

// obey makes a system call.
func obey(files map[int]int, o order) (a answer, err error) {
	n := func(i int) int64 {
		if i < len(o.N) {
			return o.N[i]
		}
		return 0
	}
	fd := files[o.ID]
	switch o.Do {
	case "open": // flags, mode
		if fd, err = unix.Open(o.Path, int(n(0))|unix.O_CLOEXEC, uint32(n(1))); err == nil {
			files[o.ID] = fd
		}
	case "close":
		delete(files, o.ID)
		err = unix.Close(fd)
	case "dup":
		if fd, err = unix.Dup(fd); err == nil {
			files[o.To] = fd
		}
	case "flock": // how
		err = again(func() error { return unix.Flock(fd, int(n(0))) })
	case "fcntl": // command, type, start, length
		l := unix.Flock_t{Type: int16(n(1)), Start: n(2), Len: n(3)}
		err = again(func() error { return unix.FcntlFlock(uintptr(fd), int(n(0)), &l) })
		a.N = []int64{int64(l.Type), l.Start, l.Len, int64(l.Pid)}
	case "pwrite": // offset
		_, err = unix.Pwrite(fd, []byte(o.Text), n(0))
	case "pread": // offset, length
		b := make([]byte, n(1))
		var got int
		got, err = unix.Pread(fd, b, n(0))
		a.Text = octets(b[:max(got, 0)])
	case "copy": // offset, offset in To, length
		from, to := n(0), n(1)
		var got int
		got, err = unix.CopyFileRange(fd, &from, files[o.To], &to, int(n(2)), 0)
		a.N = []int64{int64(got)}
	case "mkdir": // mode
		err = unix.Mkdir(o.Path, uint32(n(0)))
	case "mknod": // mode, device
		err = unix.Mknod(o.Path, uint32(n(0)), int(n(1)))
	case "symlink":
		err = unix.Symlink(string(o.Text), o.Path)
	case "link":
		err = unix.Link(o.Path, o.New)
	case "unlink":
		err = unix.Unlink(o.Path)
	case "rmdir":
		err = unix.Rmdir(o.Path)
	case "rename": // flags
		err = unix.Renameat2(unix.AT_FDCWD, o.Path, unix.AT_FDCWD, o.New, uint(n(0)))
	case "chmod": // mode
		err = unix.Chmod(o.Path, uint32(n(0)))
	case "chown": // uid, gid
		err = unix.Lchown(o.Path, int(n(0)), int(n(1)))
	case "utimes": // seconds
		at := unix.Timespec{Sec: n(0)}
		err = unix.UtimesNanoAt(unix.AT_FDCWD, o.Path, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	case "truncate": // size
		err = unix.Truncate(o.Path, n(0))
	case "access": // mode
		err = unix.Faccessat(unix.AT_FDCWD, o.Path, uint32(n(0)), unix.AT_EACCESS)
	case "setxattr": // flags; the name is New
		err = unix.Lsetxattr(o.Path, o.New, []byte(o.Text), int(n(0)))
	case "removexattr":
		err = unix.Lremovexattr(o.Path, o.New)
	case "listxattr":
		b := make([]byte, 64<<10)
		var got int
		got, err = unix.Llistxattr(o.Path, b)
		a.Text = octets(b[:max(got, 0)])
	case "stat": // gives mode, uid, gid
		var st unix.Stat_t
		err = unix.Lstat(o.Path, &st)
		a.N = []int64{int64(st.Mode), int64(st.Uid), int64(st.Gid)}
	default:
		err = fmt.Errorf("no such order: %s", o.Do)
	}
	return a, err
}
