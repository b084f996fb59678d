package meta

import "encoding/binary"

// AppendDirent appends the encoding of a good dirent.
func AppendDirent(dst []byte, d Dirent) []byte {
	return appendRef(append(dst, byte(d.Kind)), d.Ref)
}

// DecodeDirent reads what AppendDirent wrote, or answers ErrMalformed. No name
// stands for the root directory.
func DecodeDirent(b []byte) (Dirent, error) {
	d := decoder{b: b}
	e := Dirent{Kind: Kind(d.u8()), Ref: d.ref()}
	d.must(e.Kind.valid() && e.Ref.valid() && e.Ref.Ino != Root)
	if err := d.done(); err != nil {
		return Dirent{}, err
	}
	return e, nil
}

// AppendExtent appends the encoding of a good extent without its place in the
// file, which its key says.
func AppendExtent(dst []byte, e Extent) []byte {
	dst = appendUvarint(dst, e.Len)
	dst = appendUvarint(dst, uint64(e.Pack))
	return appendUvarint(dst, uint64(e.PackOff))
}

// DecodeExtent reads what AppendExtent wrote of the extent that ends at end,
// or answers ErrMalformed.
func DecodeExtent(end uint64, b []byte) (Extent, error) {
	d := decoder{b: b}
	e := d.extent()
	d.must(e.Len <= end && end <= MaxFileSize)
	e.Off = end - e.Len
	if err := d.done(); err != nil {
		return Extent{}, err
	}
	return e, nil
}

// extent is an extent without Off.
func (d *decoder) extent() Extent {
	e := Extent{Len: d.upTo(MaxExtent), Pack: PackNo(d.uvarint()), PackOff: uint32(d.upTo(MaxExtent))}
	d.must(e.inPack())
	return e
}

func (e Extent) inPack() bool {
	return 0 < e.Len && e.Len <= MaxExtent && validNumber(uint64(e.Pack)) && uint64(e.PackOff) <= MaxExtent-e.Len
}

// AppendPackRecord appends the encoding of a good record, 40 bytes.
func AppendPackRecord(dst []byte, p PackRecord) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, p.Name[:]...), p.Length)
	return binary.BigEndian.AppendUint32(dst, p.Epoch)
}

// DecodePackRecord reads what AppendPackRecord wrote, or answers ErrMalformed.
// Epochs count from 1.
func DecodePackRecord(b []byte) (PackRecord, error) {
	if len(b) != 40 {
		return PackRecord{}, ErrMalformed
	}
	p := PackRecord{
		Name:   [32]byte(b),
		Length: binary.BigEndian.Uint32(b[32:]),
		Epoch:  binary.BigEndian.Uint32(b[36:]),
	}
	if p.Length == 0 || p.Length > MaxExtent || p.Epoch == 0 {
		return PackRecord{}, ErrMalformed
	}
	return p, nil
}

// AppendRetired appends the slot in which a pack was retired, 8 bytes.
func AppendRetired(dst []byte, slot uint64) []byte {
	return binary.BigEndian.AppendUint64(dst, slot)
}

// DecodeRetired reads what AppendRetired wrote, or answers ErrMalformed.
func DecodeRetired(b []byte) (slot uint64, err error) {
	if len(b) != 8 {
		return 0, ErrMalformed
	}
	return binary.BigEndian.Uint64(b), nil
}

// AppendSnapshot appends the encoding of a snapshot, 40 bytes.
func AppendSnapshot(dst []byte, s Snapshot) []byte {
	return append(binary.BigEndian.AppendUint64(dst, s.Slot), s.Commit[:]...)
}

// DecodeSnapshot reads what AppendSnapshot wrote, or answers ErrMalformed.
func DecodeSnapshot(b []byte) (Snapshot, error) {
	if len(b) != 40 {
		return Snapshot{}, ErrMalformed
	}
	return Snapshot{Slot: binary.BigEndian.Uint64(b), Commit: [32]byte(b[8:])}, nil
}
