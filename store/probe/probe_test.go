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

// A lie is what a store does in place of what it was asked for, as rules of
// package fault over a store that is honest.
type lie func(m *mem.Bucket) []fault.Rule

// puts lets do answer all puts.
func puts(do func(m *mem.Bucket, r fault.Request) error) lie {
	return func(m *mem.Bucket) []fault.Rule {
		return []fault.Rule{fault.On(fault.Put, 0, func(_ context.Context, r fault.Request) fault.Answer {
			return fault.Answer{Err: do(m, r)}
		})}
	}
}

// lists lets change spoil what is listed.
func lists(change func(r fault.Request, infos []store.Info) []store.Info) lie {
	return func(*mem.Bucket) []fault.Rule {
		return []fault.Rule{fault.On(fault.List, 0, func(ctx context.Context, r fault.Request) fault.Answer {
			a := r.Do(ctx)
			a.Infos = change(r, a.Infos)
			return a
		})}
	}
}

func put(m *mem.Bucket, r fault.Request) error {
	return m.PutIfAbsent(context.Background(), r.Name, r.Data)
}

// sequential is an honest store for who comes alone: it looks, and then
// writes, with time enough between the two for others.
func sequential(raced func(data []byte) bool) lie {
	return puts(func(m *mem.Bucket, r fault.Request) error {
		if !raced(r.Data) {
			return put(m, r)
		}
		if slices.Contains(m.Names(), r.Name) {
			return store.ErrExist
		}
		time.Sleep(time.Millisecond)
		m.Overwrite(r.Name, r.Data)
		return nil
	})
}

