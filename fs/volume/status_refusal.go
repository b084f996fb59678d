package volume

import (
	"errors"

	"github.com/hushfs/hushfs/store"
)

// notTaken says whether a store answered that it does not take what was sent: it has no
// room, or not for this machine. It says so again until a person has done something.
func notTaken(err error) bool {
	return errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrDenied)
}

// Refusal is why the store does not take what waits, though it answers: store.ErrFull or
// store.ErrDenied; nil where it takes it, does not answer, or nothing waits. It is tried
// again.
func (v *Volume) Refusal() error {
	_, why := v.bucket.refusal()
	if why == nil || v.view.Pending().Len() == 0 {
		return nil
	}
	return refusal{why}
}

// refusal is an error that notTaken knows in words for people, without the objects' names.
type refusal struct{ why error }

func (r refusal) Error() string {
	brief := store.Brief(r.why)
	switch {
	case !errors.Is(r.why, store.ErrFull):
		return "the store refuses: " + brief
	case brief == store.ErrFull.Error():
		return "the store is full"
	}
	return "the store is full: " + brief
}

func (r refusal) Unwrap() error { return r.why }

// setNotTaken puts a Refusal into words; nil: the store takes what is sent.
func (s *Status) setNotTaken(why error) {
	switch {
	case why == nil:
		return
	case errors.Is(why, store.ErrFull):
		s.NotTakenNext = "make room in the store"
	default:
		if s.NotTakenNext = store.Advice(why); s.NotTakenNext == "" {
			s.NotTakenNext = "check the permissions of the store"
		}
	}
	s.NotTaken = why.Error()
}
