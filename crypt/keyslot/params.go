package keyslot

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Params of Argon2id (RFC 9106).
type Params struct {
	MemoryKiB uint32
	Passes    uint16
	Lanes     uint16
}

// DefaultParams take about a second of a laptop and fit beside its programs.
var DefaultParams = Params{MemoryKiB: 256 << 10, Passes: 3, Lanes: 4}

const (
	minMemory    = 19 << 10 // KiB; OWASP's floor, with two passes
	onePass      = 46 << 10 // KiB; from here on one pass is enough
	maxMemory    = 2 << 20  // KiB
	maxPasses    = 16
	maxLanes     = 8
	paramsSize   = 8
	unknownSpace = math.MaxUint64
)

// Check returns ErrKDF unless 19 MiB <= memory <= 2 GiB and at most half of
// free (bytes of free RAM), 1 <= passes <= 16 (2 below 46 MiB), 1 <= lanes <= 8.
// Below them passphrases would be too cheap to guess; above them whoever writes
// headers could stop a machine with one.
func (p Params) Check(free uint64) error {
	if p.MemoryKiB < minMemory || p.MemoryKiB > maxMemory {
		return fmt.Errorf("%w: %d KiB of memory, allowed are %d to %d", ErrKDF, p.MemoryKiB, minMemory, maxMemory)
	}
	if uint64(p.MemoryKiB)<<10 > free/2 {
		return fmt.Errorf("%w: %d KiB of memory, %d KiB free", ErrKDF, p.MemoryKiB, free>>10)
	}
	if p.Passes < 1 || p.Passes > maxPasses || p.Passes < 2 && p.MemoryKiB < onePass {
		return fmt.Errorf("%w: %d passes over %d KiB", ErrKDF, p.Passes, p.MemoryKiB)
	}
	if p.Lanes < 1 || p.Lanes > maxLanes {
		return fmt.Errorf("%w: %d lanes", ErrKDF, p.Lanes)
	}
	return nil
}

// append appends memory u32, passes u16, lanes u16.
func (p Params) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, p.MemoryKiB)
	b = binary.BigEndian.AppendUint16(b, p.Passes)
	return binary.BigEndian.AppendUint16(b, p.Lanes)
}
