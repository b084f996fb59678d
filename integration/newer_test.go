package integration

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/store/dir"
)

// tomorrow is a member who works with a newer version of the program, on a machine that
// is not a device of the drive yet.
type tomorrow struct {
	t      testing.TB
	store  *dir.Bucket
	volume crypt.VolumeID
	owner  *identity.Identity
	next   chain.Slot
	*chain.State
}

// tomorrow opens the machine's drive, as it is now.
func (m *machine) tomorrow() *tomorrow {
	m.t.Helper()
	b, err := dir.Open(m.store, dir.Options{})
	must(m.t, err)
	u, err := drive.Unlock(m.t.Context(), b, drive.UnlockOptions{Passphrase: bytes.TrimRight(read(m.t, m.pass), "\n")})
	must(m.t, err)
	m.t.Cleanup(u.Wipe)
	vol, keys := u.Main().ID, &publish.Keys{}
	tables := block.New(block.Options{
		Bucket: b, Cache: cache.Off(), Volume: vol, Key: keys.Key, Memory: 1 << 20,
		Place: func(o block.Object) string { return chain.TableName(vol, o.Name) },
		Bad:   func(string, error) {},
	})
	defer tables.Close()
	l, err := publish.Load(m.t.Context(), publish.LoadOptions{
		Bucket: b, Volume: vol, Identity: u.Identity(), Tables: tables, Keys: keys,
		Memory: table.NewMemory(1 << 20), Log: slog.New(slog.DiscardHandler),
	})
	must(m.t, err)
	return &tomorrow{m.t, b, vol, u.Identity(), l.Next, l.Chain}
}

func sized(b, more []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(more))), more...)
}

// record is the next one of the ledger, of a kind that no program of today knows, signed
// by the owner: docs/format.md, "Ledger".
func (f *tomorrow) record() chain.Record {
	r := chain.Record{
		N: uint32(f.Ledger.Len()), Prev: f.Ledger.Head(), Slot: f.next, Kind: 200, Body: []byte("of tomorrow"),
		Signer: f.owner.Public().Principal(),
	}
	rest := binary.BigEndian.AppendUint64(nil, uint64(r.Slot))
	rest = append(sized(append(rest, byte(r.Kind)), r.Body), r.Signer[:]...)
	sum := sha256.Sum256(rest)
	s := append([]byte("hushfs/ledger\x00"), f.volume[:]...)
	s = binary.BigEndian.AppendUint32(s, r.N)
	r.Signature = f.owner.Sign(slices.Concat(s, r.Prev[:], sum[:]))
	return r
}

// commits takes the next slot with a commit that holds such a record: docs/format.md,
// "Commit". It returns the path of the object.
func (f *tomorrow) commits() string {
	f.t.Helper()
	r := f.record()
	ledger := r.Hash()
	body := binary.BigEndian.AppendUint16(nil, uint16(f.Ledger.HighestDevice())+1)
	body = binary.BigEndian.AppendUint64(body, uint64(time.Now().UnixNano()))
	body = binary.BigEndian.AppendUint32(body, uint32(f.Epoch))
	body = binary.BigEndian.AppendUint64(body, 1) // first operation
	body = binary.BigEndian.AppendUint64(body, 0) // last: there is none
	body = append(body, ledger[:]...)
	body = sized(body, (&meta.Batch{}).Encode())
	body = append(body, make([]byte, 16)...)
	body = sized(body, nil) // no checkpoint
	body = binary.BigEndian.AppendUint16(body, 1)
	body = sized(body, r.Encode())

	s := crypt.NewSealer(f.Key, f.volume, crypt.TypeCommit, f.Epoch)
	header, sum := s.HeaderHash(), sha256.Sum256(body)
	signed := append([]byte("hushfs/commit\x00"), f.volume[:]...)
	signed = binary.BigEndian.AppendUint64(signed, uint64(f.next))
	signed = slices.Concat(signed, f.Head[:], header[:], sum[:])
	content := append(sized(bytes.Clone(f.Head[:]), body), identity.NewDevice().Sign(signed).Encode()...)
	object, _, err := s.Seal(nil, content)
	must(f.t, err)
	if j := f.Judge(f.next, object, nil); j.Verdict != chain.Stop || !j.Newer {
		f.t.Fatalf("the commit of tomorrow is %v: %s", j.Verdict, j.Reason)
	}
	name := chain.SlotName(f.volume, f.next)
	must(f.t, f.store.PutIfAbsent(f.t.Context(), name, object))
	return name
}

