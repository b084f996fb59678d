package journal

import "fmt"

// turn is one sync of the file and all who wait for it.
type turn struct {
	upto uint64 // records that it covers
	done chan struct{}
	err  error
}

// Sync returns when everything up to pos, as Append gave it, is on the disk;
// a pos beyond the last record means all of them. Callers that come while
// another sync runs share the next one.
//
// An error means that the records may be lost by a power cut. They stay in
// memory, and the next Sync writes them to another file.
func (j *Journal) Sync(pos uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.syncTo(pos); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	return nil
}

// syncTo is Sync with mu held; it is let go while the disk works.
func (j *Journal) syncTo(pos uint64) error {
	pos = min(pos, j.seq)
	for pos > j.durable {
		switch t := j.turn; {
		case j.broken != nil:
			return j.broken
		case t != nil:
			if j.wait(t); t.err != nil && pos <= t.upto {
				return t.err
			}
		case j.cur == nil:
			return ErrClosed
		case j.failing:
			if err := j.abandon(); err != nil {
				return err
			}
		default:
			if err := j.lead().err; err != nil {
				return err
			}
		}
	}
	return nil
}

// lead syncs the current file for all who wait. mu is held, and let go while the
// disk works; no turn is in flight.
func (j *Journal) lead() *turn {
	t := &turn{upto: j.seq, done: make(chan struct{})}
	w, index := j.cur, j.cur.index
	j.turn = t
	j.mu.Unlock()
	j.opts.Step(stepSync)
	err := w.f.Datasync()
	j.opts.Step(stepSynced)
	j.mu.Lock()
	if err == nil {
		j.durable, w.durable = t.upto, index
		j.release()
		if j.cur == w {
			j.setMark()
		}
	} else {
		// The pages may count as clean now, so a second sync would succeed and mean nothing.
		j.failing = true
		if t.err = j.abandon(); t.err != nil {
			t.err = fmt.Errorf("%w (after: %w)", t.err, err)
		}
	}
	j.turn = nil
	close(t.done)
	return t
}

// wait waits for a turn to end, mu let go meanwhile.
func (j *Journal) wait(t *turn) {
	j.mu.Unlock()
	<-t.done
	j.mu.Lock()
}
