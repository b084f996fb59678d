// Package probe finds out whether a store keeps the one promise on which
// several writers rely: of those who race for a name, exactly one gets it.
//
// A store is not believed, and not asked once: servers have been in wide use
// that pass when puts come one after the other and let several racers win, or
// fail only when bodies are long (versitygw before 1.8, SeaweedFS 4.16). So
// sixteen racers, each on a connection of its own, race over several
// rounds; what is there is attacked again, read back by several, and looked at
// once more at the end; a part must be the part that was asked for, and a
// listing must show what has just been put.
//
// A store that breaks its promise now and then is found by chance: one that lets
// several win in one race of two passes once in 1,000 tests of ten rounds, in one of
// three once in 58, in one of ten once in three; when it does so with long bodies
// alone, which two of the rounds have, in one race of two, once in four.
//
// What remains is a verdict, of three: several machines may write, one may, or
// none. It is good for this endpoint and this version of the server, and a
// proof of nothing: a store that breaks its promise once in a million rounds
// passes. The chain finds that out by other means.
package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hushfs/hushfs/store"
)

const (
	racers    = 16
	minRounds = 4
	attacked  = 2 // rounds, the first of which is short and the second long, whose result is attacked
	after     = 4 // of the racers attack it, and as many read it

	rounds    = 10        // unless Options says otherwise
	small     = 1 << 10   // bytes of most bodies
	long      = 256 << 10 // bytes of those of the second round, and of each fifth after it
	longEvery = 5
	listed    = 4 // objects that are put and looked for in a listing, one by one

	glances = 4 // that each of some readers takes at a long body on its way

	cleanup = 20 * time.Second // for removing what was made, also when the caller gave up
)

// DefaultPrefix is where the scratch objects lie.
const DefaultPrefix = "v0/probe/"

// Options of a probe. The zero value is usable.
type Options struct {
	Prefix string // of scratch names, ending in '/'; empty: DefaultPrefix
	Rounds int    // of racing, at least 4; 0: 10
}

// Run probes the store, with about 300 requests and 9 MiB of uploads in 10
// rounds. It writes under a random name below the prefix and removes that
// again. The bucket must give calls that run at the same time connections of
// their own, as store/s3 does, and must not try again by itself.
//
// The error tells that there is no verdict: the store denies access, does not
// answer, or ctx has ended.
func Run(ctx context.Context, b store.Bucket, o Options) (*Verdict, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Rounds == 0 {
		o.Rounds = rounds
	}
	o.Rounds = max(o.Rounds, minRounds)
	var id [8]byte
	rand.Read(id[:])
	p := &run{bucket: b, prefix: o.Prefix + hex.EncodeToString(id[:]) + "/", objects: make(map[string][]byte), found: make(map[string]bool),
		verdict: &Verdict{When: time.Now(), Rounds: o.Rounds, Racers: racers}}
	err := p.all(ctx, o.Rounds)
	p.remove(ctx)
	if err != nil {
		return nil, fmt.Errorf("probe the store: %w", err)
	}
	p.verdict.Took = time.Since(p.verdict.When)
	return p.verdict, nil
}

// A run is a probe under way.
type run struct {
	bucket  store.Bucket
	prefix  string
	names   []string          // put so far, or tried to
	objects map[string][]byte // what must lie there
	verdict *Verdict

	mu    sync.Mutex      // guards found
	found map[string]bool // by a read
}

func (p *run) all(ctx context.Context, rounds int) error {
	if err := p.oneByOne(ctx); err != nil {
		return err
	}
	if err := p.warmUp(ctx); err != nil {
		return err
	}
	for round := range rounds {
		size := small
		if round%longEvery == 1 {
			size = long
		}
		if err := p.race(ctx, fmt.Sprintf("race-%02d", round), size, round < attacked); err != nil {
			return err
		}
	}
	if err := p.listings(ctx); err != nil {
		return err
	}
	return p.lookAgain(ctx)
}

// name returns a name in the scratch folder, which is removed at the end.
func (p *run) name(last string) string {
	name := p.prefix + last
	p.names = append(p.names, name)
	return name
}

