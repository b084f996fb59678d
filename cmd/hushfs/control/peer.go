package control

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// ErrPeer: the process at the other end of the socket belongs to somebody else.
var ErrPeer = errors.New("the other end of the control socket belongs to another user")

// peers lets in connections of this process's user and of root alone. The
// socket's mode says the same; this holds also where a folder was opened up by
// mistake.
type peers struct {
	net.Listener
	log *slog.Logger
}

func (p *peers) Accept() (net.Conn, error) {
	for {
		c, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peer(c)
		if err == nil && (uid == 0 || uid == os.Geteuid()) {
			return c, nil
		}
		p.log.Warn("control connection refused", "uid", uid, "err", err)
		c.Close()
	}
}

// checkServer is the same question asked from the client's side: root may speak
// to anybody's daemon, a user to its own or root's.
func checkServer(c net.Conn) error {
	uid, err := peer(c)
	if err != nil {
		return err
	}
	if me := os.Geteuid(); me != 0 && uid != me && uid != 0 {
		return fmt.Errorf("uid %d: %w", uid, ErrPeer)
	}
	return nil
}

// peer is the user id of the process at the other end, -1 when it is not known.
func peer(c net.Conn) (uid int, err error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return -1, errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return -1, err
	}
	var cred *unix.Ucred
	var inner error
	if err := raw.Control(func(fd uintptr) {
		cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return -1, err
	}
	if inner != nil {
		return -1, inner
	}
	return int(cred.Uid), nil
}
