package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"
)

// ServerOptions of Serve; all fields are needed.
type ServerOptions struct {
	Daemon  Daemon
	Explain func(error) *Problem // puts an error of Daemon in words
	Log     *slog.Logger
}

// Serve answers on l until ctx ends, then gives running requests the time grace
// to get their answer and returns. l is closed.
func Serve(ctx context.Context, l net.Listener, grace time.Duration, o ServerOptions) error {
	s := &server{o}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("POST /wait", s.wait)
	mux.HandleFunc("POST /sync", s.sync)
	mux.HandleFunc("POST /unmount", s.unmount)
	mux.HandleFunc("POST /shutdown", s.shutdown)
	s.handleDevices(mux)
	s.handleConflicts(mux)
	h := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(&peers{l, o.Log}) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := h.Shutdown(last)
	if err != nil {
		err = errors.Join(err, h.Close())
	}
	<-ended
	return err
}

type server struct{ ServerOptions }

func (s *server) status(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, s.Daemon.Status(), nil)
}

// limited is the context of a request that says how long it may take.
func limited(w http.ResponseWriter, r *http.Request) (ctx context.Context, cancel context.CancelFunc, ok bool) {
	t := r.URL.Query().Get("timeout")
	if t == "" {
		return r.Context(), func() {}, true
	}
	d, err := time.ParseDuration(t)
	if err != nil || d < 0 {
		http.Error(w, "timeout is no duration", http.StatusBadRequest)
		return nil, nil, false
	}
	ctx, cancel = context.WithTimeout(r.Context(), d)
	return ctx, cancel, true
}

func (s *server) sync(w http.ResponseWriter, r *http.Request) {
	ctx, cancel, ok := limited(w, r)
	if !ok {
		return
	}
	defer cancel()
	synced, err := s.Daemon.Sync(ctx, r.URL.Query().Has("timeout"))
	s.answer(w, synced, err)
}

func (s *server) wait(w http.ResponseWriter, r *http.Request) {
	ctx, cancel, ok := limited(w, r)
	if !ok {
		return
	}
	defer cancel()
	var err error
	if text := r.URL.Query().Get("inode"); text == "" {
		err = s.Daemon.WaitStored(ctx)
	} else if inode, bad := strconv.ParseUint(text, 10, 64); bad == nil {
		err = s.Daemon.WaitFile(ctx, inode)
	} else {
		http.Error(w, "inode is no number", http.StatusBadRequest)
		return
	}
	s.answer(w, s.Daemon.Status(), err)
}

func (s *server) unmount(w http.ResponseWriter, r *http.Request) {
	err := s.Daemon.Unmount(r.Context(), r.URL.Query().Get("lazy") == "1")
	s.answer(w, s.Daemon.Status(), err)
}

func (s *server) shutdown(w http.ResponseWriter, r *http.Request) {
	result, err := s.Daemon.Shutdown(r.Context(), How{Lazy: r.URL.Query().Get("lazy") == "1", Now: r.URL.Query().Get("now") == "1"})
	s.answer(w, result, err)
}

// answer writes v, or err as a Problem. An answer that cannot be written has no
// reader any more.
func (s *server) answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusConflict)
		v = failure{s.Explain(err)}
	}
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.Log.Debug("control answer not delivered", "err", err)
	}
}

// failure is the body of every answer that is an error.
type failure struct {
	Error *Problem `json:"error"`
}
