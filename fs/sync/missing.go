package sync

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// Missing says what a store that was set back is without, as far as a machine knows.
type Missing struct {
	Slots   uint64          `json:"slots"`   // of the order, that are missing for certain
	Most    uint64          `json:"at_most"` // are missing; 0: nobody knows
	Unknown uint64          `json:"unknown"` // of Slots, how many nothing more is known of
	After   time.Time       `json:"after"`   // when the newest was made that is not missing, by its author's clock; zero: unknown
	Since   time.Time       `json:"since"`   // and the oldest of those that are, as far as they are known
	Until   time.Time       `json:"until"`   // and the newest
	Devices []MissingDevice `json:"devices"` // who made them, most first
}

// MissingDevice is a device that made commits which are missing.
type MissingDevice struct {
	Device  meta.Device `json:"device"`
	Name    string      `json:"name"` // empty: unknown
	Commits int         `json:"commits"`
}

// MissingOf sums up what is known of the commits up to seen, of which those from the slot
// parted on are missing, and those above same may be; same 0: any may.
func MissingOf(known []Known, same Known, parted, seen chain.Slot) Missing {
	m := Missing{Devices: []MissingDevice{}}
	if parted > seen {
		return m
	}
	m.Slots, m.Unknown = above(known, parted-1, seen)
	if same.Slot > 0 {
		m.Most, _ = above(known, same.Slot, seen)
		m.After = same.Time
	}
	for _, k := range known {
		if k.Slot < parted || k.Slot > seen || k.Device == 0 {
			continue
		}
		if m.Since.IsZero() || k.Time.Before(m.Since) {
			m.Since = k.Time
		}
		if k.Time.After(m.Until) {
			m.Until = k.Time
		}
		i := slices.IndexFunc(m.Devices, func(d MissingDevice) bool { return d.Device == k.Device })
		if i < 0 {
			i = len(m.Devices)
			m.Devices = append(m.Devices, MissingDevice{Device: k.Device})
		}
		m.Devices[i].Commits++
		if k.Name != "" {
			m.Devices[i].Name = k.Name
		}
	}
	slices.SortStableFunc(m.Devices, func(a, b MissingDevice) int { return cmp.Compare(b.Commits, a.Commits) })
	return m
}

// above counts the slots above one, up to seen, that hold commits or may; and of those the
// ones of which nothing more is known.
func above(known []Known, from, seen chain.Slot) (n, unknown uint64) {
	next := seen + 1
	for _, k := range slices.Backward(known) {
		if k.Slot > seen {
			continue
		}
		if !k.Next || next > seen { // the one after it may be another history's than seen
			gap := uint64(next - max(k.Slot, from) - 1)
			n, unknown = n+gap, unknown+gap
		}
		if next = k.Slot; k.Slot <= from {
			return n, unknown
		}
		if n++; k.Device == 0 {
			unknown++
		}
	}
	gap := uint64(next - from - 1)
	return n + gap, unknown + gap
}

// devicesTold is how many devices String names.
const devicesTold = 5

// String is for people: "4 changes, made from 2026-11-20 10:00 to 2026-11-21 09:12 by
// device 2 (desk): 3, device 1 (laptop): 1".
func (m Missing) String() string {
	var b strings.Builder
	switch {
	case m.Most != m.Slots:
		fmt.Fprintf(&b, "at least %s", changes(m.Slots))
		if m.Most > 0 {
			fmt.Fprintf(&b, ", at most %d", m.Most)
		}
	default:
		b.WriteString(changes(m.Slots))
	}
	from, to := m.Since.Local().Format(minutes), m.Until.Local().Format(minutes)
	switch {
	case m.Most == m.Slots && m.Unknown == 0 && from == to:
		fmt.Fprintf(&b, ", made at %s", from)
	case m.Most == m.Slots && m.Unknown == 0:
		fmt.Fprintf(&b, ", made from %s to %s", from, to)
	case !m.After.IsZero():
		fmt.Fprintf(&b, ", made since %s", m.After.Local().Format(minutes))
	case !m.Since.IsZero():
		fmt.Fprintf(&b, ", made since %s at the latest", from)
	}
	for i, d := range m.Devices {
		switch {
		case i == 0:
			b.WriteString(" by ")
		case i == devicesTold:
			fmt.Fprintf(&b, " and %d more devices", len(m.Devices)-i)
			return b.String() + m.unknown()
		default:
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "device %d", d.Device)
		if d.Name != "" {
			fmt.Fprintf(&b, " (%s)", d.Name)
		}
		fmt.Fprintf(&b, ": %d", d.Commits)
	}
	return b.String() + m.unknown()
}

func changes(n uint64) string {
	if n == 1 {
		return "1 change"
	}
	return fmt.Sprintf("%d changes", n)
}

func (m Missing) unknown() string {
	switch {
	case m.Unknown == 0 || m.Slots == 0:
		return ""
	case m.Unknown == m.Slots:
		return ", of which this machine knows no more than that they were there"
	}
	return fmt.Sprintf("; of %d it knows no more than that they were there", m.Unknown)
}

const minutes = "2006-01-02 15:04"
