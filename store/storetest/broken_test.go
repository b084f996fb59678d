package storetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/mem"
)

// broken is a bucket with some methods replaced.
type broken struct {
	*mem.Bucket
	put  func(b *mem.Bucket, ctx context.Context, name string, data []byte) error
	get  func(b *mem.Bucket, ctx context.Context, name string, off, length int64) ([]byte, error)
	list func(b *mem.Bucket, ctx context.Context, prefix, after string, limit int) ([]store.Info, error)
	del  func(b *mem.Bucket, ctx context.Context, name string) error
}

func (b broken) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if b.put == nil {
		return b.Bucket.PutIfAbsent(ctx, name, data)
	}
	return b.put(b.Bucket, ctx, name, data)
}

func (b broken) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	if b.get == nil {
		return b.Bucket.Get(ctx, name, off, length)
	}
	return b.get(b.Bucket, ctx, name, off, length)
}

func (b broken) List(ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
	if b.list == nil {
		return b.Bucket.List(ctx, prefix, after, limit)
	}
	return b.list(b.Bucket, ctx, prefix, after, limit)
}

func (b broken) Delete(ctx context.Context, name string) error {
	if b.del == nil {
		return b.Bucket.Delete(ctx, name)
	}
	return b.del(b.Bucket, ctx, name)
}

