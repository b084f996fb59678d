package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// The newest commits one by one, and of older ones the fewer the older they are. Nothing
// depends on the file but how much can be told of what a store is missing, so it is not
// synced: after a power cut it may be gone, and one that does not open is none. Layout:
// docs/format.md, "State folder".
const (
	rememberedFile  = "remembered"
	rememberedMagic = "HUSHREM0"
	rememberedMost  = 255      // entries, see thin
	rememberedLimit = 32 << 10 // bytes; as many entries with the longest names are less
)

// encodeRemembered returns the number of entries u8, then slot u64, id 32, device u16,
// time i64 nanoseconds, name (length u8) each, ascending by slot.
func encodeRemembered(all []chain.Remembered) []byte {
	b := []byte{byte(len(all))}
	for _, r := range all {
		b = binary.BigEndian.AppendUint64(b, uint64(r.Slot))
		b = append(b, r.ID[:]...)
		b = binary.BigEndian.AppendUint16(b, uint16(r.Device))
		b = binary.BigEndian.AppendUint64(b, uint64(r.Time.UnixNano()))
		b = append(append(b, byte(len(r.Name))), r.Name...)
	}
	return b
}

// decodeRemembered reads exactly what encodeRemembered wrote, or fails with ErrMalformed.
func decodeRemembered(b []byte) (all []chain.Remembered, err error) {
	bad := fmt.Errorf("remembered file: %w", ErrMalformed)
	if len(b) < 1 || int(b[0]) > rememberedMost {
		return nil, bad
	}
	const fixed = 8 + 32 + 2 + 8 + 1
	n, b := int(b[0]), b[1:]
	for range n {
		if len(b) < fixed || len(b) < fixed+int(b[fixed-1]) {
			return nil, bad
		}
		r := chain.Remembered{
			Link:   chain.Link{Slot: chain.Slot(binary.BigEndian.Uint64(b)), ID: chain.ID(b[8:40])},
			Device: meta.Device(binary.BigEndian.Uint16(b[40:])),
			Time:   time.Unix(0, int64(binary.BigEndian.Uint64(b[42:]))),
			Name:   string(b[fixed : fixed+int(b[fixed-1])]),
		}
		if len(r.Name) > maxName || len(all) > 0 && all[len(all)-1].Slot >= r.Slot {
			return nil, bad
		}
		all, b = append(all, r), b[fixed+len(r.Name):]
	}
	if len(b) > 0 {
		return nil, bad
	}
	return all, nil
}

// loadRemembered reads the file; what is no such file is forgotten.
func (s *State) loadRemembered() {
	sealed, err := read(s.dir, rememberedFile, rememberedLimit)
	if err != nil {
		return
	}
	b, err := cutMagic(sealed, rememberedMagic)
	if err != nil {
		return
	}
	plain, err := s.underSecret().Open(nil, b, []byte(rememberedMagic))
	if err != nil {
		return
	}
	if all, err := decodeRemembered(plain); err == nil {
		s.recent = all
	}
}

// saveRemembered writes the file, not synced; s is locked.
func (s *State) saveRemembered() error {
	sealed := s.underSecret().Seal([]byte(rememberedMagic), encodeRemembered(s.recent), []byte(rememberedMagic))
	tmp := filepath.Join(s.dir, rememberedFile+".new")
	err := os.WriteFile(tmp, sealed, 0o600)
	if err == nil {
		err = os.Rename(tmp, filepath.Join(s.dir, rememberedFile))
	}
	if err != nil {
		_ = os.Remove(tmp) // the next attempt overwrites it
	}
	return err
}

// note adds commits to those that are remembered one by one; s is locked. Of a slot the
// one that was told last stays.
func (s *State) note(commits []chain.Remembered) (changed bool) {
	all := map[chain.Slot]chain.Remembered{}
	for _, r := range s.recent {
		all[r.Slot] = r
	}
	for _, r := range commits {
		if len(r.Name) > maxName {
			r.Name = r.Name[:maxName]
		}
		was, ok := all[r.Slot]
		changed = changed || !ok || was.ID != r.ID
		all[r.Slot] = r
	}
	if !changed {
		return false
	}
	s.recent = s.recent[:0:0]
	for _, r := range all {
		s.recent = append(s.recent, r)
	}
	slices.SortFunc(s.recent, func(a, b chain.Remembered) int {
		if a.Slot < b.Slot {
			return -1
		}
		return 1
	})
	s.recent = thin(s.recent)
	return true
}

