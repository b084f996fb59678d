package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// fuse looks at what the kernel and fusermount3 offer.
func (e *examination) fuse(ctx context.Context) {
	e.begin("FUSE")
	if err := checkDevice(fuseDevice); err != nil {
		why := "Without FUSE no drive can be mounted"
		if strings.Contains(e.file("proc/filesystems"), "fuse") {
			why += "; the kernel has it, only its device is missing or closed"
		}
		e.refused("fuse-device", err, why)
	} else {
		e.ok("fuse-device", "the kernel offers FUSE, and you may use it (%s)", fuseDevice)
	}
	e.kernel()
	if os.Geteuid() == 0 {
		e.ok("fusermount", "you are root, and need no fusermount3")
		e.capable()
	} else {
		e.helper(ctx)
		e.config()
	}
	e.confined()
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "?"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// kernelFeatures are what hushfs uses where the kernel has it, and since when it
// has it for FUSE.
var kernelFeatures = []struct {
	major, minor int
	what         string
}{
	{6, 1, "files without a name (O_TMPFILE)"},
	{6, 6, "the time of birth of files (statx)"},
}

func (e *examination) kernel() {
	release := kernelRelease()
	// A daemon is started with none of its caller's descriptors.
	err := unix.CloseRange(math.MaxInt32-1, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		e.problem("kernel", "Linux "+release+" is too old", "A daemon in the background cannot be started before Linux 5.11", "Install a newer kernel; until then: hushfs mount -f")
		return
	}
	if missing := missingFeatures(release); len(missing) > 0 {
		e.ok("kernel", "Linux %s; it lacks for FUSE: %s", release, strings.Join(missing, ", "))
		return
	}
	e.ok("kernel", "Linux %s has all that hushfs uses", release)
}

// missingFeatures are those that a kernel of this release has not.
func missingFeatures(release string) []string {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return nil
	}
	var missing []string
	for _, f := range kernelFeatures {
		if major < f.major || major == f.major && minor < f.minor {
			missing = append(missing, f.what)
		}
	}
	return missing
}

