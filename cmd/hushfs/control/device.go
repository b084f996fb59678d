package control

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/hushfs/hushfs/fs/volume"
)

// Devices is what a Daemon offers besides, whose drive has devices to be listed and
// changed:
//
//	GET  /devices                      -> a list of volume.Device
//	POST /devices/remove?number=2&…    -> the list after that
//	POST /devices/rename?number=2&name=…
type Devices interface {
	Devices(ctx context.Context) ([]volume.Device, error)
	RemoveDevices(ctx context.Context, numbers []int) error
	RenameDevice(ctx context.Context, number int, name string) error
}

// Devices asks for the devices of the drive, removed ones too.
func (c *Client) Devices(ctx context.Context) ([]volume.Device, error) {
	var l []volume.Device
	err := c.do(ctx, http.MethodGet, "/devices", nil, &l)
	return l, err
}

// RemoveDevices removes devices and returns what is there then.
func (c *Client) RemoveDevices(ctx context.Context, numbers []int) ([]volume.Device, error) {
	q := url.Values{}
	for _, n := range numbers {
		q.Add("number", strconv.Itoa(n))
	}
	var l []volume.Device
	err := c.do(ctx, http.MethodPost, "/devices/remove", q, &l)
	return l, err
}

// RenameDevice calls a device another name and returns what is there then.
func (c *Client) RenameDevice(ctx context.Context, number int, name string) ([]volume.Device, error) {
	var l []volume.Device
	err := c.do(ctx, http.MethodPost, "/devices/rename", url.Values{"number": {strconv.Itoa(number)}, "name": {name}}, &l)
	return l, err
}

// devices answers with the list, after change if there is one.
func (s *server) devices(change func(r *http.Request, d Devices) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d, ok := s.Daemon.(Devices)
		if !ok {
			http.NotFound(w, r)
			return
		}
		var l []volume.Device
		err := change(r, d)
		if err == nil {
			l, err = d.Devices(r.Context())
		}
		s.answer(w, l, err)
	}
}

func (s *server) handleDevices(mux *http.ServeMux) {
	mux.HandleFunc("GET /devices", s.devices(func(*http.Request, Devices) error { return nil }))
	mux.HandleFunc("POST /devices/remove", s.devices(func(r *http.Request, d Devices) error {
		var numbers []int
		for _, text := range r.URL.Query()["number"] {
			n, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			numbers = append(numbers, n)
		}
		return d.RemoveDevices(r.Context(), numbers)
	}))
	mux.HandleFunc("POST /devices/rename", s.devices(func(r *http.Request, d Devices) error {
		q := r.URL.Query()
		n, err := strconv.Atoi(q.Get("number"))
		if err != nil {
			return err
		}
		return d.RenameDevice(r.Context(), n, q.Get("name"))
	}))
}
