package control

import (
	"errors"
	"path/filepath"
	"testing"
	"time"
)

func TestSync(t *testing.T) {
	f := &fake{phase: Mounted, drained: make(chan struct{})}
	c, _ := serve(t, filepath.Join(t.TempDir(), "s"), f)
	s, err := c.Sync(t.Context(), 0)
	if err != nil || s.Before != 1 || s.Slot != 3 || s.Status.PID != 7 {
		t.Errorf("%+v, %v", s, err)
	}
	var p *Problem
	if _, err := c.Sync(t.Context(), time.Millisecond); !errors.As(err, &p) {
		t.Errorf("the time was over: %v", err)
	}
	close(f.drained)
	if _, err := c.Sync(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
}