// helper looks at fusermount3, by which ordinary users mount.
func (e *examination) helper(ctx context.Context) {
	const why = "Ordinary users mount and unmount by it"
	path, err := fusermount()
	if err != nil {
		e.refused("fusermount", err, why)
		return
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	i, err := os.Stat(path)
	if err != nil {
		e.problem("fusermount", "fusermount3 cannot be looked at: "+err.Error(), why, "Install the package fuse3 anew.")
		return
	}
	var st unix.Stat_t
	var fs unix.Statfs_t
	caps, _ := unix.Getxattr(path, "security.capability", nil)
	switch {
	case unix.Stat(path, &st) == nil && (i.Mode()&os.ModeSetuid == 0 || st.Uid != 0) && caps <= 0:
		e.problem("fusermount", fmt.Sprintf("%s is not set-uid root (%s, owner %d)", path, i.Mode(), st.Uid), why,
			"An administrator can mend it: chown root "+path+" && chmod 4755 "+path)
	case unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_NOSUID != 0:
		e.problem("fusermount", path+" lies on a file system that is mounted nosuid", why, "An administrator can mount that file system without nosuid, or start the container otherwise.")
	case field(e.file("proc/self/status"), "NoNewPrivs:") == "1":
		e.problem("fusermount", "this session may not gain privileges (no_new_privs), so set-uid programs as fusermount3 do not work", why,
			"Mount from a session without it: a service has NoNewPrivileges=no, a container no --security-opt no-new-privileges.")
	default:
		e.ok("fusermount", "%s is set-uid root, version %s", path, fusermountVersion(ctx, path))
	}
	if _, err := os.Stat(filepath.Join(e.root, "etc/mtab")); err != nil {
		e.warn("mtab", "/etc/mtab is missing", "Ordinary users cannot unmount without it", "As root: ln -s /proc/self/mounts /etc/mtab")
	}
}

// fusermountVersion asks the program, which says "fusermount3 version: 3.14.0".
func fusermountVersion(ctx context.Context, path string) string {
	ctx, cancel := context.WithTimeout(ctx, statTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, path, "--version")
	c.WaitDelay = time.Second
	out, err := c.CombinedOutput()
	_, v, ok := strings.Cut(string(out), "version: ")
	if err != nil || !ok {
		return "unknown"
	}
	return strings.TrimSpace(v)
}

// config looks at fuse.conf: who may let others in, and how often is mounted.
func (e *examination) config() {
	path := filepath.Join(e.root, fuseConfig)
	allowed := configAllowsOthers(path)
	switch {
	case allowed:
		e.ok("allow-other", "ordinary users may let others in (user_allow_other)")
	case e.flags.allowOther:
		e.problem("allow-other", "ordinary users may not let others in", "mount --allow-other is refused", "An administrator can add the line user_allow_other to "+fuseConfig+".")
	default:
		e.ok("allow-other", "ordinary users may not let others in, which only mount --allow-other needs")
	}
	most := 1000 // as fusermount3 has it
	for line := range strings.Lines(e.file(fuseConfig)) {
		if v, ok := strings.CutPrefix(strings.ReplaceAll(strings.TrimSpace(line), " ", ""), "mount_max="); ok {
			if n, err := strconv.Atoi(v); err == nil {
				most = n
			}
		}
	}
	mounts, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return !strings.HasPrefix(i.FSType, "fuse"), false })
	if err == nil && most >= 0 && len(mounts) >= most {
		e.problem("mount-max", fmt.Sprintf("%d file systems of FUSE are mounted, and ordinary users may have %d", len(mounts), most),
			"fusermount3 refuses another one", "Unmount some, or have an administrator raise mount_max in "+fuseConfig+".")
	}
}

// capable looks whether root is one who may mount.
func (e *examination) capable() {
	const sysAdmin = 21 // CAP_SYS_ADMIN
	bits, err := strconv.ParseUint(field(e.file("proc/self/status"), "CapEff:"), 16, 64)
	if err == nil && bits&(1<<sysAdmin) == 0 {
		e.problem("may-mount", "you are root without the right to mount (CAP_SYS_ADMIN)", "The kernel refuses the mount",
			"A container needs --cap-add SYS_ADMIN --device "+fuseDevice+"; or mount outside and hand the folder in.")
	}
}

// confined tells of what stands between this process and the machine.
func (e *examination) confined() {
	var in []string
	for _, c := range []struct{ path, what string }{
		{".dockerenv", "a container of Docker"},
		{"run/.containerenv", "a container of Podman"},
		{"run/systemd/container", "a container of systemd"},
	} {
		if _, err := os.Stat(filepath.Join(e.root, c.path)); err == nil {
			in = append(in, c.what)
		}
	}
	ids := strings.Fields(e.file("proc/self/uid_map"))
	if len(ids) >= 3 && !(ids[0] == "0" && ids[1] == "0" && ids[2] == "4294967295") {
		in = append(in, "a user namespace")
	}
	profile := strings.TrimSpace(strings.TrimRight(e.file("proc/self/attr/current"), "\x00\n"))
	if strings.HasPrefix(profile, "docker-") || strings.Contains(profile, "(enforce)") && len(in) > 0 {
		e.warn("confined", "this process runs in "+strings.Join(in, ", ")+" under the profile "+profile, "Profiles for containers forbid to mount",
			"If a mount fails with \"permission denied\": --security-opt apparmor=unconfined, or a profile that allows mounts of FUSE.")
		return
	}
	if len(in) == 0 {
		e.ok("confined", "no container and no user namespace")
		return
	}
	e.ok("confined", "in %s; a mount is seen inside of it alone", strings.Join(in, ", "))
}

// field is what stands behind a name at the beginning of a line of /proc.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}
