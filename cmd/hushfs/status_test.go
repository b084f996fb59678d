package main

import (
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/volume"
)

// Room that the journal has taken in advance is nothing that waits.
func TestDiskText(t *testing.T) {
	disk := volume.Disk{Limit: 1 << 30, Used: 45 << 20, Meta: 1 << 20, Blocks: 8 << 20, Journal: 36 << 20}
	for _, c := range []struct {
		name    string
		stored  bool
		pending int64
		want    string
	}{
		{"nothing waits", true, 0, "journal: 0 B wait, 36 MiB kept ready for sending;"},
		{"some waits", false, 6 << 20, "journal: 6.0 MiB wait, 30 MiB kept ready for sending;"},
		{"more waits than lies on the disk", false, 99 << 20, "journal: 36 MiB wait, 0 B kept ready for sending;"},
		{"open files after the last commit", true, 6 << 20, "journal: 0 B wait, 36 MiB kept ready for sending;"},
	} {
		got := diskText(volume.Status{Disk: disk, Stored: c.stored, PendingBytes: c.pending})
		if !strings.Contains(got, c.want) || !strings.HasPrefix(got, "Local disk: 45 MiB of at most 1.0 GiB (") {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}
