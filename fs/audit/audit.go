// Package audit looks at a store as an outsider does: with the right to read it, and
// without any key.
//
// It says what everybody learns who gets so far: how many objects of which kind and
// size there are, and when they came. And it holds each of them to what it may show,
// which is no more than that: a name of a known form, a size of a known class, an
// envelope of known layout, and bytes that cannot be told from chance. What shows more
// is a finding: a file that was put there in clear, a true length, a note that a tool
// left beside an object.
//
// It cannot tell sealed data from other random bytes, or a good commit from a bad one;
// that needs keys, and is the work of package check. Nothing is written.
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/store"
)

// Place is a store that can be audited.
type Place interface {
	store.Surveyor
	Get(ctx context.Context, name string, off, length int64) ([]byte, error)
}

// Options of an audit. Place must be set.
type Options struct {
	Place Place

	// Sample is the part of the objects that are opened, 0 to 1; 0 means all. Names,
	// sizes and dates are looked at of all. They are drawn by Seed.
	Sample float64
	Seed   uint64

	// Data reads every byte of what is opened. Else of a large object the ends and
	// some segments between, drawn by Seed, have to do.
	Data bool

	Progress func(done Progress) // told now and then; nil: nobody is
	Now      func() time.Time    // nil is time.Now
}

// Progress is how far an audit is.
type Progress struct {
	Seen   int   // objects by name
	Opened int   // and of them, opened
	Bytes  int64 // read
}

const (
	readers    = 8 // objects that are opened at a time, each with some 4 MiB at most
	tries      = 3 // of a call that the store did not answer
	sayAtLeast = 200 * time.Millisecond
)

// auditor is an audit at work.
type auditor struct {
	o     Options
	tests battery

	mu     sync.Mutex // guards the fields below
	report *Report
	salts  map[[16]byte]struct{} // the first half of each salt: 2^64 objects have none twice by chance
	alike  map[alike]*Rest
	best   uint64 // counter of the newest header that was read
	said   time.Time
}

// Run audits a store. The report is there also when an error ends it before its end.
// Errors are those of the store and of ctx.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Sample <= 0 || o.Sample > 1 {
		o.Sample = 1
	}
	a := &auditor{o: o, report: &Report{Begun: o.Now().UTC(), Sample: o.Sample, Seed: o.Seed}, salts: map[[16]byte]struct{}{}, alike: map[alike]*Rest{}}
	err := a.run(ctx)
	a.report.Whole = err == nil
	a.report.Looked.Tests = a.tests.tests
	a.report.Looked.FalseAlarm = math.Min(1, float64(a.tests.tests)*math.Pow(2, -alarm))
	for _, rest := range a.alike {
		if rest.Count > 0 {
			a.report.Rest = append(a.report.Rest, *rest)
		}
	}
	a.report.finish(o.Now())
	return a.report, err
}

func (a *auditor) run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	err := a.o.Place.Survey(gctx, func(s store.Sight) error {
		at, wanted := a.sighted(s)
		if wanted {
			g.Go(func() error {
				err := a.open(gctx, at, s)
				a.say()
				return err
			})
		}
		a.say()
		return gctx.Err()
	})
	if werr := g.Wait(); werr != nil {
		err = werr // the survey ended because of it
	}
	if err != nil {
		return err
	}
	v, known, err := a.o.Place.Versions(ctx)
	if known {
		a.report.Learned.Versions = &v
	}
	return err
}

// sighted looks at a name, a size and a date. It says whether the object is to be
// opened as well.
func (a *auditor) sighted(s store.Sight) (place, bool) {
	if s.Size == 0 && (s.Name == "" || s.Name[len(s.Name)-1:] == folderMark) {
		return place{}, false
	}
	at := placeOf(s.Name)
	if !s.Object && at.kind != Temporary {
		at.kind = Foreign
	}
	a.mu.Lock()
	a.report.Learned.saw(at, s)
	a.mu.Unlock()
	if s.Odd {
		a.find(BadName, s.Name, "it is no file")
		return at, false
	}
	if e, ok := envelopes[at.kind]; ok {
		if _, ok := paddedIn(s.Size); !ok {
			a.find(BadSize, s.Name, "its %d bytes are no size class of hushfs, so its length tells more than it may", s.Size)
		} else if s.Size > e.max {
			a.find(BadSize, s.Name, "its %d bytes are more than a %s may have", s.Size, at.kind)
		}
	}
	return at, at.kind == Foreign || a.o.Sample >= 1 || float64(a.lot(s.Name, 0)) < a.o.Sample*math.MaxUint64
}

