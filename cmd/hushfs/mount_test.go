package main

import (
	"testing"

	"github.com/hushfs/hushfs/fs/volume"
)

func TestOwnFiles(t *testing.T) {
	for _, c := range []struct {
		name       string
		uid        int
		allowOther bool
		owner      string
		want       bool
	}{
		{"a user alone", 1000, false, "", true},
		{"a user who lets others in", 1000, true, "", false},
		{"root", 0, false, "", false},
		{"root who lets others in", 0, true, "", false},
		{"a user who wants it as stored", 1000, false, ownerStored, false},
		{"a user who lets others in and wants all as his", 1000, true, ownerMe, true},
		{"root who wants all as his", 0, false, ownerMe, true},
	} {
		o := mountFlags{allowOther: c.allowOther, owner: c.owner}
		if got := o.ownFiles(c.uid); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestOwnerFlag(t *testing.T) {
	for owner, good := range map[string]bool{"": true, "me": true, "stored": true, "Me": false, "1000": false} {
		o := mountFlags{owner: owner, durability: volume.DurabilityLocal}
		if err := o.check(); (err == nil) != good {
			t.Errorf("--owner %q: %v", owner, err)
		}
	}
}

func TestCacheSizeFlag(t *testing.T) {
	for n, good := range map[sizeFlag]bool{0: true, 1: false, 64<<20 - 1: false, 64 << 20: true, 1 << 40: true} {
		o := mountFlags{cacheSize: n, durability: volume.DurabilityLocal}
		if err := o.check(); (err == nil) != good {
			t.Errorf("--cache-size %d: %v", n, err)
		}
	}
}