// stored are the objects of a store.
func stored(t testing.TB, store string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range objects(t, store) {
		all[name] = fmt.Sprintf("%x", sha256.Sum256(read(t, filepath.Join(store, name))))
	}
	return all
}

// update is the advice to who has an old program.
var update = []string{"newer", "Install a newer hushfs"}

// A drive that a newer program wrote to is read as it was before, and written no more:
// what waits stays, each command that is to send it says what to do, and the next version
// sends it.
func TestCommitOfANewerVersion(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	m.ok(m.mountArgs()...)
	must(t, writeSynced(m.in("a"), os.O_CREATE, []byte("1")))
	m.ok("umount", m.mnt)
	n := m.another()
	n.ok(n.mountArgs()...)
	must(t, writeSynced(n.in("n"), os.O_CREATE, []byte("1")))
	n.ok("sync", n.mnt)
	// Behind a slot that is nobody's it is as good as anywhere else.
	f := m.tomorrow()
	must(t, f.store.PutIfAbsent(t.Context(), chain.SlotName(f.volume, f.next), []byte("junk")))
	name := m.tomorrow().commits()
	store := stored(t, m.store)

	// It comes while the drive is mounted.
	n.refused(6, append(update, "slot"), "sync", n.mnt)
	stopped := func(who *machine) {
		t.Helper()
		if s := who.status()[0].Volume.Stopped; !strings.Contains(s, "newer") || !strings.Contains(s, "slot") {
			t.Errorf("status says %q", s)
		}
	}
	stopped(n)
	must(t, writeSynced(n.in("b"), os.O_CREATE, []byte("waits")))
	if string(read(t, n.in("a"))) != "1" || string(read(t, n.in("b"))) != "waits" {
		t.Error("what is there cannot be read")
	}
	n.refused(6, update, "wait", n.mnt)
	n.refused(14, update, "umount", n.mnt)

	// And it is there at a mount: of the machine that has something to send, of the one
	// that has not, and of a new one.
	for _, who := range []*machine{n, m, m.another()} {
		r := who.run(who.mountArgs()...)
		if r.code != 0 || !strings.Contains(r.stderr, "newer") {
			t.Errorf("mount: exit code %d\n%s", r.code, r.stderr)
		}
		stopped(who)
		if string(read(t, who.in("a"))) != "1" || string(read(t, who.in("n"))) != "1" {
			t.Error("what is there cannot be read")
		}
		if who == n {
			if string(read(t, who.in("b"))) != "waits" {
				t.Error("what waits cannot be read")
			}
			n.refused(14, update, "umount", n.mnt)
			continue
		}
		who.ok("umount", who.mnt)
	}
	m.refused(6, update, "fsck", "--passphrase-file", m.pass, m.store)
	m.refused(6, update, "log", "--verify", "--passphrase-file", m.pass, m.store)
	sameManifest(t, "the store", store, stored(t, m.store))

	// As the next version has it, for which there is nothing strange in the slot.
	must(t, os.Remove(filepath.Join(m.store, filepath.FromSlash(name))))
	n.ok(n.mountArgs()...)
	n.ok("umount", n.mnt)
	m.ok(m.mountArgs()...)
	if string(read(t, m.in("b"))) != "waits" {
		t.Error("what waited did not come")
	}
	m.ok("umount", m.mnt)
}

// Where newer programs have written all hints that there are, a drive is not taken for a
// damaged one.
func TestHintsOfANewerVersion(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	m.ok(m.mountArgs()...)
	must(t, writeSynced(m.in("a"), os.O_CREATE, []byte("1")))
	m.ok("umount", m.mnt)
	for _, name := range ofKind(t, m.store, "hint") {
		path := filepath.Join(m.store, name)
		b := read(t, path)
		b[7]++
		must(t, os.WriteFile(path, b, 0o600))
	}
	store := stored(t, m.store)
	for _, who := range []*machine{m, m.another()} {
		who.refused(6, update, who.mountArgs()...)
	}
	sameManifest(t, "the store", store, stored(t, m.store))
}
