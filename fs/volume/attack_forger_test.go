package volume

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// forger is a store that knows the format of every object, as docs/format.md has it, and
// holds the keys of the epochs, as a member does who may read. He makes what no program
// makes, and signs it with whatever key he is given.
type forger struct {
	w  *world
	l  *publish.Loaded
	st *chain.State // after the newest commit
	id *identity.Identity
}

// forger follows the chain as it is now.
func (w *world) forger() *forger {
	w.t.Helper()
	l := w.load()
	return &forger{w: w, l: l, st: l.Chain, id: identity.New()}
}

// owner is the identity of the member, for those attackers who have it.
func (w *world) owner() *identity.Identity {
	w.t.Helper()
	u, err := drive.FromHandover(w.unlock)
	if err != nil {
		w.t.Fatal(err)
	}
	return u.Identity()
}

// stolen is the key of a machine's device, and its number.
func (m *machine) stolen() (*identity.Device, meta.Device) {
	m.t.Helper()
	dev, no, _ := m.v.state.Device()
	own, err := identity.DeviceFromSeed(dev.Seed())
	if err != nil {
		m.t.Fatal(err)
	}
	return own, no
}

// forged are the fields of a commit, none of which is checked.
type forged struct {
	prev        chain.ID
	device      meta.Device
	epoch       crypt.Epoch
	first, last meta.OpNo
	ledger      chain.ID
	batch       []byte
	checkpoint  []byte
	records     []chain.Record
}

// next are the fields of a commit of a device on the head, which changes nothing.
func (f *forger) next(no meta.Device) forged {
	last := f.st.LastOp[no]
	return forged{prev: f.st.Head, device: no, epoch: f.st.Epoch, first: last + 1, last: last, ledger: f.st.Ledger.Head(), batch: (&meta.Batch{}).Encode()}
}

// making has a commit make a folder in the root, by one operation.
func (c forged) making(name string) forged {
	ref := meta.Ref{Home: meta.Root, Ino: meta.MakeIno(c.device, 1<<30)}
	var b meta.Builder
	b.Add(&meta.Batch{Puts: []meta.KV{{Key: meta.DirentKey(meta.Root, []byte(name)), Value: meta.AppendDirent(nil, meta.Dirent{Ref: ref, Kind: meta.Dir})}}})
	b.Add(&meta.Batch{Puts: []meta.KV{{Key: meta.InodeKey(ref), Value: meta.AppendInode(nil, &meta.Inode{Kind: meta.Dir, Perm: 0o755, Nlink: 2, Parent: meta.RootRef})}}})
	c.batch, c.last = b.Batch().Encode(), c.first
	return c
}

// with has a commit carry ledger records.
func (c forged) with(records ...chain.Record) forged {
	c.records, c.ledger = records, records[len(records)-1].Hash()
	return c
}

func sized(b, more []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(more))), more...)
}

// body is the body of a commit: docs/format.md, "Commit".
func (c forged) body() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(c.device))
	b = binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixNano()))
	b = binary.BigEndian.AppendUint32(b, uint32(c.epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(c.first))
	b = binary.BigEndian.AppendUint64(b, uint64(c.last))
	b = append(b, c.ledger[:]...)
	b = sized(b, c.batch)
	b = append(b, make([]byte, 16)...) // sums
	b = sized(b, c.checkpoint)
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.records)))
	for _, r := range c.records {
		b = sized(b, r.Encode())
	}
	return b
}

// commit seals a commit for a slot, signed by a device, under a key of the epochs.
func (f *forger) commit(slot chain.Slot, by *identity.Device, c forged) (object []byte, id chain.ID) {
	f.w.t.Helper()
	key, ok := f.st.EpochKey(c.epoch)
	if !ok {
		f.w.t.Fatalf("no key of epoch %d", c.epoch)
	}
	s := crypt.NewSealer(key, f.w.vol, crypt.TypeCommit, c.epoch)
	body := c.body()
	header, sum := s.HeaderHash(), sha256.Sum256(body)
	signed := append([]byte("hushfs/commit\x00"), f.w.vol[:]...)
	signed = binary.BigEndian.AppendUint64(signed, uint64(slot))
	signed = slices.Concat(signed, c.prev[:], header[:], sum[:])
	content := append(sized(bytes.Clone(c.prev[:]), body), by.Sign(signed).Encode()...)
	object, _, err := s.Seal(nil, content)
	if err != nil {
		f.w.t.Fatal(err)
	}
	return object, sha256.Sum256(signed)
}

// record is the next one of the ledger, in the name of a principal and signed by anybody.
func (f *forger) record(slot chain.Slot, kind chain.Kind, body []byte, name [32]byte, by *identity.Identity) chain.Record {
	r := chain.Record{N: uint32(f.st.Ledger.Len()), Prev: f.st.Ledger.Head(), Slot: slot, Kind: kind, Body: body, Signer: name}
	return f.signed(r, by)
}

// signed signs a record anew.
func (f *forger) signed(r chain.Record, by *identity.Identity) chain.Record {
	rest := binary.BigEndian.AppendUint64(nil, uint64(r.Slot))
	rest = append(sized(append(rest, byte(r.Kind)), r.Body), r.Signer[:]...)
	sum := sha256.Sum256(rest)
	s := append([]byte("hushfs/ledger\x00"), f.w.vol[:]...)
	s = binary.BigEndian.AppendUint32(s, r.N)
	r.Signature = by.Sign(slices.Concat(s, r.Prev[:], sum[:]))
	return r
}