func TestLiars(t *testing.T) {
	for _, c := range []struct {
		fact   string
		lie    lie
		want   []probe.Kind
		single bool // it will do for one machine
	}{
		{"the condition is ignored", puts(func(m *mem.Bucket, r fault.Request) error {
			m.Overwrite(r.Name, r.Data)
			return nil
		}), []probe.Kind{probe.IgnoresCondition, probe.Overwrites, probe.SeveralWin}, true},
		{"the condition is ignored, and the object kept", puts(func(m *mem.Bucket, r fault.Request) error {
			put(m, r)
			return nil
		}), []probe.Kind{probe.IgnoresCondition, probe.SeveralWin}, true},
		{"a put is refused, and overwrites", puts(func(m *mem.Bucket, r fault.Request) error {
			err := put(m, r)
			m.Overwrite(r.Name, r.Data)
			return err
		}), []probe.Kind{probe.Overwrites}, true},
		{"one wins when they come one by one, all in a race", sequential(func([]byte) bool { return true }),
			[]probe.Kind{probe.SeveralWin}, true},
		{"several win when bodies are long", sequential(func(data []byte) bool { return len(data) >= 256<<10 }),
			[]probe.Kind{probe.SeveralWin}, true},
		{"two win", func(m *mem.Bucket) []fault.Rule {
			var mu sync.Mutex
			losers := make(map[string]int)
			return puts(func(m *mem.Bucket, r fault.Request) error {
				err := put(m, r)
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, store.ErrExist) && strings.Contains(r.Name, "race-03") {
					if losers[r.Name]++; losers[r.Name] == 9 {
						return nil
					}
				}
				return err
			})(m)
		}, []probe.Kind{probe.SeveralWin}, true},
		{"nobody wins", puts(func(m *mem.Bucket, r fault.Request) error {
			err := put(m, r)
			if strings.Contains(r.Name, "race") {
				return store.ErrExist
			}
			return err
		}), []probe.Kind{probe.NobodyWins}, true},
		{"the winner is told, and a loser's bytes are there", func(m *mem.Bucket) []fault.Rule {
			var mu sync.Mutex
			over := make(map[string]bool)
			return puts(func(m *mem.Bucket, r fault.Request) error {
				err := put(m, r)
				mu.Lock()
				defer mu.Unlock()
				if err != nil && strings.Contains(r.Name, "race") && !over[r.Name] {
					over[r.Name] = true
					m.Overwrite(r.Name, r.Data)
				}
				return err
			})(m)
		}, []probe.Kind{probe.Overwrites}, true},
		{"a loser's put arrives late", func(m *mem.Bucket) []fault.Rule {
			var late []byte
			var mu sync.Mutex
			return puts(func(m *mem.Bucket, r fault.Request) error {
				err := put(m, r)
				mu.Lock()
				defer mu.Unlock()
				if strings.Contains(r.Name, "race-00") && late == nil && err != nil {
					late = bytes.Clone(r.Data)
				}
				if strings.HasSuffix(r.Name, "list/03") {
					m.Overwrite(strings.Replace(r.Name, "list/03", "race-00", 1), late)
				}
				return err
			})(m)
		}, []probe.Kind{probe.Overwrites}, true},

		{"the winner's bytes are mixed with others", puts(func(m *mem.Bucket, r fault.Request) error {
			err := put(m, r)
			if err == nil && strings.Contains(r.Name, "race") {
				time.Sleep(time.Millisecond)
				m.Overwrite(r.Name, []byte("a mixture"))
			}
			return err
		}), []probe.Kind{probe.WrongBytes}, false},
		{"a long body is seen while it comes in", puts(func(m *mem.Bucket, r fault.Request) error {
			if len(r.Data) < 256<<10 || slices.Contains(m.Names(), r.Name) {
				return put(m, r)
			}
			m.Overwrite(r.Name, r.Data[:len(r.Data)/2])
			time.Sleep(time.Millisecond)
			m.Overwrite(r.Name, r.Data)
			return nil
		}), []probe.Kind{probe.Torn}, false},
		{"what is put gets damaged", func(*mem.Bucket) []fault.Rule {
			return []fault.Rule{fault.On(fault.Put, 0, fault.FlipBit(-1)).Prefix("v0/probe/")}
		}, []probe.Kind{probe.WrongBytes}, false},
		{"a part is cut short", func(*mem.Bucket) []fault.Rule {
			return []fault.Rule{fault.On(fault.Get, 0, func(ctx context.Context, r fault.Request) fault.Answer {
				if r.Off != 0 {
					return fault.Truncate(-1)(ctx, r)
				}
				return r.Do(ctx)
			})}
		}, []probe.Kind{probe.WrongRange}, false},
		{"a part is that of another place", func(*mem.Bucket) []fault.Rule {
			return []fault.Rule{fault.On(fault.Get, 0, func(ctx context.Context, r fault.Request) fault.Answer {
				if r.Off < 0 {
					r.Off, r.Length = 0, -r.Off
				}
				return r.Do(ctx)
			})}
		}, []probe.Kind{probe.WrongRange}, false},
		{"an acknowledged object was never there", puts(func(m *mem.Bucket, r fault.Request) error {
			if strings.HasSuffix(r.Name, "list/02") {
				return nil
			}
			return put(m, r)
		}), []probe.Kind{probe.StaleRead}, false},
		{"an acknowledged object gets lost", puts(func(m *mem.Bucket, r fault.Request) error {
			if strings.HasSuffix(r.Name, "list/02") {
				m.Delete(context.Background(), strings.Replace(r.Name, "list/02", "race-02", 1))
			}
			return put(m, r)
		}), []probe.Kind{probe.Loses}, false},
		{"what was put is found later", func(*mem.Bucket) []fault.Rule {
			asked := make(map[string]bool)
			var mu sync.Mutex
			return []fault.Rule{fault.On(fault.Get, 0, func(ctx context.Context, r fault.Request) fault.Answer {
				mu.Lock()
				defer mu.Unlock()
				if !asked[r.Name] {
					asked[r.Name] = true
					return fault.Missing(ctx, r)
				}
				return r.Do(ctx)
			})}
		}, []probe.Kind{probe.StaleRead}, false},
		{"what was put is listed later", func(*mem.Bucket) []fault.Rule {
			return []fault.Rule{fault.On(fault.List, 0, fault.Stale(1))}
		}, []probe.Kind{probe.StaleList}, false},
		{"a listing is kept for a while", func(m *mem.Bucket) []fault.Rule {
			kept := make(map[int][]store.Info)
			return lists(func(r fault.Request, infos []store.Info) []store.Info {
				if kept[r.Max] == nil && r.Max != 1 {
					kept[r.Max] = infos
				}
				if k := kept[r.Max]; k != nil {
					return k
				}
				return infos
			})(m)
		}, []probe.Kind{probe.StaleList}, false},
		{"only full listings are fresh", lists(func(r fault.Request, infos []store.Info) []store.Info {
			if r.Max == 1 && !strings.HasSuffix(infos[0].Name, "/04") {
				infos[0].Name = strings.Replace(infos[0].Name, "/0", "/1", 1)
			}
			return infos
		}), []probe.Kind{probe.StaleList}, false},
		{"a listing is out of order", lists(func(_ fault.Request, infos []store.Info) []store.Info {
			slices.Reverse(infos)
			return infos
		}), []probe.Kind{probe.StaleList}, false},
	} {
		t.Run(c.fact, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := mem.New()
				v, err := probe.Run(t.Context(), fault.Wrap(m, c.lie(m)...), probe.Options{})
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
				words := "No machine may write"
				if c.single {
					words = "Only one machine may write"
				}
				if v.Single() != c.single || !strings.HasPrefix(v.String(), words) {
					t.Errorf("one machine may write: %v, want %v. %s", v.Single(), c.single, v)
				}
				if left := m.Names(); len(left) != 0 {
					t.Errorf("left behind: %q", left)
				}
			})
		})
	}
}

// What a test of a store costs is told in docs/s3.md.
func TestCost(t *testing.T) {
	f := fault.Wrap(mem.New())
	if v, err := probe.Run(t.Context(), f, probe.Options{}); err != nil || !v.Good() || !v.Single() {
		t.Fatalf("%v, %v", v, err)
	}
	requests, bytes := 0, int64(0)
	for _, n := range f.Counts() {
		requests += n
	}
	for _, c := range f.Log() {
		if c.Op == fault.Put {
			bytes += c.Size
		}
	}
	t.Logf("%d requests, %d bytes: %v", requests, bytes, f.Counts())
	if requests > 320 || bytes > 9<<20 || f.Counts()[fault.Put] < 10*16 {
		t.Errorf("%d requests, %d bytes", requests, bytes)
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
		if err != nil || !v.Good() || v.Rounds != 10 || v.Racers != 16 || v.Leftover != 0 {
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
