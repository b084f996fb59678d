package integration

import (
	"bufio"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// Programs that people trust with their data work on a drive in a bucket, some
// of them killed, or the daemon under them. Then the drive is locked and mounted
// on a machine that has nothing but the keys and the passphrase; there the
// program itself has to find everything sound.
func TestPrograms(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	for _, c := range []struct {
		name  string
		needs []string
		user  func(testing.TB) *machine
		test  func(t *testing.T, m *machine)
	}{
		{"PostgreSQL", nil, ordinary, programPostgres}, // as root it refuses to run
		{"go build and go test", []string{"go"}, newMachine, programGo},
		{"SQLite with a rollback journal", []string{"sqlite3"}, ordinary, sqliteRollback.program},
		{"SQLite with a write-ahead log", []string{"sqlite3"}, ordinary, sqliteWAL.program},
		{"git", []string{"git"}, ordinary, programGit},
		{"a document is saved", nil, newMachine, programOffice},
		{"vim", []string{"vim.tiny"}, newMachine, programVim},
		{"flac and zip", []string{"flac", "metaflac", "zip", "unzip"}, newMachine, programSound},
		{"rsync", []string{"rsync"}, newMachine, programRsync},
		{"tar", []string{"tar"}, newMachine, programTar},
		{"append from four processes", nil, newMachine, programAppend},
		{"make", []string{"make"}, newMachine, programMake},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, name := range c.needs {
				if _, err := exec.LookPath(name); err != nil {
					t.Fatalf("%s is missing: make setup", name)
				}
			}
			m := c.user(t)
			m.store = "s3://" + server.MakeBucket(t) + "/drive"
			m.settings = settings(server)
			m.init()
			c.test(t, m)
		})
	}
}

// envProgramRounds is how often the databases are killed, and the daemon under them.
const envProgramRounds = "HUSHFS_PROGRAM_ROUNDS"

func programRounds(t *testing.T) int { return int(given(t, envProgramRounds, 1)) }

// revive is the same drive on the same machine after kill -9 of its daemon.
func (d *daemon) revive() *daemon {
	d.t.Helper()
	d.kill()
	return d.m.mount()
}

// A dialogue is a program that is given line after line and answers each: a
// shell, or that of a database. It is a process of the machine's user.
type dialogue struct {
	t       testing.TB
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan string   // its lines; closed at the end of its output
	gone    chan struct{} // closed when it has ended
}

// answered ends each answer.
const answered = "-- answered --"

// dialogue starts the program, which is killed at the end of the test if it is
// still there.
func (m *machine) dialogue(env []string, name string, args ...string) *dialogue {
	m.t.Helper()
	c := m.command(m.t.Context(), name, args...)
	c.Env = append(c.Env, env...)
	in, err := c.StdinPipe()
	must(m.t, err)
	r, w := io.Pipe()
	c.Stdout, c.Stderr = w, w // one after the other, as they come
	must(m.t, c.Start())
	p := &dialogue{t: m.t, cmd: c, in: in, answers: make(chan string, 64), gone: make(chan struct{})}
	go func() {
		c.Wait() // how it ended is in ProcessState
		w.Close()
		close(p.gone)
	}()
	go func() {
		defer close(p.answers)
		lines := bufio.NewReader(r)
		for {
			s, err := lines.ReadString('\n')
			if s != "" {
				p.answers <- strings.TrimSuffix(s, "\n")
			}
			if err != nil {
				return
			}
		}
	}()
	m.t.Cleanup(func() { p.kill() })
	return p
}

// errEnded is what ask returns when the program ends before it has answered.
var errEnded = errors.New("the program has ended")

// ask gives the program a line and returns what it prints, up to what the second
// line has it print: answered.
func (p *dialogue) ask(line, mark string) (string, error) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"+mark+"\n"); err != nil {
		return strings.Join(p.rest(), "\n"), errEnded
	}
	var all []string
	for {
		s, more := p.next()
		if !more {
			return strings.Join(all, "\n"), errEnded
		}
		if s == answered {
			return strings.Join(all, "\n"), nil
		}
		all = append(all, s)
	}
}

// next is the next line that the program prints; false when it has ended.
func (p *dialogue) next() (string, bool) {
	p.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case s, more := <-p.answers:
		return s, more
	case <-limit.C:
		p.t.Fatalf("%s says nothing for %v", p.cmd, patience)
		return "", false
	}
}

// line is next of a program that has to go on.
func (p *dialogue) line() string {
	p.t.Helper()
	s, more := p.next()
	if !more {
		p.t.Fatalf("%s has ended: %v", p.cmd, p.cmd.ProcessState)
	}
	return s
}

// rest is all that the program still prints until it ends.
func (p *dialogue) rest() (all []string) {
	p.t.Helper()
	for {
		s, more := p.next()
		if !more {
			<-p.gone
			return all
		}
		all = append(all, s)
	}
}

func (p *dialogue) ended() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// tell gives the program a line whose answer is not waited for.
func (p *dialogue) tell(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatalf("%s: %v\n%s", p.cmd, err, strings.Join(p.rest(), "\n"))
	}
}

// kill is kill -9; it returns what the program had printed before.
func (p *dialogue) kill() []string {
	p.t.Helper()
	p.cmd.Process.Kill() // it may have ended
	return p.rest()
}

// shell is a dialogue with sh in a folder.
type shell struct{ *dialogue }

func (m *machine) shell(dir string) shell {
	m.t.Helper()
	s := shell{m.dialogue(nil, "sh")}
	s.must("cd '" + dir + "'")
	return s
}

// try runs a command line in the shell; its exit code is the error.
func (s shell) try(line string) (string, error) {
	s.t.Helper()
	out, err := s.ask(line, `echo "code $?"; echo '`+answered+`'`)
	if err != nil {
		return out, err
	}
	lines := strings.Split(out, "\n")
	last := lines[len(lines)-1]
	out = strings.Join(lines[:len(lines)-1], "\n")
	if last != "code 0" {
		return out, errors.New("exit " + last)
	}
	return out, nil
}

// must is try of what must not fail.
func (s shell) must(line string) string {
	s.t.Helper()
	out, err := s.try(line)
	if err != nil {
		s.t.Fatalf("sh: %s: %v\n%s", line, err, out)
	}
	return out
}

// script runs lines in sh as the machine's user, in a folder.
func (m *machine) script(dir string, env []string, lines string, args ...string) string {
	m.t.Helper()
	return m.toolIn(dir, env, "sh", append([]string{"-euc", lines, "sh"}, args...)...)
}
