package audit

import (
	"cmp"
	"slices"
	"time"

	"github.com/hushfs/hushfs/store"
)

// Report is what an outsider learns of a store, and what in it shows more than it
// may. It names objects of the store, and nothing of a drive's files.
type Report struct {
	Begun    time.Time `json:"begun"`
	Seconds  float64   `json:"seconds"`
	Whole    bool      `json:"whole"` // the audit came to its end
	Sample   float64   `json:"sample"`
	Seed     uint64    `json:"seed"`
	Learned  Learned   `json:"learned"`
	Looked   Looked    `json:"looked"`
	Findings []Finding `json:"findings"`
	More     int       `json:"more_findings"` // that there was no room for
	Rest     []Rest    `json:"rest"`          // the same by kind
}

// Looked is what was looked at.
type Looked struct {
	Objects    int     `json:"objects"` // that were opened; names and sizes are looked at of all
	Bytes      int64   `json:"bytes"`
	Tests      int64   `json:"tests"`       // of whether bytes are chance
	FalseAlarm float64 `json:"false_alarm"` // at most so probable, for all of them together
}

// Finding is one thing that should not be there.
type Finding struct {
	Kind   Finds  `json:"kind"`
	Object string `json:"object"` // name in the store
	Detail string `json:"detail"`
}

// Rest are findings that there was no room for, all of one kind and about objects of one
// kind. Whoever may write to a store can make a million of them.
type Rest struct {
	Kind  Finds  `json:"kind"`
	Of    Kind   `json:"of"`
	Count int    `json:"count"`
	First string `json:"first"` // of the objects, by name
	Last  string `json:"last"`

	kept int // beside these
}

// Finds is what a finding is about.
type Finds string

// What is found.
const (
	BadName   Finds = "name"      // nothing of hushfs is called so
	BadSize   Finds = "size"      // no size class: its true length shows
	BadShape  Finds = "shape"     // not built as its kind is
	NotChance Finds = "entropy"   // its bytes can be told from chance
	Signed    Finds = "signature" // it begins as a known kind of file
	Beside    Finds = "metadata"  // something is kept beside its bytes
	Altered   Finds = "altered"   // its bytes are not those that its end names
	SameSalt  Finds = "salt"      // two objects were sealed under one key, or one is a copy
	Denied    Finds = "unread"    // it could not be looked at
)

// AllFinds are all of them.
var AllFinds = []Finds{BadName, BadSize, BadShape, NotChance, Signed, Beside, Altered, SameSalt, Denied}

// Learned is what everybody learns who may read the store, whatever keys he lacks.
type Learned struct {
	Objects  int             `json:"objects"`
	Bytes    int64           `json:"bytes"`
	First    time.Time       `json:"first"` // of the store's dates
	Last     time.Time       `json:"last"`
	Kinds    []KindSeen      `json:"kinds"`
	Drives   []string        `json:"drives"` // ids, which stand in the headers
	Ways     []Way           `json:"ways"`   // into the drive, of the newest header that can be read
	Volumes  []*Volume       `json:"volumes"`
	Versions *store.Versions `json:"versions,omitempty"` // nil: the store does not tell
}

// KindSeen is what is seen of a kind of objects.
type KindSeen struct {
	Kind     Kind  `json:"kind"`
	Objects  int   `json:"objects"`
	Bytes    int64 `json:"bytes"`
	Smallest int64 `json:"smallest"`
	Largest  int64 `json:"largest"`
	Sizes    int   `json:"sizes"` // different ones, 10,000 at most

	sizes map[int64]struct{}
}

// Way is a slot of a drive's header, as it stands there for all to read.
type Way struct {
	Type    string    `json:"type"` // "passphrase", "words", "type N"
	Created time.Time `json:"created"`
	Label   string    `json:"label,omitempty"`
}

// Volume is what is seen of a volume.
type Volume struct {
	ID         string  `json:"id"`
	Commits    Rhythm  `json:"commits"`
	Boxes      int     `json:"boxes"`      // most in a hint: there are at most so many members
	Principals int     `json:"principals"` // at least, as far as the boxes tell: they come in steps of 16
	Epochs     []Epoch `json:"epochs"`     // as far as objects were opened
	Packs      int     `json:"packs"`
	PackBytes  int64   `json:"pack_bytes"`

	epochs map[uint32]*Epoch
	days   map[int64]int
}

// Rhythm is when commits came, by the store's clock.
type Rhythm struct {
	Count      int       `json:"count"`
	First      time.Time `json:"first"`
	Last       time.Time `json:"last"`
	Days       int       `json:"days"` // with a commit
	Busiest    string    `json:"busiest,omitempty"`
	BusiestDay int       `json:"busiest_count"`
	Hours      [24]int   `json:"hours"` // of the day, UTC
}

