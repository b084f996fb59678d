package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Environment variables of tests that crash a daemon at every one of its steps, or look at
// it while something is on its way.
const (
	envFailpoint = "HUSHFS_FAILPOINT"  // "name" or "name:3": SIGKILL at that step, the 3rd time
	envSteps     = "HUSHFS_STEPS_FILE" // each step's name is appended here when it is first met
	envHeld      = "HUSHFS_HELD_STORE" // no PUT reaches the store while this file is there
)

// steps watches a daemon's steps for a test.
type steps struct {
	name string // the failpoint; empty when there is none
	nth  int
	file string // of names; empty when none is asked for

	mu   sync.Mutex // guards the fields below
	hits int
	seen map[string]bool
}

// newSteps reads the environment; the function that it returns is
// volume.Options.Step, nil outside of tests.
func newSteps(env func(string) string) (func(string), error) {
	s := &steps{nth: 1, file: env(envSteps), seen: map[string]bool{}}
	s.name = env(envFailpoint)
	if s.name == "" && s.file == "" {
		return nil, nil
	}
	if name, n, ok := strings.Cut(s.name, ":"); ok {
		nth, err := strconv.Atoi(n)
		if err != nil || nth < 1 || name == "" {
			return nil, usage("%s is no name:number", envFailpoint)
		}
		s.name, s.nth = name, nth
	}
	if s.file != "" {
		b, err := os.ReadFile(s.file)
		if err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("%s: %w", envSteps, err)
		}
		for _, name := range strings.Fields(string(b)) {
			s.seen[name] = true
		}
	}
	return s.step, nil
}

func (s *steps) step(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != "" && !s.seen[name] {
		s.seen[name] = true
		s.note(name)
	}
	if name != s.name {
		return
	}
	if s.hits++; s.hits == s.nth {
		s.die()
	}
}

// note appends a name to the file; a test that gets no list fails by that.
func (s *steps) note(name string) {
	f, err := os.OpenFile(s.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, name)
}

// die is kill -9: no deferred call, no handler, no buffer is flushed. It does
// not return, so that nothing happens after the step.
func (s *steps) die() {
	if err := unix.Kill(unix.Getpid(), unix.SIGKILL); err != nil {
		panic(err)
	}
	select {}
}
