package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/crypt/keyslot"
)

// daemonMemory is what a busy daemon was seen to take.
const daemonMemory = 320 << 20

// memory looks whether there is enough of it, and where it may be written to.
func (e *examination) memory() {
	e.begin("Memory")
	need, whose := e.kdf, "this drive's passphrase"
	if need == 0 {
		need, whose = uint64(keyslot.DefaultParams.MemoryKiB)<<10, "a passphrase"
	}
	free, from := e.available()
	text := fmt.Sprintf("%s are free (%s); %s takes %s while it is tried, a busy daemon up to some %s",
		size(int64(min(free, math.MaxInt64))), from, whose, size(int64(need)), size(daemonMemory))
	switch {
	case free == math.MaxUint64:
		e.ok("memory", "the system does not say how much is free")
	case free < 2*need:
		e.problem("memory", text, "The passphrase is not tried with less than twice that free", "End other programs, raise the limit, or unlock with the recovery words: hushfs mount --recovery-file F STORE DIR")
	case free < need+daemonMemory:
		e.warn("memory", text, "The system may end the daemon when memory runs out; what fsync acknowledged stays in the journal", "End other programs, or raise the limit.")
	default:
		e.ok("memory", "%s", text)
	}
	e.limits(need)
	e.swap()
}

// available is how much memory this process may take, and who says so.
func (e *examination) available() (free uint64, from string) {
	free, from = math.MaxUint64, "no limit is known"
	if n, err := strconv.ParseUint(strings.TrimSuffix(field(e.file("proc/meminfo"), "MemAvailable:"), " kB"), 10, 54); err == nil {
		free, from = n<<10, "of the machine"
	}
	if n := e.cgroup(); n < free {
		free, from = n, "of this control group"
	}
	return free, from
}

// cgroup is what the control groups of this process leave it, version 2 or 1.
func (e *examination) cgroup() uint64 {
	least := uint64(math.MaxUint64)
	for line := range strings.Lines(e.file("proc/self/cgroup")) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		top, limit, used := "", "", ""
		switch {
		case part[0] == "0" && part[1] == "":
			top, limit, used = "sys/fs/cgroup", "memory.max", "memory.current"
		case slices.Contains(strings.Split(part[1], ","), "memory"):
			top, limit, used = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
		default:
			continue
		}
		for at := filepath.Clean("/" + part[2]); ; at = filepath.Dir(at) {
			if n, ok := e.number(top + at + "/" + limit); ok {
				taken, _ := e.number(top + at + "/" + used)
				// What files have cached is given back when it is asked for.
				cached, _ := strconv.ParseUint(field(e.file(top+at+"/memory.stat"), "inactive_file "), 10, 64)
				least = min(least, n-min(n, taken-min(taken, cached)))
			}
			if at == "/" {
				break
			}
		}
	}
	return least
}

// number reads a file that holds one; "max" is none.
func (e *examination) number(path string) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(e.file(path)), 10, 64)
	return n, err == nil
}

// limits looks at those of the shell (ulimit).
func (e *examination) limits(need uint64) {
	of := func(resource int) unix.Rlimit {
		var l unix.Rlimit
		if unix.Getrlimit(resource, &l) != nil {
			return unix.Rlimit{Cur: math.MaxUint64, Max: math.MaxUint64}
		}
		return l
	}
	bad := false
	// Go reserves addresses freely; what it uses is far less.
	if l := of(unix.RLIMIT_AS).Cur; l < 4<<30+need {
		bad = true
		e.warn("limit-addresses", "the size of a process is limited to "+size(int64(l)), "The key derivation or the daemon may not get the memory it needs", "ulimit -v unlimited")
	}
	if l := of(unix.RLIMIT_FSIZE).Cur; l < 1<<30 {
		bad = true
		e.warn("limit-file-size", "the size of a file is limited to "+size(int64(l)), "Journal or cache may end the daemon by growing", "ulimit -f unlimited")
	}
	if l := of(unix.RLIMIT_NOFILE).Max; l < 1024 {
		bad = true
		e.warn("limit-files", fmt.Sprintf("a process may have %d files open", l), "The daemon may need more", "ulimit -n 4096")
	}
	if !bad {
		e.ok("limits", "the limits of this session (ulimit -v, -f, -n) are wide enough; -l does not matter, hushfs locks no memory")
	}
	e.ok("core", "no core file is written of hushfs, whatever ulimit -c says")
}

