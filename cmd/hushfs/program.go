package main

import (
	"crypto/sha256"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/hushfs/hushfs/fs/meta"
)

// runningProgram finds out what this process is: the version that it says, and the hash
// of its executable, which takes a moment and is read beside everything else. It is
// known when it is known; nobody waits for it.
func runningProgram() func() (meta.Program, bool) {
	var mu sync.Mutex // guards p and known
	var p meta.Program
	known := false
	go func() {
		f, err := os.Open("/proc/self/exe") // what runs, also when the file was replaced
		if err != nil {
			return
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		p, known = meta.Program{Version: programName(), Hash: [32]byte(h.Sum(nil))}, true
	}()
	return func() (meta.Program, bool) {
		mu.Lock()
		defer mu.Unlock()
		return p, known
	}
}

// programName is version and platform. Executables of two platforms differ, whoever
// built them.
func programName() string {
	name := programVersion()
	if name == "" {
		name = "(unknown)"
	}
	name += " " + runtime.GOOS + "/" + runtime.GOARCH
	return name[:min(len(name), meta.MaxProgram)]
}
