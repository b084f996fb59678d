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

// Missing says what a store that was set back is without, as far as a machine remembers.
type Missing struct {
	Slots   uint64          `json:"slots"`   // of the order, from the first that is missing to the newest that was seen
	Unknown uint64          `json:"unknown"` // of these, how many nothing more is remembered of
	Since   time.Time       `json:"since"`   // when the oldest of the others was made, by its author's clock; zero: unknown
	Until   time.Time       `json:"until"`   // and the newest
	Devices []MissingDevice `json:"devices"` // who made them, most first
}

// MissingDevice is a device that made commits which are missing.
type MissingDevice struct {
	Device  meta.Device `json:"device"`
	Name    string      `json:"name"`
	Commits int         `json:"commits"`
}

// MissingOf sums up the commits above had, up to seen.
func MissingOf(all []chain.Remembered, had, seen chain.Slot) Missing {
	m := Missing{Devices: []MissingDevice{}}
	if seen <= had {
		return m
	}
	m.Slots = uint64(seen - had)
	m.Unknown = m.Slots
	for _, r := range all {
		if r.Slot <= had || r.Slot > seen {
			continue
		}
		m.Unknown--
		if m.Since.IsZero() || r.Time.Before(m.Since) {
			m.Since = r.Time
		}
		if r.Time.After(m.Until) {
			m.Until = r.Time
		}
		i := slices.IndexFunc(m.Devices, func(d MissingDevice) bool { return d.Device == r.Device })
		if i < 0 {
			i = len(m.Devices)
			m.Devices = append(m.Devices, MissingDevice{Device: r.Device, Name: r.Name})
		}
		m.Devices[i].Commits++
	}
	slices.SortStableFunc(m.Devices, func(a, b MissingDevice) int { return cmp.Compare(b.Commits, a.Commits) })
	return m
}

// devicesTold is how many devices String names.
const devicesTold = 5

// String is for people: "4 changes, made from 2026-11-20 10:00 to 2026-11-21 09:12 by
// device 2 (desk): 3, device 1 (laptop): 1".
func (m Missing) String() string {
	var b strings.Builder
	if b.WriteString("1 change"); m.Slots != 1 {
		b.Reset()
		fmt.Fprintf(&b, "%d changes", m.Slots)
	}
	if !m.Since.IsZero() {
		from, to := m.Since.Local().Format(minutes), m.Until.Local().Format(minutes)
		if from == to {
			fmt.Fprintf(&b, ", made at %s", from)
		} else {
			fmt.Fprintf(&b, ", made from %s to %s", from, to)
		}
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
		fmt.Fprintf(&b, "device %d (%s): %d", d.Device, d.Name, d.Commits)
	}
	return b.String() + m.unknown()
}

func (m Missing) unknown() string {
	switch {
	case m.Unknown == 0 || m.Slots == 0:
		return ""
	case m.Unknown == m.Slots:
		return ", of which this machine remembers no more than that they were there"
	}
	return fmt.Sprintf("; of %d it remembers no more than that they were there", m.Unknown)
}

const minutes = "2006-01-02 15:04"
