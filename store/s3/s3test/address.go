package s3test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"
)

// ownPorts is how many ports servers get theirs from, and foundIn how often one is drawn.
const (
	ownPorts = 8000
	foundIn  = 1000
)

// address is a place on loopback that is one test's alone until it ends, also while its
// server is not up yet, or killed. A port that the kernel gives out by itself is nobody's
// then: another test's server or connection may have it when the server comes back. So it
// is one below these, and a socket of that number keeps other tests off.
func address(t testing.TB) (string, error) {
	first := firstGiven()
	for range foundIn {
		port := first - 1 - rand.IntN(min(ownPorts, first-1024))
		lock, err := net.Listen("unix", fmt.Sprintf("@hushfs-s3test-%d", port))
		if err != nil {
			continue // another test's
		}
		at := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", at)
		if err != nil {
			lock.Close() // somebody else's
			continue
		}
		l.Close()
		t.Cleanup(func() { lock.Close() })
		return at, nil
	}
	return "", errors.New("no port on loopback is free")
}

// firstGiven is the lowest port that the kernel gives out by itself.
func firstGiven() int {
	const usual = 32768
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return usual
	}
	first := 0
	if _, err := fmt.Sscan(string(b), &first); err != nil || first < 4096 {
		return usual // they are given out from everywhere: it may be lost
	}
	return first
}
