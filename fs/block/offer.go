package block

import "github.com/hushfs/hushfs/crypt"

// Offer takes the sealed bytes of an object that was just made, so that nobody on this
// machine has to fetch it. They are checked as if they came from the bucket.
func (r *Reader) Offer(o Object, sealed []byte) error {
	if int64(len(sealed)) != o.Size() {
		return crypt.ErrForged
	}
	tail := sealed[o.Size()-crypt.TailSize(o.Length):]
	op, err := r.unlock(o, tail)
	if err != nil {
		return err
	}
	r.keepOpener(op)
	r.o.Cache.Put(cacheKey(o, tailIndex), tail)
	for index := range o.segments() {
		off, n := crypt.SegmentRange(o.Length, index)
		s, err := r.open(op, index, sealed[off:off+n])
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.keep(s)
		r.mu.Unlock()
		if o.Type != crypt.TypePack {
			r.o.Cache.Put(cacheKey(o, index), sealed[off:off+n])
		}
	}
	return nil
}
