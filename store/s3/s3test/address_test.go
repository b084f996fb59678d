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
	had := map[string]bool{}
	lock := func(at string) error {
		l, err := net.Listen("unix", "@hushfs-s3test"+strings.Replace(at, "127.0.0.1:", "-", 1))
		if err == nil {
			l.Close()
		}
		return err
	}
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
			had[at] = true
		}
		for at := range had {
			if lock(at) == nil {
				t.Errorf("%s is locked by nobody", at)
			}
		}
	})
	free := 0
	for at := range had {
		if lock(at) == nil {
			free++
		}
	}
	if free < len(had)/2 { // a few another process may have by now
		t.Errorf("after the test %d of %d are free", free, len(had))
	}
}
