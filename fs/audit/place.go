package audit

import (
	"strings"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
)

// Kind is what a name says an object is.
type Kind string

// The kinds.
const (
	Header    Kind = "header"
	Commit    Kind = "commit"
	Hint      Kind = "hint"
	Ledger    Kind = "ledger"
	Manifest  Kind = "manifest"
	Table     Kind = "table"
	Bundle    Kind = "bundle"
	Pack      Kind = "pack"
	Probe     Kind = "probe"     // left over from a test of the store
	Temporary Kind = "temporary" // of a store in a directory: what is being written, or was
	Foreign   Kind = "foreign"   // no name of hushfs
)

// Kinds are all kinds, in the order in which they are told.
var Kinds = []Kind{Header, Hint, Ledger, Commit, Manifest, Table, Bundle, Pack, Probe, Temporary, Foreign}

// KindOf is the kind of the object that has the name.
func KindOf(name string) Kind { return placeOf(name).kind }

// place is what a name tells.
type place struct {
	kind   Kind
	volume crypt.VolumeID
	name   *crypt.Name // of those that lie under the hash of their tail
}

// envelopes are the types that the kinds are sealed as, and how large an object of the
// kind may be.
var envelopes = map[Kind]struct {
	typ crypt.Type
	max int64
}{
	Commit:   {crypt.TypeCommit, chain.MaxCommit},
	Ledger:   {crypt.TypeLedger, chain.MaxLedger},
	Manifest: {crypt.TypeManifest, crypt.ObjectSize(crypt.MaxContent)},
	Table:    {crypt.TypeTable, crypt.ObjectSize(crypt.MaxContent)},
	Bundle:   {crypt.TypeBundle, crypt.ObjectSize(crypt.MaxContent)},
	Pack:     {crypt.TypePack, crypt.ObjectSize(64 << 20)},
}

const (
	volumes    = "v0/s/"
	probes     = "v0/probe/"
	temporary  = ".tmp/"
	idLen      = 2 * len(crypt.VolumeID{})
	folderMark = "/" // at the end of an empty key, with which some tools mark folders
)

// placeOf takes a name apart.
func placeOf(name string) place {
	switch {
	case strings.HasPrefix(name, probes):
		return place{kind: Probe}
	case strings.HasPrefix(name, temporary):
		return place{kind: Temporary}
	}
	if _, err := keyslot.ParseObjectName(name); err == nil {
		return place{kind: Header}
	}
	rest, ok := strings.CutPrefix(name, volumes)
	if !ok || len(rest) < idLen+3 {
		return place{kind: Foreign}
	}
	v, err := crypt.ParseVolumeID(rest[:idLen])
	if err != nil || rest[idLen] != '/' {
		return place{kind: Foreign}
	}
	p := place{kind: Foreign, volume: v}
	if _, ok := chain.ParseSlotName(v, name); ok {
		p.kind = Commit
		return p
	}
	if _, ok := chain.ParseHintName(v, name); ok {
		p.kind = Hint
		return p
	}
	if n, ok := chain.ParsePackName(v, name); ok {
		p.kind, p.name = Pack, &n
		return p
	}
	for folder, kind := range map[string]Kind{"a/": Ledger, "t/": Table, "x/": Manifest, "b/": Bundle} {
		if hex, ok := strings.CutPrefix(rest[idLen+1:], folder); ok {
			if n, err := crypt.ParseName(hex); err == nil && n.String() == hex {
				p.kind, p.name = kind, &n
			}
		}
	}
	return p
}

// paddedIn is how many bytes were sealed in an envelope of that size; false when no
// envelope has it. Lengths are padded before they are sealed, so few sizes exist.
func paddedIn(size int64) (int64, bool) {
	const perSegment = crypt.SegmentSize + crypt.Overhead + 32
	fixed := crypt.TailSize(1) - 32 // without the hashes
	segments := (size - fixed + perSegment - 1) / perSegment
	padded := size - fixed - segments*(crypt.Overhead+32)
	if segments < 1 || segments > crypt.MaxSegments || padded < 1 || crypt.Padme(padded) != padded {
		return 0, false
	}
	return padded, crypt.ObjectSize(padded) == size
}
