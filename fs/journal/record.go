package journal

import (
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// Kind says what a record tells. The numbers are those of the format.
type Kind uint8

const (
	KindOp      Kind = 1 // an operation of this device
	KindPack    Kind = 2 // a pack file that is complete and synced
	KindAttempt Kind = 3 // the sealed bytes of a commit, before their PUT
	KindSettled Kind = 4 // a slot of ours is in the chain
	KindLost    Kind = 5 // an attempt whose slot belongs to somebody else
	KindDropped Kind = 6 // packs that no operation needs any more
	kindCarried Kind = 7 // a pack record moved to the end so that an old file can go; read as KindPack
	kindIndex   Kind = 9 // of which inodes earlier operations are, to name those that are lost

	KindFollowed Kind = 10 // slots of other machines were followed, and what that made of operations
	KindPlace    Kind = 11 // under which name an operation found its file
)

// MaxRecord is the greatest encoding of one record, MaxAppend that of all records of one Append, in bytes.
const (
	MaxRecord = 2 << 20
	MaxAppend = 4 << 20
)

// Record is one entry of the journal: Kind, and the one field that belongs to it.
type Record struct {
	Kind     Kind
	Op       OpRecord
	Pack     PackRecord
	Attempt  AttemptRecord
	Settled  SettledRecord
	Lost     LostRecord
	Dropped  DroppedRecord
	Followed FollowedRecord
	Place    PlaceRecord
	index    []IndexEntry
}

// OpRecord is an operation and the bytes that it brings along. Numbers rise within a journal.
type OpRecord struct {
	No     meta.OpNo
	Time   meta.Time // of receipt
	Op     []byte    // meta.EncodeOp; opaque here
	Inline []Inline
	Inode  uint64 // that the operation changes, for the index; Open does not return it
}

// IndexEntry says of which inode an operation is.
type IndexEntry struct {
	No    meta.OpNo
	Inode uint64
}

// Inline is a run of file bytes that is not in a pack yet.
type Inline struct {
	Off  uint64 // in the file
	Data []byte
}

// PackRecord names a closed pack file. A later record of the same number replaces an earlier one: the pack was sealed anew.
type PackRecord struct {
	No     meta.PackNo
	Name   crypt.Name
	Length uint32 // true length of the content
	Epoch  crypt.Epoch
	Size   int64 // bytes of the object
}

// AttemptRecord is synced before the first PUT of a commit, so that the same bytes, and never others, are sent again.
type AttemptRecord struct {
	Slot        uint64
	ID          [32]byte
	First, Last meta.OpNo
	Object      []byte
}

// SettledRecord: operations up to Last and these packs are in the chain, and every slot up to Slot is known.
type SettledRecord struct {
	Slot  uint64
	ID    [32]byte
	Last  meta.OpNo
	Packs []meta.PackNo
}

// LostRecord: the slot of this attempt was seen to hold another commit.
type LostRecord struct {
	Slot uint64
	ID   [32]byte
}

// DroppedRecord: these closed packs are needed by no operation and will not be uploaded.
type DroppedRecord struct {
	Packs []meta.PackNo
}

// FollowedRecord: the operations that the journal holds, each in the form that it was
// given last, are those that follow the state after Slot. With More it counts only
// together with the next, which has the same Slot, and Rest. Where that goes on with the
// steps of the operation that this one ends with, both have a seam there: a step of a zero
// byte, and how many steps came before, uvarint.
type FollowedRecord struct {
	Slot     uint64
	More     bool
	Rest     bool
	Replaced []Replaced
}

// Replaced gives an operation another form. The operation lies in the journal before it.
type Replaced struct {
	No    meta.OpNo
	Steps [][]byte // meta.EncodeStep of each; opaque here
}

// PlaceRecord is under which name the operation No found its file, which was there before
// the operations of the journal: what is kept of a file after a conflict wants a name like
// the one that it had, and the file does not say it.
type PlaceRecord struct {
	No          meta.OpNo
	Ref, Parent meta.Ref
	Name        []byte // 1 to meta.MaxName bytes
}

// Operation, Packed, Attempted, Settled, Lost, Dropped, Followed and Placed make the record of their kind.
func Operation(r OpRecord) Record      { return Record{Kind: KindOp, Op: r} }
func Packed(r PackRecord) Record       { return Record{Kind: KindPack, Pack: r} }
func Attempted(r AttemptRecord) Record { return Record{Kind: KindAttempt, Attempt: r} }
func Settled(r SettledRecord) Record   { return Record{Kind: KindSettled, Settled: r} }
func Lost(r LostRecord) Record         { return Record{Kind: KindLost, Lost: r} }
func Dropped(r DroppedRecord) Record   { return Record{Kind: KindDropped, Dropped: r} }
func Followed(r FollowedRecord) Record { return Record{Kind: KindFollowed, Followed: r} }
func Placed(r PlaceRecord) Record      { return Record{Kind: KindPlace, Place: r} }
