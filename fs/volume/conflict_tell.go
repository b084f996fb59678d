package volume

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hushfs/hushfs/fs/meta"
)

// Conflict is a conflict in words. It names files of the drive: it is for the drive's
// user, and not for a log.
type Conflict struct {
	ID         string          `json:"id"`
	Device     int             `json:"device"` // that made the change which is called mine
	DeviceName string          `json:"device_name"`
	Kind       string          `json:"kind"`  // copy, name, revived, kept, moved, cycle, lost
	What       string          `json:"what"`  // the same in a sentence
	Time       time.Time       `json:"time"`  // by that device's clock
	Meant      string          `json:"meant"` // where the change was to be; empty: nowhere
	Mine       ConflictSide    `json:"mine"`
	Theirs     ConflictSide    `json:"theirs"`
	Choices    map[Keep]Choice `json:"choices"`
	Token      string          `json:"token"` // another one when anything of this has changed
}

// ConflictSide is one of the two things, as it is now.
type ConflictSide struct {
	Paths []string  `json:"paths"`
	Gone  bool      `json:"gone"` // or there never was any
	Kind  string    `json:"kind,omitempty"`
	Size  uint64    `json:"size,omitempty"` // bytes
	Mtime time.Time `json:"mtime,omitzero"`
}

// Choice is what a choice would do.
type Choice struct {
	Deletes []string `json:"deletes,omitempty"` // paths
	Refused string   `json:"refused,omitempty"` // why it cannot be chosen; empty: it can
}

// conflictKinds are the kinds, and what they mean.
var conflictKinds = map[meta.ConflictKind][2]string{
	meta.ConflictCopy:    {"copy", "both wrote the file; mine is a copy beside theirs"},
	meta.ConflictName:    {"name", "both gave the name to something; mine has another name"},
	meta.ConflictRevived: {"revived", "they deleted what I changed; it is there again"},
	meta.ConflictKept:    {"kept", "they changed, renamed or replaced what I deleted; it stays"},
	meta.ConflictMoved:   {"moved", "they moved what I moved, or its place is gone; it stays where they put it"},
	meta.ConflictCycle:   {"cycle", "my move and theirs together would put a folder into itself; mine was not made"},
	meta.ConflictLost:    {"lost", "they deleted what I gave other attributes"},
}

// attributesShort is what ConflictLost means of what is still there.
const attributesShort = "attributes of it are lost: it was leased to another machine, or as it was made again they had no room"

// TellConflict puts a standing into words.
func TellConflict(s *meta.Standing, names map[meta.Device]string) Conflict {
	no := meta.WrittenBy(s.ID.Version)
	c := Conflict{
		ID: s.ID.String(), Device: int(no), DeviceName: names[no], Kind: conflictKinds[s.Kind][0], What: conflictKinds[s.Kind][1],
		Time: timeOf(s.Time), Meant: s.Meant, Mine: sideOf(&s.Mine), Theirs: sideOf(&s.Other), Choices: map[Keep]Choice{}, Token: s.Token(),
	}
	if s.Kind == meta.ConflictLost && !s.Mine.Gone() {
		c.What = attributesShort
	}
	for _, keep := range []Keep{KeepMine, KeepTheirs, KeepBoth} {
		gone, err := Loses(s, keep)
		var ch Choice
		if err != nil {
			ch.Refused = strings.TrimPrefix(err.Error(), ErrUnresolved.Error()+": ")
		} else if gone != nil {
			ch.Deletes = gone.Paths
			if keep == KeepMine && (s.Kind == meta.ConflictCopy || s.Kind == meta.ConflictName) {
				ch.Deletes = gone.Paths[:1] // the other names of a file stay its own
			}
		}
		c.Choices[keep] = ch
	}
	return c
}

func timeOf(t meta.Time) time.Time { return time.Unix(t.Sec, int64(t.Nsec)).UTC() }

func sideOf(s *meta.Side) ConflictSide {
	out := ConflictSide{Paths: append([]string{}, s.Paths...), Gone: s.Gone()}
	if s.Inode != nil {
		out.Kind, out.Size, out.Mtime = kindWords[s.Inode.Kind], s.Inode.Size, timeOf(s.Inode.Mtime)
	}
	return out
}

var kindWords = map[meta.Kind]string{
	meta.File: "file", meta.Dir: "folder", meta.Symlink: "symlink", meta.Fifo: "fifo", meta.Char: "device", meta.Block: "device", meta.Socket: "socket",
}

// BothGone says that nothing is left to choose from.
func (c *Conflict) BothGone() bool { return c.Mine.Gone && c.Theirs.Gone }

// Text is the conflict for people, lines that end in a newline. Names that a terminal
// would act on are quoted.
func (c *Conflict) Text() string {
	var b strings.Builder
	who := printable(c.DeviceName)
	if who == "" {
		who = "device " + strconv.Itoa(c.Device)
	}
	fmt.Fprintf(&b, "%s  %s  %s, %s\n", c.ID, c.Kind, who, c.Time.Local().Format(time.DateTime))
	fmt.Fprintf(&b, "    %s\n", c.What)
	if c.Meant != "" {
		fmt.Fprintf(&b, "    meant for  %s\n", printable(c.Meant))
	}
	if c.BothGone() {
		fmt.Fprintf(&b, "    both are gone: to forget it, hushfs conflicts resolve %s --keep both\n", c.ID)
		return b.String()
	}
	for _, side := range []struct {
		name string
		is   ConflictSide
	}{{"mine", c.Mine}, {"theirs", c.Theirs}} {
		switch {
		case side.is.Gone && side.name == "theirs" && (c.Kind == "moved" || c.Kind == "cycle"):
			fmt.Fprintf(&b, "    %-9s  their move stands\n", side.name) // of the same thing, or of what it was put into
		case side.is.Gone:
			fmt.Fprintf(&b, "    %-9s  gone\n", side.name)
		case len(side.is.Paths) == 0:
			fmt.Fprintf(&b, "    %-9s  without a name (%s)\n", side.name, side.is.Kind)
		default:
			fmt.Fprintf(&b, "    %-9s  %s  (%s", side.name, printable(side.is.Paths[0]), side.is.Kind)
			if side.is.Kind == "file" {
				fmt.Fprintf(&b, ", %d bytes", side.is.Size)
			}
			fmt.Fprintf(&b, ", changed %s)\n", side.is.Mtime.Local().Format(time.DateTime))
			for _, p := range side.is.Paths[1:] {
				fmt.Fprintf(&b, "    %-9s  %s\n", "", printable(p))
			}
		}
	}
	return b.String()
}

// ConflictsText is a list of conflicts for people.
func ConflictsText(all []Conflict) string {
	if len(all) == 0 {
		return "No conflicts.\n"
	}
	var b strings.Builder
	for i := range all {
		b.WriteString(all[i].Text())
	}
	what := "1 conflict"
	if len(all) > 1 {
		what = fmt.Sprintf("%d conflicts", len(all))
	}
	fmt.Fprintf(&b, "%s. Mine is what that device did, theirs what it met.\nTo resolve one: hushfs conflicts resolve ID --keep mine, theirs or both\n", what)
	return b.String()
}

// printable is a path as it may be shown on a terminal.
func printable(path string) string {
	if !utf8.ValidString(path) || strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(path)
	}
	return path
}
