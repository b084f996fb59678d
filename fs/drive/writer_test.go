package drive

import (
	"testing"

	"github.com/hushfs/hushfs/crypt/keyslot"
)

// Who may write to a drive of a single writer stands in what only the root key
// opens, and goes to the daemon with the rest.
func TestSingleWriter(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		w := newWorld(t)
		o := w.options()
		o.SingleWriter = wanted
		_, err := Create(ctx, w.bucket, o)
		must(t, err)
		u, err := w.unlock(t.TempDir())
		must(t, err)
		daemon, err := FromHandover(u.Handover())
		must(t, err)
		for _, u := range []*Unlocked{u, daemon} {
			only, single := u.Writer()
			if single != wanted || (only == 1) != wanted {
				t.Errorf("made for a single writer: %v; says %v, device %d", wanted, single, only)
			}
			u.Wipe()
		}
	}
}

// A setting that a later program wrote lets nobody write.
func TestSingleWriterOfAnotherForm(t *testing.T) {
	for _, value := range [][]byte{nil, {1}, {0, 0}, {0, 1, 0}} {
		u := &Unlocked{keyring: &keyslot.Keyring{Settings: []keyslot.KV{
			{Key: "another", Value: keyslot.NewValue([]byte{0, 1})},
			{Key: settingWriter, Value: keyslot.NewValue(value)},
		}}}
		if only, single := u.Writer(); !single || only != 0 {
			t.Errorf("%x: %v, device %d", value, single, only)
		}
	}
}
