package s3test

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// What one test has, no other gets, and nobody whom the kernel gives a port.
func TestAddressesAreOnesOwn(t *testing.T) {
	first := firstGiven()
	var mine string
	had := map[string]bool{}
	t.Run("while they last", func(t *testing.T) {
		for range 100 {
			at, err := address(t)
			if err != nil {
				t.Fatal(err)
			}
			port := 0
			if _, err := fmt.Sscanf(at, "127.0.0.1:%d", &port); err != nil || port >= first || port < 1024 {
				t.Errorf("%s, of those below %d", at, first)
			}
			if had[at] {
				t.Errorf("%s is given twice", at)
			}
			had[at], mine = true, at
		}
		if l, err := net.Listen("unix", "@hushfs-s3test"+strings.Replace(mine, "127.0.0.1:", "-", 1)); err == nil {
			l.Close()
			t.Errorf("%s is locked by nobody", mine)
		}
	})
	l, err := net.Listen("unix", "@hushfs-s3test"+strings.Replace(mine, "127.0.0.1:", "-", 1))
	if err != nil {
		t.Fatalf("after the test: %v", err)
	}
	l.Close()
}
