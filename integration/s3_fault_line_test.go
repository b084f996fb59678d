package integration

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// line is the network between a machine and a server: it passes bytes, slowly,
// not at all, or hangs up.
type line struct {
	t        testing.TB
	server   string // address
	listener net.Listener

	mu     sync.Mutex // guards the fields below
	moved  *sync.Cond
	speed  int // bytes a second each way of each connection; 0 holds everything, below 0 there is no limit
	refuse bool
	conns  map[net.Conn]bool
	ended  bool
	wg     sync.WaitGroup
}

const (
	unlimited = -1
	held      = 0
)

// newLine puts a line between the machine's settings and the server.
func newLine(t testing.TB, server *s3test.Server, m *machine) *line {
	t.Helper()
	at, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l := &line{t: t, server: strings.TrimPrefix(server.Endpoint, "http://"), listener: at, speed: unlimited, conns: map[net.Conn]bool{}}
	l.moved = sync.NewCond(&l.mu)
	l.wg.Go(l.accept)
	t.Cleanup(func() {
		l.mu.Lock()
		l.ended = true
		l.cut()
		l.mu.Unlock()
		l.moved.Broadcast()
		at.Close()
		l.wg.Wait()
	})
	for i, s := range m.settings {
		m.settings[i] = strings.Replace(s, server.Endpoint, "http://"+at.Addr().String(), 1)
	}
	return l
}

// cut breaks all connections; l is locked.
func (l *line) cut() {
	for c := range l.conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	clear(l.conns)
}

// set makes the line so fast from now on.
func (l *line) set(speed int) {
	l.mu.Lock()
	l.speed, l.refuse = speed, false
	l.mu.Unlock()
	l.moved.Broadcast()
}

// down breaks all connections and every one that comes.
func (l *line) down() {
	l.mu.Lock()
	l.refuse = true
	l.cut()
	l.mu.Unlock()
	l.moved.Broadcast()
}

func (l *line) accept() {
	for {
		c, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.serve(c) })
	}
}

func (l *line) serve(near net.Conn) {
	far, err := net.Dial("tcp", l.server)
	if err != nil || !l.add(near, far) {
		near.(*net.TCPConn).SetLinger(0)
		near.Close()
		if err == nil {
			far.Close()
		}
		return
	}
	l.wg.Go(func() { l.pass(near, far) })
	l.pass(far, near)
}

func (l *line) add(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.refuse {
		return false
	}
	for _, c := range conns {
		l.conns[c] = true
	}
	return true
}

// pass carries bytes until either end closes.
func (l *line) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 32<<10)
	for {
		n := len(b)
		if speed, ok := l.wait(); !ok {
			return
		} else if speed > 0 {
			n = min(n, max(speed/20, 1))
		}
		n, err := from.Read(b[:n])
		if n > 0 {
			speed, ok := l.wait()
			if !ok {
				return
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
			if speed > 0 {
				l.pause(time.Duration(n) * time.Second / time.Duration(speed))
			}
		}
		if err == io.EOF {
			to.(*net.TCPConn).CloseWrite()
		}
		if err != nil {
			return
		}
	}
}

// wait returns the speed, once there is one; false at the end.
func (l *line) wait() (speed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.speed == held && !l.ended && !l.refuse {
		l.moved.Wait()
	}
	return l.speed, !l.ended && !l.refuse
}

// pause lets d go by, less when the line changes.
func (l *line) pause(d time.Duration) {
	t := time.AfterFunc(d, l.moved.Broadcast)
	defer t.Stop()
	until := time.Now().Add(d)
	l.mu.Lock()
	defer l.mu.Unlock()
	for was := l.speed; time.Now().Before(until) && l.speed == was && !l.refuse && !l.ended; {
		l.moved.Wait()
	}
}