// thin keeps the newest RememberedMax of commits that ascend, and of what lies twice as far
// back, and again twice as far, some eight each: so it can be told of any slot about where
// this history and another have parted.
func thin(all []chain.Remembered) []chain.Remembered {
	newest := max(0, len(all)-chain.RememberedMax)
	if newest == 0 {
		return all
	}
	kept, head := all[:0:0], all[len(all)-1].Slot
	type stretch struct {
		width int
		at    chain.Slot
	}
	var last stretch
	for _, r := range all[:newest] {
		width := bits.Len64(uint64(head-r.Slot) / (2 * rememberedIn))
		if s := (stretch{width, r.Slot >> width}); len(kept) == 0 || s != last {
			kept, last = append(kept, r), s
		}
	}
	kept = append(kept, all[newest:]...)
	return kept[max(0, len(kept)-rememberedMost):]
}

// rememberedIn is about how many commits are kept of those that lie as far back as twice
// the distance of others.
const rememberedIn = 8

// Note remembers commits one by one, as far as there is room for the newest; without
// any promise that they are there after a power cut.
func (s *State) Note(commits []chain.Remembered) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen || !s.note(commits) || s.alien || !s.saved {
		return nil
	}
	return s.saveRemembered()
}

// Remembered returns the newest commits that this machine remembers one by one,
// ascending; there may be fewer than it saw.
func (s *State) Remembered() []chain.Remembered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.recent)
}

// Freeze has nothing remembered from now on: what is looked at is not what this machine
// goes on from.
func (s *State) Freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = true
}

// Accept makes an older slot, or another history, the newest that this machine
// remembers; up to slot same it is the one that was remembered. It is durable when
// Enrolled returns, which must follow on Renew: the numbers of a device that wrote what is
// given up are not used again.
func (s *State) Accept(h chain.Head, same chain.Slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alien = true
	s.d.head = h
	s.recent = slices.DeleteFunc(slices.Clone(s.recent), func(r chain.Remembered) bool { return r.Slot > same })
}

// Commits of other histories that a person has looked into. Layout: docs/format.md,
// "State folder".
const (
	settledFile  = "settled"
	settledMagic = "HUSHSET0"
	settledMax   = 1024
)

// Settled lists the commits of other histories that a person, who compared this
// machine's history with another's, took for strangers' work. It fails with ErrForeign,
// ErrMalformed and ErrNewer.
func (s *State) Settled() ([]chain.Link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loadSettled()
}

func (s *State) loadSettled() ([]chain.Link, error) {
	sealed, err := read(s.dir, settledFile, 64+settledMax*40)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := cutMagic(sealed, settledMagic)
	if err != nil {
		return nil, fmt.Errorf("settled file: %w", err)
	}
	plain, err := s.underSecret().Open(nil, b, []byte(settledMagic))
	if err != nil {
		return nil, ErrForeign
	}
	return decodeSettled(plain)
}

// decodeSettled reads slot u64 and id 32 of each, ascending by slot then id.
func decodeSettled(b []byte) (all []chain.Link, err error) {
	if len(b)%40 != 0 || len(b) > settledMax*40 {
		return nil, fmt.Errorf("settled file: %w", ErrMalformed)
	}
	for ; len(b) > 0; b = b[40:] {
		l := chain.Link{Slot: chain.Slot(binary.BigEndian.Uint64(b)), ID: chain.ID(b[8:40])}
		if len(all) > 0 && compareLinks(all[len(all)-1], l) >= 0 {
			return nil, fmt.Errorf("settled file: %w", ErrMalformed)
		}
		all = append(all, l)
	}
	return all, nil
}

func encodeSettled(all []chain.Link) (b []byte) {
	for _, l := range all {
		b = binary.BigEndian.AppendUint64(b, uint64(l.Slot))
		b = append(b, l.ID[:]...)
	}
	return b
}

func compareLinks(a, b chain.Link) int {
	if a.Slot != b.Slot {
		if a.Slot < b.Slot {
			return -1
		}
		return 1
	}
	return slices.Compare(a.ID[:], b.ID[:])
}

// Settle adds commits to Settled; it returns when that is durable.
func (s *State) Settle(commits ...chain.Link) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.loadSettled()
	if err != nil {
		return err
	}
	for _, l := range commits {
		if !slices.Contains(all, l) {
			all = append(all, l)
		}
	}
	if len(all) > settledMax {
		return fmt.Errorf("settled file: %w: more than %d commits", ErrMalformed, settledMax)
	}
	slices.SortFunc(all, compareLinks)
	if !s.saved {
		// A reader that never remembered anything: its secret comes first.
		if err := s.saveSecret(); err != nil {
			return err
		}
		s.saved = true
	}
	return Replace(s.dir, settledFile, s.underSecret().Seal([]byte(settledMagic), encodeSettled(all), []byte(settledMagic)))
}
