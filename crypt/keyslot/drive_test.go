package keyslot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/crypt/vectortest"
)

func driveVectors() (all []vectortest.Vector) {
	id, err := identity.FromSeed(count(0, identity.SeedSize))
	if err != nil {
		panic(err)
	}
	volume := count(0x20, 32)
	owner := sha256.Sum256(id.Public().Encode())
	drive := sha256.Sum256(bytes.Join([][]byte{[]byte("hushfs/drive\x00"), owner[:], volume}, nil))
	full := DriveIDFull(drive)
	add := func(name, expect, comment, text string) {
		all = append(all, fixed(name, expect, comment, vectortest.Hex("seed", count(0, identity.SeedSize)), vectortest.Hex("volume", volume),
			vectortest.Hex("drive", drive[:]), vectortest.Hex("hex", []byte(text))))
	}
	add("full", "ok", "52 characters", full)
	add("upper case", "ok", "", strings.ToUpper(full))
	add("short", "drive", "26 characters do not tell a drive id", full[:26])
	add("empty", "drive", "", "")
	add("51 characters", "drive", "", full[:51])
	add("53 characters", "drive", "", full+"a")
	add("spare bits", "drive", "the last character has four that are zero", full[:51]+"b")
	add("padding", "drive", "", full+"====")
	add("newline", "drive", "which base32 would ignore", full[:20]+"\n"+full[20:])
	add("digit 1", "drive", "not of base32", "1"+full[1:])
	add("other alphabet", "drive", "U+0131 is I in upper case", "\u0131"+full[1:])
	return all
}

func TestDriveVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "drive") {
		id, err := identity.FromSeed(v.Bytes(t, "seed"))
		if err != nil {
			t.Fatal(err)
		}
		drive := DriveID(id.Public(), crypt.VolumeID(v.Bytes(t, "volume")))
		if !bytes.Equal(drive[:], v.Bytes(t, "drive")) {
			t.Errorf("%s: another drive", v.Name)
		}
		text := string(v.Bytes(t, "hex"))
		got, err := ParseDriveID(text)
		v.Check(t, outcomes, err)
		if err == nil && (got != drive || DriveIDFull(got) != strings.ToLower(text)) {
			t.Errorf("%s: %x", v.Name, got)
		}
	}
}

func TestMatchDriveID(t *testing.T) {
	id := array(0x11)
	full, short := DriveIDFull(id), DriveIDString(id)
	if len(full) != 52 || len(short) != 26 || !strings.HasPrefix(full, short) {
		t.Fatalf("%s %s", full, short)
	}
	for _, s := range []string{full, short, strings.ToUpper(full), strings.ToUpper(short)} {
		if err := MatchDriveID(s, id); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"", short[:25], full[:27], full[:51], full + "a", DriveIDString(array(0x12)), " " + short} {
		if err := MatchDriveID(s, id); !errors.Is(err, ErrDrive) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzParseDriveID(f *testing.F) {
	for _, v := range vectortest.Read(f, "drive") {
		f.Add(string(v.Bytes(f, "hex")))
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseDriveID(s); err == nil && DriveIDFull(id) != strings.ToLower(s) {
			t.Errorf("%q is not canonical", s)
		}
	})
}

func FuzzParseObjectName(f *testing.F) {
	for _, v := range vectortest.Read(f, "header") {
		if h, err := Decode(v.Bytes(f, "hex")); err == nil {
			f.Add(ObjectName(h.Counter))
		}
	}
	f.Fuzz(func(t *testing.T, name string) {
		if n, err := ParseObjectName(name); err == nil && ObjectName(n) != name {
			t.Errorf("%q is not canonical", name)
		}
	})
}
