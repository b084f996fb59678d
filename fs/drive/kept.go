package drive

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/state"
	"github.com/hushfs/hushfs/store"
)

// kept returns this machine's copies of headers that are worth a try after found
// did not open: those of the drive expected, or of all drives that lie in b.
func (o *UnlockOptions) kept(ctx context.Context, b store.Bucket, found []*keyslot.Header) ([]*keyslot.Header, error) {
	tried := map[string]bool{}
	slots := 0
	for _, h := range found {
		tried[string(h.Encode())] = true
		for _, s := range h.Slots {
			if s.Type == keyslot.TypePassphrase {
				slots++
			}
		}
	}
	// With more slots than runs of Argon2id a header may have been passed over.
	all := o.Recovery != nil || slots <= keyslot.MaxPassphraseSlots
	var worth []headerCopy
	for _, c := range copies(o.StateRoot) {
		if (o.Expect == nil || ID(c.Drive) == *o.Expect) && !(all && tried[string(c.Encode())]) {
			worth = append(worth, c)
		}
	}
	return lying(ctx, b, worth)
}

// headerCopy is a header in a state folder. Nothing vouches for it.
type headerCopy struct {
	*keyslot.Header
	main crypt.VolumeID
}

// copies reads the copies of headers in the state folders under root.
func copies(root string) []headerCopy {
	if root == "" {
		return nil
	}
	// A folder that cannot be read has nothing to offer.
	dirs, _ := state.Folders(root)
	var all []headerCopy
	for _, dir := range dirs {
		main, raw, err := state.Header(dir, keyslot.MaxSize)
		if err != nil {
			continue
		}
		if h, err := keyslot.Decode(raw); err == nil && ID(h.Drive).Short() == filepath.Base(dir) && bytes.Equal(h.Encode(), raw) {
			all = append(all, headerCopy{h, main})
		}
	}
	return all
}

// lying returns the headers of those drives whose main volume lies in b.
func lying(ctx context.Context, b store.Bucket, all []headerCopy) ([]*keyslot.Header, error) {
	var here []*keyslot.Header
	for _, c := range all {
		page, err := b.List(ctx, chain.SlotPrefix(c.main), "", 1)
		if err != nil {
			return nil, fmt.Errorf("look for a drive: %w", err)
		}
		if len(page) > 0 {
			here = append(here, c.Header)
		}
	}
	return here, nil
}