// Every promise of store.Bucket, broken, and the check that must notice.
func TestChecksNotice(t *testing.T) {
	for _, c := range []struct {
		fact  string
		check func(context.Context, store.Bucket) error
		with  func() broken
	}{
		{"a put overwrites", staysAsItIs, func() broken {
			return broken{put: func(b *mem.Bucket, ctx context.Context, name string, data []byte) error {
				if err := b.PutIfAbsent(ctx, name, data); !errors.Is(err, store.ErrExist) {
					return err
				}
				b.Overwrite(name, data)
				return nil
			}}
		}},
		{"a put overwrites and says that it did not", staysAsItIs, func() broken {
			return broken{put: func(b *mem.Bucket, ctx context.Context, name string, data []byte) error {
				err := b.PutIfAbsent(ctx, name, data)
				if errors.Is(err, store.ErrExist) {
					b.Overwrite(name, data)
				}
				return err
			}}
		}},
		{"the same bytes may be put twice", staysAsItIs, func() broken {
			return broken{put: func(b *mem.Bucket, ctx context.Context, name string, data []byte) error {
				err := b.PutIfAbsent(ctx, name, data)
				if old, gerr := b.Get(ctx, name, 0, -1); gerr == nil && bytes.Equal(old, data) {
					return nil
				}
				return err
			}}
		}},
		{"long bodies have two winners", oneWins, func() broken {
			return broken{put: func(b *mem.Bucket, ctx context.Context, name string, data []byte) error {
				err := b.PutIfAbsent(ctx, name, data)
				if errors.Is(err, store.ErrExist) && len(data) > 256<<10 {
					return nil
				}
				return err
			}}
		}},
		{"all lose", oneWins, func() broken {
			return broken{put: func(b *mem.Bucket, ctx context.Context, name string, data []byte) error {
				b.PutIfAbsent(ctx, name, data)
				return store.ErrExist
			}}
		}},
		{"the winner's bytes are a loser's", oneWins, func() broken {
			return broken{put: func(b *mem.Bucket, ctx context.Context, name string, data []byte) error {
				err := b.PutIfAbsent(ctx, name, data)
				if errors.Is(err, store.ErrExist) {
					b.Overwrite(name, data)
				}
				return err
			}}
		}},
		{"readers see a changing object", allOrNothing, func() broken {
			var mu sync.Mutex
			n := 0
			return broken{get: func(b *mem.Bucket, ctx context.Context, name string, off, length int64) ([]byte, error) {
				data, err := b.Get(ctx, name, off, length)
				mu.Lock()
				defer mu.Unlock()
				if n++; len(data) > 0 {
					data = data[:len(data)-n%2]
				}
				return data, err
			}}
		}},
		{"the last byte gets lost", comesBack, func() broken {
			return broken{get: func(b *mem.Bucket, ctx context.Context, name string, off, length int64) ([]byte, error) {
				data, err := b.Get(ctx, name, off, length)
				return data[:max(len(data)-1, 0)], err
			}}
		}},
		{"a get shares its slice", notShared, func() broken {
			shared := make(map[string][]byte)
			return broken{get: func(b *mem.Bucket, ctx context.Context, name string, off, length int64) ([]byte, error) {
				if shared[name] == nil {
					shared[name], _ = b.Get(ctx, name, off, length)
				}
				return shared[name], nil
			}}
		}},
		{"a range behind the end is an error", ranges, func() broken {
			return broken{get: func(b *mem.Bucket, ctx context.Context, name string, off, length int64) ([]byte, error) {
				data, err := b.Get(ctx, name, off, length)
				if err == nil && len(data) == 0 {
					err = store.ErrUnavailable
				}
				return data, err
			}}
		}},
		{"ranges are ignored", ranges, func() broken {
			return broken{get: func(b *mem.Bucket, ctx context.Context, name string, _, _ int64) ([]byte, error) {
				return b.Get(ctx, name, 0, -1)
			}}
		}},
		{"a range from the end takes a length", badRanges, func() broken {
			return broken{get: func(b *mem.Bucket, ctx context.Context, name string, off, length int64) ([]byte, error) {
				if off < 0 {
					length = -1
				}
				return b.Get(ctx, name, off, length)
			}}
		}},
		{"a large object is cut", tooLarge, func() broken {
			return broken{put: func(b *mem.Bucket, ctx context.Context, name string, data []byte) error {
				return b.PutIfAbsent(ctx, name, data[:min(len(data), 10)])
			}}
		}},
		{"an absent object is empty", absent, func() broken {
			return broken{get: func(b *mem.Bucket, ctx context.Context, name string, off, length int64) ([]byte, error) {
				data, err := b.Get(ctx, name, off, length)
				if errors.Is(err, store.ErrNotExist) {
					return nil, nil
				}
				return data, err
			}}
		}},
		{"deleting nothing is an error", absent, func() broken {
			return broken{del: func(b *mem.Bucket, ctx context.Context, name string) error {
				if _, err := b.Get(ctx, name, 0, 0); err != nil {
					return err
				}
				return b.Delete(ctx, name)
			}}
		}},
		{"a delete does nothing", deleted, func() broken {
			return broken{del: func(*mem.Bucket, context.Context, string) error { return nil }}
		}},
		{"a delete takes the neighbours", deleted, func() broken {
			return broken{del: func(b *mem.Bucket, ctx context.Context, name string) error {
				for _, n := range b.Names() {
					b.Delete(ctx, n)
				}
				return nil
			}}
		}},
		{"a long name is cut", longNames, func() broken {
			return broken{put: func(b *mem.Bucket, ctx context.Context, name string, data []byte) error {
				return b.PutIfAbsent(ctx, name[:min(len(name), store.MaxName-1)], data)
			}}
		}},
		{"bad names are cleaned up", badNames, func() broken {
			return broken{put: func(b *mem.Bucket, ctx context.Context, name string, data []byte) error {
				return b.PutIfAbsent(ctx, strings.ToLower(name), data)
			}}
		}},
		{"any prefix is listed", badNames, func() broken {
			return broken{list: func(b *mem.Bucket, ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
				infos, err := b.List(ctx, prefix, after, limit)
				if errors.Is(err, store.ErrName) {
					return nil, nil
				}
				return infos, err
			}}
		}},
		{"a name that is a folder of another is said to be taken", folderNames, func() broken {
			return broken{put: func(b *mem.Bucket, ctx context.Context, name string, data []byte) error {
				err := b.PutIfAbsent(ctx, name, data)
				if errors.Is(err, store.ErrName) {
					return store.ErrExist
				}
				return err
			}}
		}},
		{"sizes are missing", listInfo, listing(func(infos []store.Info) []store.Info {
			for i := range infos {
				infos[i].Size = 0
			}
			return infos
		})},
		{"a listing goes by folders", listCuts, listing(func(infos []store.Info) []store.Info {
			slices.SortFunc(infos, func(a, b store.Info) int {
				return slices.Compare(strings.Split(a.Name, "/"), strings.Split(b.Name, "/"))
			})
			return infos
		})},
		{"a listing has after in it", listCuts, func() broken {
			return broken{list: func(b *mem.Bucket, ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
				return b.List(ctx, prefix, strings.TrimSuffix(after, "b"), limit)
			}}
		}},
		{"a listing ignores max", listCuts, func() broken {
			return broken{list: func(b *mem.Bucket, ctx context.Context, prefix, after string, _ int) ([]store.Info, error) {
				return b.List(ctx, prefix, after, 0)
			}}
		}},
		{"a page never has more than 1000", listPages, func() broken {
			return broken{list: func(b *mem.Bucket, ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
				return b.List(ctx, prefix, after, min(limit, 1000))
			}}
		}},
		{"max that is not given means all", listPages, func() broken {
			return broken{list: func(b *mem.Bucket, ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
				if limit <= 0 {
					limit = 1 << 20
				}
				return b.List(ctx, prefix, after, limit)
			}}
		}},
		{"a cancelled put is done", cancelled, func() broken {
			return broken{put: func(b *mem.Bucket, ctx context.Context, name string, data []byte) error {
				if err := b.PutIfAbsent(context.WithoutCancel(ctx), name, data); err != nil {
					return err
				}
				return ctx.Err()
			}}
		}},
		{"a cancelled get is answered", cancelled, func() broken {
			return broken{get: func(b *mem.Bucket, ctx context.Context, name string, off, length int64) ([]byte, error) {
				return b.Get(context.WithoutCancel(ctx), name, off, length)
			}}
		}},
	} {
		t.Run(c.fact, func(t *testing.T) {
			b := c.with()
			b.Bucket = mem.New()
			if c.check(t.Context(), b) == nil {
				t.Error("not noticed")
			}
		})
	}
}

// listing returns a bucket whose listings are spoilt after the fact.
func listing(spoil func([]store.Info) []store.Info) func() broken {
	return func() broken {
		return broken{list: func(b *mem.Bucket, ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
			infos, err := b.List(ctx, prefix, after, limit)
			return spoil(infos), err
		}}
	}
}

// A bucket that breaks nothing is not complained about.
func TestNothingToNotice(t *testing.T) {
	Run(t, func(*testing.T) store.Bucket { return broken{Bucket: mem.New()} })
}
