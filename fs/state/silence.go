package state

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
)

// Silence is what this machine knows of how often other devices write, by days on which
// it asked for what they wrote. It outlives a mount: one that is used for some hours a
// day asks for few days in a row. Layout: docs/format.md, "State folder".
type Silence struct {
	Newest  chain.Slot    // of the newest commit of another device
	Removed uint16        // how many devices the volume has had and has no more
	Days    uint8         // the last SilenceDays up to the newest on which something came, which is bit 0; 0: none so far
	Silent  uint16        // days since then
	Asked   time.Duration // of the day that goes on
	Date    int32         // on which that began, in days since 1970, by this machine's clock
	Came    bool          // something came in it
}

// SilenceDays is how many days Silence remembers one by one.
const SilenceDays = 7

const (
	silenceFile  = "silence"
	silenceMagic = "HUSHSIL0"
	silenceSize  = 8 + 2 + 1 + 2 + 8 + 4 + 1
)

// encode returns newest u64, removed u16, days u8, silent u16, asked i64 nanoseconds,
// date i32, came u8.
func (q Silence) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, silenceSize), uint64(q.Newest))
	b = binary.BigEndian.AppendUint16(b, q.Removed)
	b = append(b, q.Days)
	b = binary.BigEndian.AppendUint16(b, q.Silent)
	b = binary.BigEndian.AppendUint64(b, uint64(q.Asked))
	b = binary.BigEndian.AppendUint32(b, uint32(q.Date))
	if q.Came {
		return append(b, 1)
	}
	return append(b, 0)
}

// decodeSilence reads exactly what encode wrote, or fails with ErrMalformed.
func decodeSilence(b []byte) (Silence, error) {
	if len(b) != silenceSize {
		return Silence{}, fmt.Errorf("silence file: %w", ErrMalformed)
	}
	q := Silence{
		Newest:  chain.Slot(binary.BigEndian.Uint64(b)),
		Removed: binary.BigEndian.Uint16(b[8:]),
		Days:    b[10],
		Silent:  binary.BigEndian.Uint16(b[11:]),
		Asked:   time.Duration(binary.BigEndian.Uint64(b[13:])),
		Date:    int32(binary.BigEndian.Uint32(b[21:])),
		Came:    b[25] == 1,
	}
	if q.Days >= 1<<SilenceDays || q.Days&1 == 0 && (q.Days != 0 || q.Silent != 0) || q.Asked < 0 || b[25] > 1 {
		return Silence{}, fmt.Errorf("silence file: %w", ErrMalformed)
	}
	return q, nil
}

// loadSilence reads the file; what is no such file is forgotten, and days are counted anew.
func (s *State) loadSilence() {
	sealed, err := read(s.dir, silenceFile, 256)
	if err != nil {
		return
	}
	b, err := cutMagic(sealed, silenceMagic)
	if err != nil {
		return
	}
	plain, err := s.underSecret().Open(nil, b, []byte(silenceMagic))
	if err != nil {
		return
	}
	if q, err := decodeSilence(plain); err == nil {
		s.silence = q
	}
}

// Silence is what SetSilence was told last, or what an earlier process left.
func (s *State) Silence() Silence {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.silence
}

// SetSilence keeps q, and where save is true in the folder too, without any promise that
// it is there after a power cut.
func (s *State) SetSilence(q Silence, save bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silence = q; !save || s.frozen || s.alien || !s.saved {
		return nil
	}
	sealed := s.underSecret().Seal([]byte(silenceMagic), q.encode(), []byte(silenceMagic))
	tmp := filepath.Join(s.dir, silenceFile+".new")
	err := os.WriteFile(tmp, sealed, 0o600)
	if err == nil {
		err = os.Rename(tmp, filepath.Join(s.dir, silenceFile))
	}
	if err != nil {
		_ = os.Remove(tmp) // the next attempt overwrites it
	}
	return err
}
