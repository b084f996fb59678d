package control

import (
	"context"
	"net/http"
	"net/url"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// What a daemon that knows conflicts is asked besides. Here alone names that lie in the
// drive travel, to the drive's user.
//
//	GET  /conflicts             those that nobody has resolved  -> Conflicts
//	POST /conflicts/resolve     ?id=2-15&keep=mine&token=...    -> Status
//	POST /conflicts/identical   resolves those whose sides are the same bytes -> Conflicts

// Conflicts is a list of them.
type Conflicts struct {
	Conflicts []volume.Conflict `json:"conflicts"`
}

// Resolver is a Daemon that knows conflicts.
type Resolver interface {
	Conflicts(ctx context.Context) ([]volume.Conflict, error)
	Resolve(ctx context.Context, id meta.ConflictID, keep volume.Keep, token string) error
	// Identical returns what it resolved, also beside an error.
	Identical(ctx context.Context) ([]volume.Conflict, error)
}

// handleConflicts answers those requests when the daemon can.
func (s *server) handleConflicts(mux *http.ServeMux) {
	d, ok := s.Daemon.(Resolver)
	if !ok {
		return
	}
	mux.HandleFunc("GET /conflicts", func(w http.ResponseWriter, r *http.Request) {
		all, err := d.Conflicts(r.Context())
		s.answer(w, Conflicts{append([]volume.Conflict{}, all...)}, err)
	})
	mux.HandleFunc("POST /conflicts/identical", func(w http.ResponseWriter, r *http.Request) {
		all, err := d.Identical(r.Context())
		s.answer(w, Conflicts{append([]volume.Conflict{}, all...)}, err)
	})
	mux.HandleFunc("POST /conflicts/resolve", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		id, ok := meta.ParseConflictID(q.Get("id"))
		keep := volume.Keep(q.Get("keep"))
		if !ok || keep != volume.KeepMine && keep != volume.KeepTheirs && keep != volume.KeepBoth {
			http.Error(w, "id or keep is none", http.StatusBadRequest)
			return
		}
		err := d.Resolve(r.Context(), id, keep, q.Get("token"))
		s.answer(w, s.Daemon.Status(), err)
	})
}

// Conflicts asks for the conflicts that nobody has resolved.
func (c *Client) Conflicts(ctx context.Context) ([]volume.Conflict, error) {
	var r Conflicts
	err := c.do(ctx, http.MethodGet, "/conflicts", nil, &r)
	return r.Conflicts, err
}

// Resolve resolves one, if it is still as token says.
func (c *Client) Resolve(ctx context.Context, id string, keep volume.Keep, token string) (Status, error) {
	var s Status
	err := c.do(ctx, http.MethodPost, "/conflicts/resolve", url.Values{"id": {id}, "keep": {string(keep)}, "token": {token}}, &s)
	return s, err
}

// Identical resolves those whose sides hold the same bytes, and returns them.
func (c *Client) Identical(ctx context.Context) ([]volume.Conflict, error) {
	var r Conflicts
	err := c.do(ctx, http.MethodPost, "/conflicts/identical", nil, &r)
	return r.Conflicts, err
}
