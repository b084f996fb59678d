package block

import (
	"errors"
	"testing"

	"github.com/hushfs/hushfs/crypt"
)

// An object of another history is read by whichever key of its epoch fits, and by none of
// another epoch.
func TestLostKeys(t *testing.T) {
	ours, other, lost := crypt.NewKey(), crypt.NewKey(), crypt.NewKey()
	for name, c := range map[string]struct {
		key  *crypt.Key // that is known of the epoch; nil: none is
		more []*crypt.Key
		want error
	}{
		"of that number another is known": {ours, []*crypt.Key{lost}, nil},
		"of that number none is known":    {nil, []*crypt.Key{other, lost}, nil},
		"it is the one that is known":     {lost, []*crypt.Key{other}, nil},
		"none fits":                       {ours, []*crypt.Key{other}, crypt.ErrForged},
		"there is none":                   {nil, nil, ErrKey},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.key = lost
			data := random(2*segmentSize, 1)
			for _, o := range []Object{w.local(crypt.TypePack, data), w.stored(crypt.TypePack, data)} {
				r := w.reader()
				r.o.Key = func(crypt.Epoch) (*crypt.Key, bool) { return c.key, c.key != nil }
				r.o.Lost = func(e crypt.Epoch) []*crypt.Key {
					if e != testEpoch {
						return nil
					}
					return c.more
				}
				if err := w.read(r, o, data, 7, segmentSize); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
			}
		})
	}
}
