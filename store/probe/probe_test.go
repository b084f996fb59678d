package probe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/dir"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/mem"
	"github.com/hushfs/hushfs/store/probe"
)

// liar is a store with some methods replaced.
type liar struct {
	*mem.Bucket
	put  func(ctx context.Context, name string, data []byte) error
	get  func(ctx context.Context, name string, off, length int64) ([]byte, error)
	list func(ctx context.Context, prefix, after string, limit int) ([]store.Info, error)
}

func (l *liar) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if l.put == nil {
		return l.Bucket.PutIfAbsent(ctx, name, data)
	}
	return l.put(ctx, name, data)
}

func (l *liar) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	if l.get == nil {
		return l.Bucket.Get(ctx, name, off, length)
	}
	return l.get(ctx, name, off, length)
}

func (l *liar) List(ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
	if l.list == nil {
		return l.Bucket.List(ctx, prefix, after, limit)
	}
	return l.list(ctx, prefix, after, limit)
}

func (l *liar) has(name string) bool { return slices.Contains(l.Names(), name) }

// sequential is an honest store for who comes alone: it looks, and then
// writes, with time enough between the two for others.
func sequential(l *liar, raced func(data []byte) bool) {
	l.put = func(ctx context.Context, name string, data []byte) error {
		if !raced(data) {
			return l.Bucket.PutIfAbsent(ctx, name, data)
		}
		if l.has(name) {
			return store.ErrExist
		}
		time.Sleep(time.Millisecond)
		l.Overwrite(name, data)
		return nil
	}
}

func TestLiars(t *testing.T) {
	for _, c := range []struct {
		fact string
		lie  func(l *liar)
		want []probe.Kind
	}{
		{"the condition is ignored", func(l *liar) {
			l.put = func(_ context.Context, name string, data []byte) error { l.Overwrite(name, data); return nil }
		}, []probe.Kind{probe.IgnoresCondition, probe.Overwrites, probe.SeveralWin}},
		{"the condition is ignored, and the object kept", func(l *liar) {
			l.put = func(ctx context.Context, name string, data []byte) error {
				l.Bucket.PutIfAbsent(ctx, name, data)
				return nil
			}
		}, []probe.Kind{probe.IgnoresCondition, probe.SeveralWin}},
		{"a put is refused, and overwrites", func(l *liar) {
			l.put = func(ctx context.Context, name string, data []byte) error {
				err := l.Bucket.PutIfAbsent(ctx, name, data)
				l.Overwrite(name, data)
				return err
			}
		}, []probe.Kind{probe.Overwrites}},
		{"one wins when they come one by one, all in a race", func(l *liar) {
			sequential(l, func([]byte) bool { return true })
		}, []probe.Kind{probe.SeveralWin}},
		{"several win when bodies are long", func(l *liar) {
			sequential(l, func(data []byte) bool { return len(data) >= 256<<10 })
		}, []probe.Kind{probe.SeveralWin}},
		{"two win", func(l *liar) {
			var mu sync.Mutex
			losers := make(map[string]int)
			l.put = func(ctx context.Context, name string, data []byte) error {
				err := l.Bucket.PutIfAbsent(ctx, name, data)
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, store.ErrExist) && strings.Contains(name, "race-03") {
					if losers[name]++; losers[name] == 9 {
						return nil
					}
				}
				return err
			}
		}, []probe.Kind{probe.SeveralWin}},
		{"nobody wins", func(l *liar) {
			l.put = func(ctx context.Context, name string, data []byte) error {
				err := l.Bucket.PutIfAbsent(ctx, name, data)
				if strings.Contains(name, "race") {
					return store.ErrExist
				}
				return err
			}
		}, []probe.Kind{probe.NobodyWins}},
		{"a loser's bytes stay", func(l *liar) {
			l.put = func(ctx context.Context, name string, data []byte) error {
				err := l.Bucket.PutIfAbsent(ctx, name, data)
				if err == nil && strings.Contains(name, "race") {
					time.Sleep(time.Millisecond)
					l.Overwrite(name, []byte("a mixture"))
				}
				return err
			}
		}, []probe.Kind{probe.WrongBytes}},
		{"a loser's put arrives late", func(l *liar) {
			var late []byte
			var mu sync.Mutex
			l.put = func(ctx context.Context, name string, data []byte) error {
				err := l.Bucket.PutIfAbsent(ctx, name, data)
				mu.Lock()
				defer mu.Unlock()
				if strings.Contains(name, "race-00") && late == nil && err != nil {
					late = bytes.Clone(data)
				}
				if strings.HasSuffix(name, "list/03") {
					l.Overwrite(strings.Replace(name, "list/03", "race-00", 1), late)
				}
				return err
			}
		}, []probe.Kind{probe.Overwrites}},
		{"what was put is found later", func(l *liar) {
			asked := make(map[string]bool)
			var mu sync.Mutex
			l.get = func(ctx context.Context, name string, off, length int64) ([]byte, error) {
				mu.Lock()
				defer mu.Unlock()
				if !asked[name] {
					asked[name] = true
					return nil, store.ErrNotExist
				}
				return l.Bucket.Get(ctx, name, off, length)
			}
		}, []probe.Kind{probe.StaleRead}},
		{"what was put is listed later", func(l *liar) {
			var old []store.Info
			l.list = func(ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
				now, err := l.Bucket.List(ctx, prefix, after, limit)
				stale := old
				old = now
				return stale, err
			}
		}, []probe.Kind{probe.StaleList}},
		{"only full listings are fresh", func(l *liar) {
			l.list = func(ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
				infos, err := l.Bucket.List(ctx, prefix, after, 0)
				if limit == 1 {
					infos = infos[len(infos)-1:]
				}
				return infos, err
			}
		}, []probe.Kind{probe.StaleList}},
		{"a listing is out of order", func(l *liar) {
			l.list = func(ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
				infos, err := l.Bucket.List(ctx, prefix, after, limit)
				slices.Reverse(infos)
				return infos, err
			}
		}, []probe.Kind{probe.StaleList}},
	} {
		t.Run(c.fact, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &liar{Bucket: mem.New()}
				c.lie(l)
				v, err := probe.Run(t.Context(), l, probe.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if v.Good() {
					t.Fatal("not noticed")
				}
				for _, k := range c.want {
					if !v.Has(k) {
						t.Errorf("not noticed: %s", k)
					}
				}
				if s := v.String(); !strings.Contains(s, "Only one machine may write") {
					t.Error(s)
				}
				if left := l.Names(); len(left) != 0 {
					t.Errorf("left behind: %q", left)
				}
			})
		})
	}
}