func body(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// oneByOne puts, and puts again, without any haste.
func (p *run) oneByOne(ctx context.Context) error {
	name, first := p.name("one"), body(small)
	if err := p.bucket.PutIfAbsent(ctx, name, first); err != nil {
		return err
	}
	p.objects[name] = first
	for _, second := range [][]byte{body(small), first, body(small / 2)} {
		if err := p.attack(ctx, name, second); err != nil {
			return err
		}
	}
	if err := p.holds(ctx, name, Overwrites, "an object changed when its name was put again"); err != nil {
		return err
	}
	return p.part(ctx, name)
}

// part reads the end of an object, as a reader of packs does.
func (p *run) part(ctx context.Context, name string) error {
	const tail = small / 4
	got, err := p.bucket.Get(ctx, name, -tail, -1)
	switch {
	case errors.Is(err, store.ErrNotExist):
		p.misses(name)
	case err != nil:
		return err
	case len(got) != tail || !bytes.HasSuffix(p.objects[name], got) && !p.verdict.Has(Overwrites):
		p.finds(WrongRange, "a part of an object is not the one that was asked for")
	}
	return nil
}

// attack puts data under a taken name.
func (p *run) attack(ctx context.Context, name string, data []byte) error {
	switch err := p.bucket.PutIfAbsent(ctx, name, data); {
	case err == nil:
		p.finds(IgnoresCondition, "a put to a taken name was accepted")
	case !errors.Is(err, store.ErrExist) && !errors.Is(err, store.ErrUnavailable):
		return err
	}
	return nil
}

// holds reads the object and reports when it is not what must be there.
func (p *run) holds(ctx context.Context, name string, k Kind, words string) error {
	got, err := p.bucket.Get(ctx, name, 0, -1)
	switch {
	case errors.Is(err, store.ErrNotExist):
		p.misses(name)
	case err != nil:
		return err
	case !bytes.Equal(got, p.objects[name]):
		p.finds(k, words)
	default:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.found[name] = true
	}
	return nil
}

// misses reports that an object is not there.
func (p *run) misses(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found[name] {
		p.finds(Loses, "an object that was there is gone")
	} else {
		p.finds(StaleRead, "an object that was put is not found")
	}
}

// warmUp lets all racers ask for something that is not there: then their
// connections are open, and the race is one of puts and not of handshakes.
func (p *run) warmUp(ctx context.Context) error {
	name := p.prefix + "none"
	return together(racers, func(int) error {
		_, err := p.bucket.Get(ctx, name, 0, -1)
		switch {
		case err == nil:
			return fmt.Errorf("%w: it returns an object that nobody has put", store.ErrUnavailable)
		case !errors.Is(err, store.ErrNotExist):
			return err
		}
		return nil
	})
}

// together runs do for n racers at once.
func together(n int, do func(racer int) error) error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = do(i)
		})
	}
	close(start)
	wg.Wait()
	// One stands for all: they are mostly the same.
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// race lets all racers put their own body under one name, and again, with attack,
// when it is decided who has won.
func (p *run) race(ctx context.Context, last string, size int, attack bool) error {
	name := p.name(last)
	var bodies [racers][]byte
	var answers [racers]error
	for i := range bodies {
		bodies[i] = body(size)
	}
	watched := p.watch(ctx, name, bodies[:])
	together(racers, func(i int) error {
		answers[i] = p.bucket.PutIfAbsent(ctx, name, bodies[i])
		return nil
	})
	watched()
	var won, unclear []int
	for i, err := range answers {
		switch {
		case err == nil:
			won = append(won, i)
		case errors.Is(err, store.ErrExist):
		case errors.Is(err, store.ErrUnavailable):
			unclear = append(unclear, i)
		default:
			return err
		}
	}
	p.verdict.Unclear += len(unclear)
	if len(unclear) > racers/2 {
		return answers[unclear[0]] // that is no race
	}
	if len(won) > 1 {
		p.finds(SeveralWin, fmt.Sprintf("%d of %d racers were told that they had won (bodies of %d bytes)", len(won), racers, size))
	}
	got, err := p.bucket.Get(ctx, name, 0, -1)
	if err != nil && !errors.Is(err, store.ErrNotExist) {
		return err
	}
	who := slices.IndexFunc(bodies[:], func(b []byte) bool { return bytes.Equal(b, got) })
	switch {
	case err != nil && len(won) == 0 && len(unclear) > 0:
		return answers[unclear[0]] // nobody has been told anything
	case err != nil && len(won) == 0:
		p.finds(NobodyWins, "all racers were told that another had won, and none had")
		return nil
	case err != nil:
		p.misses(name)
		return nil
	case who < 0:
		p.finds(WrongBytes, "after a race the object is none of those that were put")
	case len(won) == 0 && !slices.Contains(unclear, who):
		p.finds(NobodyWins, "all racers were told that another had won")
	case len(won) == 1 && who != won[0]:
		p.finds(Overwrites, "after a race the object is not that of the winner")
	}
	p.objects[name] = got
	p.found[name] = true
	if !attack {
		return nil
	}
	return p.afterRace(ctx, name, bodies, size)
}

