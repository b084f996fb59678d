package volume

import "github.com/hushfs/hushfs/fs/meta"

// Device says what the ledger of the chain that the store shows calls a device, and whether
// it was removed.
func (h *Heads) Device(no meta.Device) (name string, removed bool) {
	for _, d := range h.l.Chain.Ledger.AllDevices() {
		if d.No == no {
			return d.Name, d.Removed > 0
		}
	}
	return "", false
}