// swap looks whether memory is written to a disk in clear.
func (e *examination) swap() {
	lines := strings.Split(strings.TrimSpace(e.file("proc/swaps")), "\n")
	var open, sealed []string
	for _, line := range lines[min(1, len(lines)):] {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		name := strings.ReplaceAll(f[0], `\040`, " ")
		if e.encrypted(e.blockDevice(name), 0) {
			sealed = append(sealed, name)
		} else {
			open = append(open, name)
		}
	}
	switch {
	case len(open) > 0:
		e.warn("swap", "swap is not encrypted, as far as can be seen: "+strings.Join(open, ", "),
			"The kernel may write keys and contents of open drives there, also when the machine hibernates; who gets the disk can read them",
			"Encrypt swap (a line with swap and /dev/urandom in /etc/crypttab), use zram, or do without: swapoff")
	case len(sealed) > 0:
		e.ok("swap", "swap is encrypted or in memory: %s", strings.Join(sealed, ", "))
	default:
		e.ok("swap", "there is no swap")
	}
}

// blockDevice is the name in /sys/class/block of the device that name is, or lies
// on; "" when it cannot be told.
func (e *examination) blockDevice(name string) string {
	if rest, ok := strings.CutPrefix(name, "/dev/"); ok && !strings.Contains(rest, "/") {
		return rest
	}
	var st unix.Stat_t
	if unix.Stat(name, &st) != nil {
		return ""
	}
	dev := st.Dev
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		dev = st.Rdev
	}
	target, err := os.Readlink(filepath.Join(e.root, fmt.Sprintf("sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev))))
	if err != nil {
		return "" // as a file on btrfs, whose device is its own invention
	}
	return filepath.Base(target)
}

// encrypted reports whether what is written to a block device is sealed by it or
// by all that lie below it, or never leaves the memory.
func (e *examination) encrypted(name string, depth int) bool {
	if name == "" || depth > 8 {
		return false
	}
	if strings.HasPrefix(name, "zram") {
		// Unless it is told to write what is idle to a disk.
		backing := strings.TrimSpace(e.file("sys/class/block/" + name + "/backing_dev"))
		return backing == "" || backing == "none" || e.encrypted(filepath.Base(backing), depth+1)
	}
	if strings.HasPrefix(e.file("sys/class/block/"+name+"/dm/uuid"), "CRYPT-") {
		return true
	}
	below, err := os.ReadDir(filepath.Join(e.root, "sys/class/block", name, "slaves"))
	if err != nil || len(below) == 0 {
		return false
	}
	return !slices.ContainsFunc(below, func(d os.DirEntry) bool { return !e.encrypted(d.Name(), depth+1) })
}

// clock looks whether this machine's time can be right.
func (e *examination) clock() {
	e.begin("Clock and session")
	newest := time.Time{}
	if e.placed {
		logs, _ := filepath.Glob(filepath.Join(escapeGlob(e.where.state), "*", "*"))
		for _, path := range logs {
			if i, err := os.Lstat(path); err == nil && i.ModTime().After(newest) {
				newest = i.ModTime()
			}
		}
	}
	switch {
	case e.now.Year() < 2025:
		e.problem("clock", "this machine believes that it is "+e.now.Format(time.DateOnly), "Certificates and requests are refused, and files get wrong times", "Set the clock: timedatectl set-ntp true")
	case newest.Sub(e.now) > 5*time.Minute:
		e.warn("clock", fmt.Sprintf("the clock was set back: files of hushfs are %s younger than now", age(newest.Sub(e.now))), "Times of files, and of what waits, are wrong", "Set the clock: timedatectl set-ntp true")
	default:
		e.ok("clock", "it is %s here", e.now.UTC().Format("2006-01-02 15:04 MST"))
	}
}
