package fs

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// newServer mounts at dir, or makes a mount that is nowhere yet and has attach put it
// somewhere.
func newServer(root fuse.RawFileSystem, dir string, o *fuse.MountOptions, attach func(tree *os.File) error) (*fuse.Server, error) {
	if attach == nil {
		return fuse.NewServer(root, dir, o)
	}
	device, tree, err := detached(o)
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	o.DirectMount = false // go-fuse is to serve what is mounted
	srv, err := fuse.NewServer(root, "/dev/fd/"+strconv.Itoa(device), o)
	if err != nil {
		return nil, err // it has closed the device
	}
	if err := attach(tree); err != nil {
		// With its last descriptor the kernel lets go of a mount that is nowhere, and
		// then Serve ends.
		err = errors.Join(err, tree.Close())
		srv.Serve()
		return nil, err
	}
	return srv, nil
}

// detached makes a mount of FUSE that is nowhere in the tree of files: the device from
// which it is served, and the mount. The options are those with which go-fuse mounts
// where root does. It needs Linux 5.4. See fsopen(2), fsconfig(2), fsmount(2).
func detached(o *fuse.MountOptions) (device int, tree *os.File, err error) {
	device, err = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, nil, fmt.Errorf("open FUSE's device: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(device)
		}
	}()
	config, err := unix.Fsopen("fuse", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, nil, fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(config)
	for _, set := range [][2]string{
		{"source", o.FsName}, {"subtype", o.Name}, {"fd", strconv.Itoa(device)},
		{"rootmode", strconv.FormatUint(unix.S_IFDIR, 8)},
		{"user_id", strconv.Itoa(os.Geteuid())}, {"group_id", strconv.Itoa(os.Getegid())},
		{"max_read", strconv.Itoa(o.MaxWrite)},
	} {
		if err := unix.FsconfigSetString(config, set[0], set[1]); err != nil {
			return -1, nil, fmt.Errorf("fsconfig %s: %w", set[0], err)
		}
	}
	flags := o.Options
	if o.AllowOther {
		flags = append(flags[:len(flags):len(flags)], "allow_other")
	}
	for _, name := range flags {
		if err := unix.FsconfigSetFlag(config, name); err != nil {
			return -1, nil, fmt.Errorf("fsconfig %s: %w", name, err)
		}
	}
	if err := unix.FsconfigCreate(config); err != nil {
		return -1, nil, fmt.Errorf("fsconfig: %w", err)
	}
	fd, err := unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return -1, nil, fmt.Errorf("fsmount: %w", err)
	}
	return device, os.NewFile(uintptr(fd), "mount"), nil
}
