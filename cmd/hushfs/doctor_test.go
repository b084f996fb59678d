package main

import (
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sick is an examination of a machine that is made of files.
func sick(t *testing.T, files map[string]string) *examination {
	t.Helper()
	e := &examination{app: &app{env: func(string) string { return "" }}, root: t.TempDir(), now: time.Now(), home: "/home/ann"}
	for name, text := range files {
		path := filepath.Join(e.root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func (e *examination) levelOf(check string) level {
	for _, f := range e.found {
		if f.Check == check {
			return f.Level
		}
	}
	return ""
}

// What is shown can be shown to anybody.
func TestScrub(t *testing.T) {
	id := strings.Repeat("abcdefg2", 4)[:26]
	for in, want := range map[string]string{
		"/home/ann/x /home/ann": "~/x ~",
		"/home/anna/x":          "/home/anna/x",
		"in /home/ann/.local/state/hushfs/" + id + "/log": "in ~/.local/state/hushfs/abcdefg2…/log",
		"/run/user/7/hushfs/" + id + ".sock":              "/run/user/7/hushfs/abcdefg2….sock",
		"drive " + id + id + " there":                     "drive abcdefg2… there",
		"red \x1b[31m and\nblue":                          "red ?[31m and blue",
		"abcdefghijklmnopqrstuvwxyz0":                     "abcdefghijklmnopqrstuvwxyz0",
	} {
		e := &examination{home: "/home/ann"}
		if got := e.scrub(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, home := range []string{"", "/", "relative"} {
		e := &examination{home: home}
		if got := e.scrub("/home/ann/x"); got != "/home/ann/x" {
			t.Errorf("home %q: %q", home, got)
		}
	}
}

func TestSwap(t *testing.T) {
	const head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  level
	}{
		{"none", map[string]string{"proc/swaps": head}, fine},
		{"no such file", nil, fine},
		{"a partition", map[string]string{"proc/swaps": head + "/dev/sda2 partition 1 0 -2\n"}, warning},
		{"zram", map[string]string{"proc/swaps": head + "/dev/zram0 partition 1 0 100\n"}, fine},
		{"zram that writes back to a partition", map[string]string{
			"proc/swaps": head + "/dev/zram0 partition 1 0 100\n", "sys/class/block/zram0/backing_dev": "/dev/sda3\n",
		}, warning},
		{"encrypted", map[string]string{
			"proc/swaps": head + "/dev/dm-1 partition 1 0 -2\n", "sys/class/block/dm-1/dm/uuid": "CRYPT-PLAIN-swap\n",
		}, fine},
		{"a volume on an encrypted disk", map[string]string{
			"proc/swaps": head + "/dev/dm-1 partition 1 0 -2\n", "sys/class/block/dm-1/dm/uuid": "LVM-abc\n",
			"sys/class/block/dm-1/slaves/dm-0": "", "sys/class/block/dm-0/dm/uuid": "CRYPT-LUKS2-abc\n",
		}, fine},
		{"a volume on two disks, one of them encrypted", map[string]string{
			"proc/swaps": head + "/dev/dm-1 partition 1 0 -2\n", "sys/class/block/dm-1/dm/uuid": "LVM-abc\n",
			"sys/class/block/dm-1/slaves/dm-0": "", "sys/class/block/dm-0/dm/uuid": "CRYPT-LUKS2-abc\n",
			"sys/class/block/dm-1/slaves/sdb1": "",
		}, warning},
		{"zram beside a partition", map[string]string{"proc/swaps": head + "/dev/zram0 partition 1 0 100\n/dev/sda2 partition 1 0 -2\n"}, warning},
	} {
		e := sick(t, c.files)
		e.swap()
		if got := e.levelOf("swap"); got != c.want {
			t.Errorf("%s: %s, want %s: %+v", c.name, got, c.want, e.found)
		}
	}
}

func TestMemory(t *testing.T) {
	const mib = 1 << 20
	machine := "MemTotal: 99999999 kB\nMemAvailable:    4194304 kB\n" // 4 GiB
	for _, c := range []struct {
		name  string
		files map[string]string
		kdf   uint64
		free  uint64
		want  level
	}{
		{"a machine without limits", map[string]string{"proc/meminfo": machine}, 256 * mib, 4096 * mib, fine},
		{"a costly passphrase", map[string]string{"proc/meminfo": machine}, 2048*mib + 1024, 4096 * mib, trouble},
		{"version 2", map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "1073741824\n", "sys/fs/cgroup/a/memory.current": "943718400\n", "sys/fs/cgroup/a/memory.stat": "anon 5\ninactive_file 419430400\n",
		}, 256 * mib, (1024 - 900 + 400) * mib, warning},
		{"version 2, full", map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "268435456\n", "sys/fs/cgroup/memory.current": "300000000\n",
		}, 0, 0, trouble},
		{"version 1", map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "4:cpu,memory:/x\n1:name=systemd:/\n0::/\n",
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "536870912\n", "sys/fs/cgroup/memory/x/memory.usage_in_bytes": "0\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 19 * mib, 512 * mib, fine},
		{"nothing is known", nil, 0, math.MaxUint64, fine},
	} {
		e := sick(t, c.files)
		e.kdf = c.kdf
		if free, _ := e.available(); free != c.free {
			t.Errorf("%s: %d bytes free, want %d", c.name, free, c.free)
		}
		e.memory()
		if got := e.levelOf("memory"); got != c.want {
			t.Errorf("%s: %s, want %s: %+v", c.name, got, c.want, e.found)
		}
	}
}

func TestSkew(t *testing.T) {
	here := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		off  time.Duration
		want level
	}{
		{0, fine}, {59 * time.Second, fine}, {-time.Minute, warning}, {14 * time.Minute, warning}, {15 * time.Minute, trouble}, {-900 * time.Hour, trouble},
	} {
		e := &examination{}
		e.skew(here.Add(c.off).Format(http.TimeFormat), here)
		if got := e.levelOf("store-clock"); got != c.want {
			t.Errorf("%v: %s, want %s", c.off, got, c.want)
		}
	}
	e := &examination{}
	e.skew("yesterday", here)
	if got := e.levelOf("store-clock"); got != fine {
		t.Errorf("no date: %s", got)
	}
}

func TestKernelFeatures(t *testing.T) {
	for release, want := range map[string]int{"6.18.44-fc": 0, "6.6.0": 0, "6.5.0-1-amd64": 1, "6.0": 2, "5.15.0": 2, "10.0": 0, "strange": 0} {
		if got := len(missingFeatures(release)); got != want {
			t.Errorf("%s: %d, want %d", release, got, want)
		}
	}
}

func TestMachineID(t *testing.T) {
	for text, want := range map[string]level{strings.Repeat("0f", 16) + "\n": "", "": warning, "uninitialized\n": warning, "0f\n": warning} {
		e := sick(t, map[string]string{"etc/machine-id": text})
		e.machineID()
		if got := e.levelOf("machine-id"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// What a journal holds is told without a passphrase, by names, sizes and times.
func TestStateFolders(t *testing.T) {
	const dir = "abcdefghijklmnopqrstuvwx22"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  map[string]level
	}{
		{"made by a refused mount", map[string]string{"lock": ""}, map[string]level{"state": fine}},
		{"all is well", map[string]string{"lock": `{"pid":7,"result":{"stored":true}}`}, map[string]level{"state": fine}},
		{"a journal", map[string]string{"journal-00/ops-1": "x", "journal-00/packs/7": "yy"}, map[string]level{"journal-waiting": warning}},
		{"damaged files", map[string]string{"journal-00/damaged-0001": "x"}, map[string]level{"journal-damaged": warning}},
		{"evidence", map[string]string{"evidence-0000000000000007": "x"}, map[string]level{"state-evidence": warning}},
		{"kept", map[string]string{"kept-0001-0000000000000000-00112233445566778899aabbccddeeff/ops": "x"}, map[string]level{"state-kept": warning}},
		{"no header", map[string]string{"header": "nonsense"}, map[string]level{"state-header": warning}},
		{"what this machine must not forget", map[string]string{"secret": "HUSHSEC0 and more", "state": "HUSHSTA0 and more"}, map[string]level{"state": fine}},
		{"that is damaged", map[string]string{"secret": "HUSHSEC0 and more", "state": "\x00\x00"}, map[string]level{"state": trouble}},
		{"that cannot be read", map[string]string{"state/x": ""}, map[string]level{"state": trouble}},
		{"a newer header", map[string]string{"header": "HUSHKPT9 and more"}, map[string]level{"state-header": trouble}},
	} {
		e := sick(t, nil)
		e.where.state = t.TempDir()
		for name, text := range c.files {
			path := filepath.Join(e.where.state, dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		e.state(filepath.Join(e.where.state, dir))
		for check, want := range c.want {
			if got := e.levelOf(check); got != want {
				t.Errorf("%s: %s is %q, want %q: %+v", c.name, check, got, want, e.found)
			}
		}
		if len(e.found) != len(c.want) {
			t.Errorf("%s: %+v", c.name, e.found)
		}
		for _, f := range e.found {
			if strings.Contains(fmt.Sprint(f), dir) {
				t.Errorf("%s: the whole id is shown: %+v", c.name, f)
			}
		}
	}
}