// hint seals a hint that names a commit, a checkpoint's and a ledger, signed by a device.
// Its boxes are those of a hint that is there, so that every member finds the key.
func (f *forger) hint(like []byte, h chain.Hint, ledger []byte, by *identity.Device) []byte {
	f.w.t.Helper()
	b := binary.BigEndian.AppendUint64(nil, uint64(h.Slot))
	b = append(b, h.Commit[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Fold.Slot))
	b = slices.Concat(b, h.Fold.ID[:], h.Ledger.Name[:])
	b = binary.BigEndian.AppendUint64(b, uint64(h.Ledger.Size))
	b = sized(append(b, h.Ledger.Head[:]...), ledger)
	b = binary.BigEndian.AppendUint16(b, uint16(h.Device))
	sum := sha256.Sum256(b)
	signed := slices.Concat([]byte("hushfs/hint\x00"), f.w.vol[:], sum[:])
	envelope, _, err := crypt.NewSealer(f.st.Key, f.w.vol, crypt.TypeHint, f.st.Epoch).Seal(nil, append(b, by.Sign(signed).Encode()...))
	if err != nil {
		f.w.t.Fatal(err)
	}
	boxes := int(binary.BigEndian.Uint16(like[hintHead-2:]))
	return append(bytes.Clone(like[:hintHead+boxes*identity.BoxSize]), envelope...)
}

// hintHead is what a hint begins with: magic, epoch, check value, number of boxes.
const hintHead = 8 + 4 + 32 + 2

// aead opens and seals the segments of an object, whose tail he was given: the key comes
// from that of the epoch and the salt, which stands in the header.
func (f *forger) aead(header []byte) (aead cipher.AEAD, associated []byte) {
	f.w.t.Helper()
	key, ok := f.st.EpochKey(crypt.Epoch(binary.BigEndian.Uint32(header[8:])))
	if !ok {
		f.w.t.Fatal("an object of an epoch that he has no key of")
	}
	context := slices.Concat(header[5:7], f.w.vol[:], header[12:44]) // suite, type, volume, salt
	block, err := aes.NewCipher(key.Derive("hushfs/object", context, 64)[:32])
	if err != nil {
		f.w.t.Fatal(err)
	}
	if aead, err = cipher.NewGCM(block); err != nil {
		f.w.t.Fatal(err)
	}
	sum := sha256.Sum256(slices.Concat(header, f.w.vol[:]))
	return aead, sum[:]
}

// opened is an object cut into the plaintexts of its segments, and its header.
func (f *forger) opened(object []byte) (segments [][]byte, header []byte) {
	f.w.t.Helper()
	tail, err := crypt.ParseTail(object)
	if err != nil {
		f.w.t.Fatal(err)
	}
	header = object[len(object)-crypt.HeaderSize:]
	aead, associated := f.aead(header)
	sealed := object[:len(object)-tail.Size()]
	for i := range tail.Segments() {
		n := min(len(sealed), crypt.SegmentSize+crypt.Overhead)
		plain, err := aead.Open(nil, nonce(header[6], i, tail.Segments()), sealed[:n], associated)
		if err != nil {
			f.w.t.Fatal(err)
		}
		segments, sealed = append(segments, plain), sealed[n:]
	}
	return segments, header
}

// resealed puts plaintexts under the header of another object: every tag is right. With
// its tail nothing but the hashes in it are wrong; else these are right, and the name is
// another.
func (f *forger) resealed(segments [][]byte, header, tail []byte) []byte {
	aead, associated := f.aead(header)
	var object, hashes []byte
	for i, s := range segments {
		sealed := aead.Seal(nil, nonce(header[6], i, len(segments)), s, associated)
		sum := sha256.Sum256(sealed)
		object, hashes = append(object, sealed...), append(hashes, sum[:]...)
	}
	if tail != nil {
		return append(object, tail...)
	}
	hashes = binary.BigEndian.AppendUint32(hashes, uint32(len(segments)))
	return slices.Concat(object, hashes, header)
}

func nonce(kind byte, index, of int) []byte {
	n := make([]byte, 12)
	n[0] = kind
	if index == of-1 {
		n[1] = 1
	}
	binary.BigEndian.PutUint64(n[4:], uint64(index))
	return n
}

// tells finds that the machine named an object of the store in its log and in its status:
// a slot by its number, and there by counting it, more than there were before.
func (m *machine) tells(object string, before uint64) {
	m.t.Helper()
	names := []string{object}
	if slot, ok := chain.ParseSlotName(m.v.o.Drive.Main().ID, object); ok {
		names = append(names, fmt.Sprintf("slot=%d ", slot))
	}
	if log := m.log.String(); !slices.ContainsFunc(names, func(n string) bool { return strings.Contains(log, n) }) {
		m.t.Errorf("the log of the %s does not name %s:\n%s", m.name, object, log)
	}
	s := m.v.Status()
	if !strings.Contains(strings.Join(append(s.Warnings, s.Damaged...), " "), object) && s.DeadSlots <= before {
		m.t.Errorf("the status of the %s does not name %s: damaged %q, warnings %q, %d dead slots, %d before", m.name, object, s.Damaged, s.Warnings, s.DeadSlots, before)
	}
}
