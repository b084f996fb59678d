package history

import (
	"context"

	"github.com/hushfs/hushfs/fs/meta"
)

// Conflicts are the conflicts at the head that nobody has resolved, and the names of
// devices.
func (h *History) Conflicts(ctx context.Context) ([]meta.Standing, map[meta.Device]string, error) {
	all, _, err := meta.Standings(look(ctx, h.loaded.Confirmed))
	names := map[meta.Device]string{}
	for _, d := range h.state.Ledger.AllDevices() {
		names[d.No] = d.Name
	}
	return all, names, err
}

// Has says whether something lies at a path in the drive as it is now.
func (h *History) Has(ctx context.Context, path string) (bool, error) {
	s, err := h.scope(ctx, path)
	return err == nil && (s == nil || s.ino != 0), err
}