// watch has some readers look for the object of a race of long bodies while it is on,
// until the function that it returns is called: there may be none, or a whole one. What
// else goes wrong there does so again where it is looked at.
func (p *run) watch(ctx context.Context, name string, bodies [][]byte) (end func()) {
	if len(bodies[0]) <= small {
		return func() {}
	}
	over := make(chan struct{})
	var wg sync.WaitGroup
	for range after {
		wg.Go(func() {
			for range glances {
				got, err := p.bucket.Get(ctx, name, 0, -1)
				if err == nil && !slices.ContainsFunc(bodies, func(b []byte) bool { return bytes.Equal(b, got) }) {
					p.finds(Torn, "an object was seen before all of it was there")
				}
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	return func() { close(over); wg.Wait() }
}

// afterRace attacks what is decided, by some racers at once, and then lets as
// many read. Which connections they are on is the transport's choice.
func (p *run) afterRace(ctx context.Context, name string, bodies [racers][]byte, size int) error {
	attackers := after
	if size > small {
		attackers = 1 // which is enough, and long bodies cost
	}
	err := together(attackers, func(i int) error { return p.attack(ctx, name, bodies[i*racers/after]) })
	if err != nil {
		return err
	}
	return together(after, func(int) error {
		return p.holds(ctx, name, Overwrites, "an object changed when racers put its name again")
	})
}

// listings puts objects and looks at once whether each is listed: alone behind
// its predecessor, as who looks for the newest does, and now and then among all.
func (p *run) listings(ctx context.Context) error {
	folder := p.prefix + "list/"
	var names []string
	for i := range listed {
		// Downwards, as slots are named: each is the first of its folder.
		name, data := p.name(fmt.Sprintf("list/%02d", listed-i)), body(small)
		if err := p.bucket.PutIfAbsent(ctx, name, data); err != nil {
			return err
		}
		p.objects[name] = data
		names = append([]string{name}, names...)
		infos, err := p.bucket.List(ctx, folder, "", 1)
		if err != nil {
			return err
		}
		if len(infos) != 1 || infos[0].Name != name {
			p.finds(StaleList, "an object that has just been put is not the first that is listed, and should be")
		}
		if i%2 == 0 {
			continue // twice is enough: once to fill what remembers, once to be told of it
		}
		if infos, err = p.bucket.List(ctx, folder, "", 0); err != nil {
			return err
		}
		if !slices.EqualFunc(infos, names, func(i store.Info, name string) bool { return i.Name == name }) {
			p.finds(StaleList, "a listing does not show, in order, what has been put")
		}
	}
	return nil
}

// lookAgain reads what has been put, by now long decided.
func (p *run) lookAgain(ctx context.Context) error {
	for _, name := range p.names {
		if _, ok := p.objects[name]; !ok {
			continue
		}
		k, words := Overwrites, "an object changed some time after a race"
		if strings.HasPrefix(name, p.prefix+"list/") { // nobody else wanted the name
			k, words = WrongBytes, "an object is not as it was put"
		}
		if err := p.holds(ctx, name, k, words); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes what was made. What cannot be deleted only takes up room.
func (p *run) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	var mu sync.Mutex // guards p.verdict.Leftover
	together(racers, func(racer int) error {
		for i := racer; i < len(p.names); i += racers {
			if p.bucket.Delete(ctx, p.names[i]) != nil {
				mu.Lock()
				p.verdict.Leftover++
				mu.Unlock()
			}
		}
		return nil
	})
}

// finds adds to the verdict. The racers may call it at the same time.
func (p *run) finds(k Kind, words string) { p.verdict.add(k, words) }
