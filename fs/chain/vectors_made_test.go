package chain

import (
	"bytes"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// changed returns b with one byte increased; at counts from the end when negative.
func changed(b []byte, at int) []byte {
	b = bytes.Clone(b)
	if at < 0 {
		at += len(b)
	}
	b[at]++
	return b
}

func recordVectors(w *world) []vector {
	first := w.start.Suffix(0)
	dev := first[2].Encode()
	desktop := device(w.tb, 0x60)
	return []vector{
		{name: "volume", expect: "ok", comment: "record 0", hex: first[0].Encode()},
		{name: "epoch", expect: "ok", comment: "record 1", hex: first[1].Encode()},
		{name: "device", expect: "ok", comment: "record 2", hex: dev},
		{name: "device-2", expect: "ok", comment: "a device that enrols in slot 1", hex: w.device(1, 2, desktop, "desktop").Encode()},
		{name: "remove", expect: "ok", comment: "device 2 is none any more", hex: w.record(w.owner, 1, KindRemove, removeBody{2}.encode()).Encode()},
		{name: "rename", expect: "ok", comment: "device 1 has another name", hex: w.record(w.owner, 1, KindRename, renameBody{1, "desk"}.encode()).Encode()},
		{name: "writer", expect: "ok", comment: "device 1 hands the writing on to device 2", hex: w.record(w.owner, 1, KindWriter, writerBody{1, 2}.encode()).Encode()},
		{name: "accepted", expect: "ok", comment: "device 1 gives up slots 4 to 9", hex: w.record(w.owner, 4, KindAccepted, acceptance.encode()).Encode()},
		{name: "unknown-kind", expect: "ok", comment: "decodes; no ledger takes it", hex: w.record(w.owner, 1, 200, []byte("x")).Encode()},
		{name: "empty", expect: "malformed", comment: "no bytes"},
		{name: "cut", expect: "malformed", comment: "the last byte is missing", hex: dev[:len(dev)-1]},
		{name: "tail", expect: "malformed", comment: "a byte too many", hex: append(bytes.Clone(dev), 0)},
		{name: "body-length", expect: "malformed", comment: "the body claims 2^24 bytes more", hex: changed(dev, 45)},
		{name: "no-signatures", expect: "malformed", comment: "a list of none", hex: append(bytes.Clone(dev[:len(dev)-68]), 0)},
	}
}

func ledgerVectors(w *world) []vector {
	three := w.start.Encode()
	four := func(r Record) []byte {
		b := appendBytes(bytes.Clone(three), r.Encode())
		b[3]++
		return b
	}
	phone := device(w.tb, 0x70).Public()
	body := func(no meta.Device, name string) []byte { return deviceBody{no, name, phone}.encode() }
	good := w.record(w.owner, 1, KindDevice, body(2, "phone"))
	moved, unsigned := good, good
	moved.Prev[0]++
	unsigned.Slot++
	late := good
	late.N++
	// after is the ledger with the second device and what it is then told.
	after := func(kind Kind, b []byte) []byte {
		two := w.start.Clone()
		if err := two.Append(good); err != nil {
			w.tb.Fatal(err)
		}
		r := Record{N: good.N + 1, Prev: two.Head(), Slot: 1, Kind: kind, Body: b, Signer: good.Signer}.sign(w.Volume, w.owner)
		both := appendBytes(four(good), r.Encode())
		both[3]++
		return both
	}
	return []vector{
		{name: "three", expect: "ok", comment: "as init leaves it", hex: three},
		{name: "four", expect: "ok", comment: "a second device", hex: four(good)},
		{name: "none", expect: "malformed", comment: "no record", hex: make([]byte, 4)},
		{name: "cut", expect: "malformed", comment: "the last byte is missing", hex: three[:len(three)-1]},
		{name: "tail", expect: "malformed", comment: "a byte too many", hex: append(bytes.Clone(three), 0)},
		{name: "count", expect: "malformed", comment: "claims a record more", hex: changed(three, 3)},
		{name: "other-volume", expect: "forged", comment: "a random byte of record 0 changed", hex: changed(three, 4+4+4+32+8+1+4)},
		{name: "wrong-signature", expect: "forged", comment: "the slot is not the one signed", hex: four(unsigned)},
		{name: "wrong-prev", expect: "forged", comment: "signed, after another record", hex: four(moved.sign(w.Volume, w.owner))},
		{name: "wrong-place", expect: "forged", comment: "signed, a number left out", hex: four(late.sign(w.Volume, w.owner))},
		{name: "device-twice", expect: "refused", comment: "a second device 1", hex: four(w.record(w.owner, 1, KindDevice, body(1, "phone")))},
		{name: "device-gap", expect: "refused", comment: "device 3 before device 2", hex: four(w.record(w.owner, 1, KindDevice, body(3, "phone")))},
		{name: "device-name", expect: "malformed", comment: "a name with a slash", hex: four(w.record(w.owner, 1, KindDevice, body(2, "a/b")))},
		{name: "device-key", expect: "malformed", comment: "the identity point as a key", hex: four(w.record(w.owner, 1, KindDevice, weakDevice()))},
		{name: "writer", expect: "ok", comment: "a second device, to which the first hands the writing on", hex: after(KindWriter, writerBody{1, 2}.encode())},
		{name: "writer-unknown", expect: "refused", comment: "to a device that is none", hex: after(KindWriter, writerBody{1, 3}.encode())},
		{name: "writer-itself", expect: "malformed", comment: "from device 1 to device 1", hex: after(KindWriter, []byte{0, 1, 0, 1})},
		{name: "writer-tail", expect: "malformed", comment: "a byte too many", hex: after(KindWriter, []byte{0, 1, 0, 2, 0})},
		{name: "device-key-again", expect: "refused", comment: "a second device with the key of the first", hex: four(w.record(w.owner, 1, KindDevice, deviceBody{2, "b", w.laptop.Public()}.encode()))},
		{name: "remove", expect: "ok", comment: "a second device, and it is removed", hex: after(KindRemove, removeBody{2}.encode())},
		{name: "remove-unknown", expect: "refused", comment: "a device that is none", hex: after(KindRemove, removeBody{3}.encode())},
		{name: "remove-none", expect: "malformed", comment: "device 0", hex: after(KindRemove, []byte{0, 0})},
		{name: "remove-tail", expect: "malformed", comment: "a byte too many", hex: after(KindRemove, []byte{0, 2, 0})},
		{name: "rename", expect: "ok", comment: "a second device gets another name", hex: after(KindRename, renameBody{2, "desk"}.encode())},
		{name: "rename-unknown", expect: "refused", comment: "a device that is none", hex: after(KindRename, renameBody{3, "desk"}.encode())},
		{name: "rename-name", expect: "malformed", comment: "a name with a slash", hex: after(KindRename, renameBody{2, "a/b"}.encode())},
		{name: "rename-length", expect: "malformed", comment: "the name claims a byte more", hex: after(KindRename, changed(renameBody{2, "desk"}.encode(), 2))},
		{name: "unknown-kind", expect: "newer", comment: "kind 200, signed by the owner", hex: four(w.record(w.owner, 1, 200, []byte("x")))},
	}
}

// weakDevice is a device body with the small-order point under whose key one
// signature fits every message.
func weakDevice() []byte {
	key := make([]byte, 32)
	key[0] = 1
	return append([]byte{0, 2, 0, 1, 1, 0, 32}, key...)
}

func commitVectors(w *world) []vector {
	rootOnly := root.Encode()
	good := w.forge(forgery{slot: 1, batch: rootOnly})
	other := ID{7}
	otherVolume := crypt.VolumeID{9}
	phone := device(w.tb, 0x70)
	forbidden := append(root.Puts[:1:1], meta.KV{Key: []byte("u"), Value: []byte("rws")})
	withFile := batch(append(file(meta.MakePack(1, 1), 1).Puts, root.Puts...)...)
	newer := w.record(w.owner, 1, 200, []byte("x"))
	return []vector{
		{name: "first", expect: "valid", comment: "makes the root directory", slot: 1, hex: good},
		{name: "late", expect: "valid", comment: "slot 1 is dead", slot: 2, hex: w.forge(forgery{slot: 2, batch: rootOnly})},
		{name: "file", expect: "valid", comment: "root, a file and its pack in one operation", slot: 1, hex: w.forge(forgery{slot: 1, last: 1, batch: withFile.Encode()})},
		{name: "moved", expect: "junk", comment: "signed for slot 1, lies in slot 2", slot: 2, hex: good},
		{name: "resealed", expect: "junk", comment: "the content of a good one under another salt", slot: 1, hex: reseal(w, good)},
		{name: "flipped", expect: "junk", comment: "a bit of the ciphertext", slot: 1, hex: changed(good, 100)},
		{name: "cut", expect: "junk", comment: "the first byte is missing", slot: 1, hex: good[1:]},
		{name: "other-key", expect: "junk", comment: "sealed under another epoch key", slot: 1, hex: w.forge(forgery{slot: 1, batch: rootOnly, key: w.ek2()})},
		{name: "other-volume", expect: "junk", comment: "signed for another volume", slot: 1, hex: w.forge(forgery{slot: 1, batch: rootOnly, volume: &otherVolume})},
		{name: "unknown-device", expect: "junk", comment: "by device 2, which is none", slot: 1, hex: w.forge(forgery{slot: 1, batch: rootOnly, by: phone, no: 2})},
		{name: "other-signer", expect: "junk", comment: "says device 1, signed by another", slot: 1, hex: w.forge(forgery{slot: 1, batch: rootOnly, by: phone, no: 1})},
		{name: "forbidden-prefix", expect: "junk", comment: "puts what no batch may", slot: 1, hex: w.forge(forgery{slot: 1, batch: (&meta.Batch{Puts: forbidden}).Encode()})},
		{name: "no-root", expect: "junk", comment: "the first commit with an empty batch", slot: 1, hex: w.forge(forgery{slot: 1})},
		{name: "op-gap", expect: "junk", comment: "begins with operation 2", slot: 1, hex: w.forge(forgery{slot: 1, first: 2, last: 2, batch: rootOnly})},
		{name: "other-ledger", expect: "junk", comment: "names another ledger head", slot: 1, hex: w.forge(forgery{slot: 1, batch: rootOnly, ledger: &other})},
		{name: "pack-epoch", expect: "junk", comment: "a new pack of epoch 2", slot: 1, hex: w.forge(forgery{slot: 1, last: 1,
			batch: batch(append(file(meta.MakePack(1, 1), 2).Puts, root.Puts...)...).Encode()})},
		{name: "fork", expect: "evidence", comment: "signed on another commit", slot: 1, hex: w.forge(forgery{slot: 1, prev: &other, batch: rootOnly})},
		{name: "enrol-on-fork", expect: "evidence", comment: "a new device on another commit", slot: 1, hex: w.forge(forgery{slot: 1, prev: &other, by: phone, no: 2,
			recs: []Record{w.device(1, 2, phone, "phone")}})},
		{name: "unknown-record", expect: "stop", comment: "a record of kind 200, signed by the owner", slot: 1, hex: w.forge(forgery{slot: 1, recs: []Record{newer}})},
	}
}

// ek2 is an epoch key of nobody's.
func (w *world) ek2() *crypt.Key {
	k, err := crypt.KeyFromBytes(seed(32, 0xc0))
	if err != nil {
		w.tb.Fatal(err)
	}
	return k
}

func bodyVectors(w *world) []vector {
	content := func(f forgery) []byte {
		_, b := w.forgeContent(f)
		return b
	}
	good := content(forgery{slot: 1, batch: root.Encode()})
	phone := device(w.tb, 0x70)
	records := content(forgery{slot: 1, by: phone, no: 2, recs: []Record{w.device(1, 2, phone, "phone")}})
	announcing := func(k *Checkpoint) []byte { return content(forgery{slot: 9, checkpoint: k}) }
	link := Link{7, CommitID(w.Volume, 7, CommitID(w.Volume, 4, rootID(w.Volume), ID{1}, ID{2}), ID{3}, ID{4})}
	steps := []Step{{4, ID{1}, ID{2}}, {7, ID{3}, ID{4}}}
	origin := Link{0, rootID(w.Volume)}
	ops := map[meta.Device]meta.OpNo{1: 5, 3: 70}
	seen := map[meta.Device]Seen{1: {4, noon.UnixNano()}, 3: {7, noon.UnixNano() + 1}}
	return []vector{
		{name: "first", expect: "ok", comment: "the root directory", hex: good},
		{name: "enrolment", expect: "ok", comment: "a device record", hex: records},
		{name: "checkpoint", expect: "ok", comment: "announces the first checkpoint, of slot 7, without a table", hex: announcing(&Checkpoint{
			Link: link, Usage: meta.Usage{Inodes: 3, Bytes: 70000}, LastOp: ops, Seen: seen, Base: origin, Steps: steps})},
		{name: "checkpoint-later", expect: "ok", comment: "one after another, without steps, with tables", hex: announcing(&Checkpoint{
			Link: link, Usage: meta.Usage{Inodes: 3, Bytes: 70000}, LastOp: ops, Seen: seen, Base: link, Before: Link{5, ID{9}}, Tables: []byte("tables")})},
		{name: "checkpoint-seen", expect: "malformed", comment: "a device made a commit after the checkpoint", hex: announcing(&Checkpoint{
			Link: link, LastOp: ops, Seen: map[meta.Device]Seen{3: {8, 0}}, Base: link})},
		{name: "checkpoint-to-come", expect: "malformed", comment: "of the commit's own slot", hex: announcing(&Checkpoint{
			Link: Link{9, ID{1}}, LastOp: ops, Base: Link{9, ID{1}}})},
		{name: "checkpoint-before", expect: "malformed", comment: "the one before was announced later", hex: announcing(&Checkpoint{
			Link: link, LastOp: ops, Base: link, Before: Link{8, ID{9}}})},
		{name: "checkpoint-steps", expect: "malformed", comment: "the steps end elsewhere", hex: announcing(&Checkpoint{
			Link: Link{8, link.ID}, LastOp: ops, Base: origin, Steps: steps})},
		{name: "checkpoint-no-steps", expect: "malformed", comment: "no steps, and another base", hex: announcing(&Checkpoint{
			Link: link, LastOp: ops, Base: origin})},
		{name: "checkpoint-order", expect: "malformed", comment: "steps that do not ascend", hex: announcing(&Checkpoint{
			Link: link, LastOp: ops, Base: origin, Steps: []Step{steps[1], steps[0], steps[1]}})},
		{name: "checkpoint-cut", expect: "malformed", comment: "ends within the steps", hex: cutCheckpoint(announcing(&Checkpoint{
			Link: link, LastOp: ops, Base: origin, Steps: steps}))},
		{name: "empty", expect: "malformed", comment: "no bytes"},
		{name: "cut", expect: "malformed", comment: "the last byte is missing", hex: good[:len(good)-1]},
		{name: "tail", expect: "malformed", comment: "a byte too many", hex: append(bytes.Clone(good), 0)},
		{name: "body-length", expect: "malformed", comment: "claims 16 MiB more", hex: changed(good, 32)},
		{name: "batch-length", expect: "malformed", comment: "claims 16 MiB more", hex: changed(good, 32+4+62)},
		{name: "batch-byte", expect: "malformed", comment: "a range that is not there", hex: changed(good, 32+4+66)},
	}
}

// cutCheckpoint claims one step more than there are.
func cutCheckpoint(content []byte) []byte {
	// prev, body length, fields before the batch, empty batch, usage, checkpoint
	// length, link, usage, two devices, two links, number of steps
	empty := len((&meta.Batch{}).Encode())
	return changed(content, 32+4+62+4+empty+16+4+40+16+2+2*26+80+1)
}

func hintVectors(w *world) []vector {
	hint, ledger := w.hinted()
	sealed, err := ParseHint(hint)
	if err != nil {
		w.tb.Fatal(err)
	}
	flipped := *sealed
	flipped.envelope = changed(sealed.envelope, 0)
	name := [32]byte{1}
	return []vector{
		{name: "init", expect: "ok", comment: "of slot 0", hex: hint, ledger: ledger},
		{name: "flipped", expect: "seal", comment: "a byte of the sealed part", hex: flipped.Encode()},
		{name: "forged", expect: "forged", comment: "names another ledger", hex: w.forgeHint(w.laptop, &Hint{
			Commit: w.Head, Device: 1, Ledger: LedgerRef{Name: name, Size: int64(len(ledger)), Head: w.Ledger.Head()}}), ledger: ledger},
		{name: "short", expect: "malformed", comment: "the clear part only", hex: hint[:hintHead]},
		{name: "other-magic", expect: "malformed", comment: "no hint", hex: changed(hint[:hintHead], 0)},
		{name: "newer", expect: "newer", comment: "the magic of a later version", hex: changed(hint[:hintHead], 7)},
	}
}

func inhintVectors(w *world) []vector {
	h := &Hint{Slot: 3, Commit: ID{1}, Device: 1, Ledger: LedgerRef{Name: [32]byte{2}, Size: 5000, Head: ID{3}}}
	good := append(h.encode(), w.laptop.Sign(h.signed(w.Volume)).Encode()...)
	return []vector{
		{name: "good", expect: "ok", comment: "slot 3", hex: good},
		{name: "empty", expect: "malformed", comment: "no bytes"},
		{name: "cut", expect: "malformed", comment: "the last byte is missing", hex: good[:len(good)-1]},
		{name: "tail", expect: "malformed", comment: "a byte too many", hex: append(bytes.Clone(good), 0)},
		{name: "fold-above", expect: "malformed", comment: "a checkpoint announced above the hint's slot", hex: changed(good, 40)},
		{name: "ledger-size", expect: "malformed", comment: "a ledger of 2^56 bytes", hex: changed(good, 80+32)},
		{name: "fold-id", expect: "malformed", comment: "an announcing commit without a slot", hex: changed(good, 48)},
		{name: "inline-length", expect: "malformed", comment: "the ledger claims 16 MiB more", hex: changed(good, 80+72)},
	}
}
