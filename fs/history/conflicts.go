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