// lot is a number that hangs on the seed, a name and n alone.
func (a *auditor) lot(name string, n int) uint64 {
	b := binary.BigEndian.AppendUint64(nil, a.o.Seed)
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(b, uint64(n)), name...))
	return binary.BigEndian.Uint64(sum[:])
}

// alike are findings of one kind about objects of one kind.
type alike struct {
	kind Finds
	of   Kind
}

// find adds a finding. Of those that are alike the first are kept, so that a million of
// them leave room for another; the rest is summed.
func (a *auditor) find(kind Finds, object, format string, args ...any) {
	which := alike{kind, placeOf(object).kind}
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.alike[which]
	if r == nil {
		r = &Rest{Kind: which.kind, Of: which.of}
		a.alike[which] = r
	}
	if r.kept < maxAlike {
		r.kept++
		a.report.Findings = append(a.report.Findings, Finding{kind, object, fmt.Sprintf(format, args...)})
		return
	}
	if a.report.More++; r.Count == 0 || object < r.First {
		r.First = object
	}
	r.Count++
	r.Last = max(r.Last, object)
}

// say tells how far the audit is, now and then.
func (a *auditor) say() {
	a.mu.Lock()
	now := time.Now()
	due := now.Sub(a.said) >= sayAtLeast
	p := Progress{a.report.Learned.Objects, a.report.Looked.Objects, a.report.Looked.Bytes}
	if due {
		a.said = now
	}
	a.mu.Unlock()
	if due {
		a.o.Progress(p)
	}
}

// open looks into an object.
func (a *auditor) open(ctx context.Context, at place, s store.Sight) error {
	start, gone, err := a.beside(ctx, s)
	if err != nil || gone {
		return err
	}
	a.mu.Lock()
	a.report.Looked.Objects++
	a.mu.Unlock()
	look := &looking{auditor: a, ctx: ctx, at: at, sight: s}
	switch at.kind {
	case Header:
		err = look.header()
	case Hint:
		err = look.hint()
	case Foreign:
		a.count(len(start))
		a.find(BadName, s.Name, "nothing of hushfs is called so; %s", a.tests.looksLike(start))
	case Probe, Temporary:
		a.count(len(start)) // what a test or a writer that ended left behind: counted, and nothing is asked of it
	default:
		err = look.envelope(0)
	}
	return a.unread(s.Name, err)
}

// startSize is how much of an object's beginning tells what it is.
const startSize = 4 << 10

// beside looks at what is kept beside an object's bytes, and returns their beginning.
func (a *auditor) beside(ctx context.Context, s store.Sight) (start []byte, gone bool, err error) {
	var notes []store.Note
	err = again(ctx, func() (err error) {
		start, notes, err = a.o.Place.Look(ctx, s.Name, startSize)
		return err
	})
	if errors.Is(err, store.ErrNotExist) {
		return nil, true, nil // it went away since it was listed
	}
	if errors.Is(err, store.ErrDenied) {
		return nil, true, a.unread(s.Name, err)
	}
	for _, n := range notes {
		a.find(Beside, s.Name, "%s %q says %q: the store keeps it in clear", n.Kind, n.Name, n.Value)
	}
	return start, false, err
}

// unread makes a finding of an object that may not be read. What went away since it was
// listed is none.
func (a *auditor) unread(name string, err error) error {
	switch {
	case errors.Is(err, store.ErrNotExist):
		return nil
	case errors.Is(err, store.ErrDenied):
		a.find(Denied, name, "it could not be looked at: %s", store.Brief(err))
		return nil
	}
	return err
}

func (a *auditor) count(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report.Looked.Bytes += int64(n)
}

// again asks a store that gives no answer once more.
func again(ctx context.Context, do func() error) (err error) {
	wait := 200 * time.Millisecond
	for n := range tries {
		if err = do(); err == nil || !errors.Is(err, store.ErrUnavailable) || n == tries-1 {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
		wait *= 4
	}
	return err
}