func TestHonestStores(t *testing.T) {
	d, err := dir.Open(t.TempDir(), dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m := mem.New()
	for fact, b := range map[string]store.Bucket{
		"mem": m, "dir": d,
		"the winner's answer gets lost":   fault.Wrap(mem.New(), fault.On(fault.Put, 1, fault.LostAnswer).Prefix("")),
		"answers of a race get lost":      fault.Wrap(mem.New(), fault.On(fault.Put, 7, fault.LostAnswer), fault.On(fault.Put, 9, fault.LostAnswer)),
		"some never arrive":               fault.Wrap(mem.New(), fault.On(fault.Put, 8, fault.Fail(store.ErrUnavailable)), fault.On(fault.Put, 11, fault.Late)),
		"the race's first answer is lost": fault.Wrap(mem.New(), fault.On(fault.Put, 5, fault.LostAnswer)),
	} {
		v, err := probe.Run(t.Context(), b, probe.Options{})
		if fact == "the winner's answer gets lost" {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s, before any race: %v, %v", fact, v, err)
			}
			continue
		}
		if err != nil || !v.Good() || v.Rounds != 6 || v.Racers != 16 || v.Leftover != 0 {
			t.Errorf("%s: %v, %v", fact, v, err)
		}
	}
	if left := m.Names(); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestNoVerdict(t *testing.T) {
	for _, c := range []struct {
		fact string
		rule fault.Rule
		want error
	}{
		{"writing is denied", fault.On(fault.Put, 0, fault.Fail(store.ErrDenied)), store.ErrDenied},
		{"no answer", fault.On(fault.Put, 0, fault.Fail(store.ErrUnavailable)), store.ErrUnavailable},
		{"no answer from the first race on", fault.On(fault.Put, 5, fault.Fail(store.ErrUnavailable)).Onwards(), store.ErrUnavailable},
		{"full", fault.On(fault.Put, 10, fault.Fail(store.ErrFull)), store.ErrFull},
		{"reading is denied", fault.On(fault.Get, 0, fault.Fail(store.ErrDenied)), store.ErrDenied},
		{"listing is denied", fault.On(fault.List, 0, fault.Fail(store.ErrDenied)), store.ErrDenied},
	} {
		m := mem.New()
		v, err := probe.Run(t.Context(), fault.Wrap(m, c.rule), probe.Options{})
		if v != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", c.fact, v, err)
		}
		if left := m.Names(); len(left) != 0 {
			t.Errorf("%s: left behind: %q", c.fact, left)
		}
	}
}

// Who gives up in the middle finds the bucket as it was.
func TestCancelledProbeCleansUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mem.New()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		v, err := probe.Run(ctx, fault.Wrap(m, fault.On(fault.Put, 40, fault.Hang)), probe.Options{})
		if v != nil || !errors.Is(err, context.DeadlineExceeded) || len(m.Names()) != 0 {
			t.Errorf("%v, %v, left behind: %q", v, err, m.Names())
		}
	})
}

func TestWhereNobodyMayDelete(t *testing.T) {
	m := mem.New()
	v, err := probe.Run(t.Context(), fault.Wrap(m, fault.On(fault.Delete, 0, fault.Fail(store.ErrDenied))), probe.Options{Prefix: "scratch/"})
	if err != nil || !v.Good() || v.Leftover != len(m.Names()) || v.Leftover == 0 || !strings.Contains(v.String(), "could not be removed") {
		t.Errorf("%v, %v", v, err)
	}
	for _, name := range m.Names() {
		if !strings.HasPrefix(name, "scratch/") {
			t.Errorf("left behind: %s", name)
		}
	}
}

func TestVerdictIsKept(t *testing.T) {
	v := &probe.Verdict{When: time.Unix(1, 0).UTC(), Took: time.Second, Rounds: 6, Racers: 16,
		Findings: []probe.Finding{{Kind: probe.SeveralWin, Words: "2 of 16", Times: 3}}}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var got probe.Verdict
	if err := json.Unmarshal(b, &got); err != nil || got.Good() || !got.Has(probe.SeveralWin) || got.String() != v.String() || !got.When.Equal(v.When) {
		t.Errorf("%s, %v", b, err)
	}
}