// Epoch is how many objects say that they are of an epoch, and when they came.
type Epoch struct {
	Epoch   uint32    `json:"epoch"`
	Objects int       `json:"objects"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}

// Whoever may write to a store can fill it with anything; a report stays small.
const (
	maxAlike   = 500 // findings of one kind about objects of one kind
	maxSizes   = 10_000
	maxVolumes = 1_000
	maxEpochs  = 10_000
	maxDays    = 100_000
	maxDrives  = 100
)

// Clean says that nothing was found, as far as was looked.
func (r *Report) Clean() bool { return len(r.Findings) == 0 && r.More == 0 }

// saw counts an object by its name, size and date.
func (l *Learned) saw(at place, s store.Sight) {
	if l.Kinds == nil {
		for _, k := range Kinds {
			l.Kinds = append(l.Kinds, KindSeen{Kind: k, sizes: map[int64]struct{}{}})
		}
	}
	l.Objects++
	l.Bytes += s.Size
	within(&l.First, &l.Last, s.Modified)
	k := &l.Kinds[slices.Index(Kinds, at.kind)]
	if k.Objects == 0 || s.Size < k.Smallest {
		k.Smallest = s.Size
	}
	k.Objects++
	k.Bytes += s.Size
	k.Largest = max(k.Largest, s.Size)
	if len(k.sizes) < maxSizes {
		k.sizes[s.Size] = struct{}{}
	}
	v := l.volume(at)
	switch {
	case v == nil:
	case at.kind == Pack:
		v.Packs++
		v.PackBytes += s.Size
	case at.kind == Commit:
		v.commit(s.Modified)
	}
}

// volume is that of a place; nil when it is of none.
func (l *Learned) volume(at place) *Volume {
	if at.volume == (place{}).volume {
		return nil
	}
	id := at.volume.String()
	for _, v := range l.Volumes {
		if v.ID == id {
			return v
		}
	}
	if len(l.Volumes) >= maxVolumes || at.kind == Foreign {
		return nil
	}
	v := &Volume{ID: id, epochs: map[uint32]*Epoch{}, days: map[int64]int{}}
	l.Volumes = append(l.Volumes, v)
	return v
}

func (v *Volume) commit(at time.Time) {
	v.Commits.Count++
	if at.IsZero() {
		return
	}
	within(&v.Commits.First, &v.Commits.Last, at)
	at = at.UTC()
	v.Commits.Hours[at.Hour()]++
	if day := at.Unix() / 86400; v.days[day] > 0 || len(v.days) < maxDays {
		v.days[day]++
	}
}

func (v *Volume) epoch(n uint32, at time.Time) {
	e := v.epochs[n]
	if e == nil {
		if len(v.epochs) >= maxEpochs {
			return
		}
		e = &Epoch{Epoch: n}
		v.epochs[n] = e
	}
	e.Objects++
	within(&e.First, &e.Last, at)
}

func within(first, last *time.Time, at time.Time) {
	if at.IsZero() {
		return
	}
	if first.IsZero() || at.Before(*first) {
		*first = at
	}
	if at.After(*last) {
		*last = at
	}
}

// finish adds up and sorts.
func (r *Report) finish(now time.Time) {
	r.Seconds = now.Sub(r.Begun).Seconds()
	l := &r.Learned
	for i := range l.Kinds {
		l.Kinds[i].Sizes = len(l.Kinds[i].sizes)
	}
	l.Kinds = slices.DeleteFunc(l.Kinds, func(k KindSeen) bool { return k.Objects == 0 })
	for _, v := range l.Volumes {
		for _, e := range v.epochs {
			v.Epochs = append(v.Epochs, *e)
		}
		slices.SortFunc(v.Epochs, func(a, b Epoch) int { return int(a.Epoch) - int(b.Epoch) })
		if v.Boxes > 0 {
			v.Principals = max(1, v.Boxes-15)
		}
		v.Commits.Days = len(v.days)
		var best int64
		for day, n := range v.days {
			if n > v.Commits.BusiestDay || n == v.Commits.BusiestDay && day < best {
				best, v.Commits.BusiestDay = day, n
			}
		}
		if v.Commits.BusiestDay > 0 {
			v.Commits.Busiest = time.Unix(best*86400, 0).UTC().Format(time.DateOnly)
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		switch {
		case a.Object < b.Object:
			return -1
		case a.Object > b.Object:
			return 1
		}
		return 0
	})
	slices.SortFunc(r.Rest, func(a, b Rest) int {
		return cmp.Or(cmp.Compare(a.Of, b.Of), cmp.Compare(a.Kind, b.Kind))
	})
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	if r.Rest == nil {
		r.Rest = []Rest{}
	}
}
