package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/hushfs/hushfs/crypt"
)

// A place on this machine may have sealed bytes of one object. Both reads fail
// with errAbsent when it has not, and with errUnreadable when the disk does not
// give them; sealed bytes of a segment may lie in buf.
type place interface {
	tail() ([]byte, error)
	segment(index int, buf *[sealedSize]byte) ([]byte, error)
	bad(index int) // a segment, or tailIndex, did not verify
	close()
	String() string // for errors
}

// tailIndex stands for the tail where an index is asked for.
const tailIndex = math.MaxUint32

// places are those of this machine, nearest first. Of o the segments up to last
// are wanted.
func (r *Reader) places(o Object, last int) [2]place {
	return [2]place{&file{r: r, o: o}, &copied{r: r, o: o, last: last}}
}

// file is the file of an object that may not be in the bucket yet.
type file struct {
	r    *Reader
	o    Object
	f    *os.File
	err  error
	done bool // open was tried
}

func (p *file) String() string { return "local file" }

func (p *file) open() error {
	if p.done {
		return p.err
	}
	p.done = true
	path, ok := p.r.o.Local(p.o)
	if !ok {
		p.err = errAbsent
		return p.err
	}
	if p.f, p.err = os.Open(path); errors.Is(p.err, fs.ErrNotExist) {
		p.err = errAbsent // it went to the cache or the bucket meanwhile
	} else if p.err != nil {
		p.err = fmt.Errorf("%w: %w", errUnreadable, p.err)
	}
	return p.err
}

func (p *file) tail() ([]byte, error) {
	n := crypt.TailSize(p.o.Length)
	if err := p.open(); err != nil {
		return nil, err
	}
	return readFile(p.f, make([]byte, n), p.o.Size()-n)
}

func (p *file) segment(index int, buf *[sealedSize]byte) ([]byte, error) {
	if err := p.open(); err != nil {
		return nil, err
	}
	off, n := crypt.SegmentRange(p.o.Length, index)
	return readFile(p.f, buf[:n], off)
}

// readFile fills b from off on; what the file does not have is missing at the end.
func readFile(f *os.File, b []byte, off int64) ([]byte, error) {
	n, err := f.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return b[:n], nil
}

func (p *file) bad(int) {} // it may be the only copy there is

func (p *file) close() {
	if p.f != nil {
		_ = p.f.Close()
	}
}

// copied is what the cache has of an object: of a pack ranges of one file, and
// of everything else, as of all tails, values.
type copied struct {
	r    *Reader
	o    Object
	last int
	f    *os.File // nil, or a file that has the segments up to end
	end  int
}

func (p *copied) String() string { return "cache" }

// cacheKey names what is kept as a value: type u8 ‖ name 32 ‖ index u32.
func cacheKey(o Object, index int) []byte {
	b := make([]byte, 0, 1+len(o.Name)+4)
	b = append(b, byte(o.Type))
	b = append(b, o.Name[:]...)
	return binary.BigEndian.AppendUint32(b, uint32(index))
}

func (p *copied) tail() ([]byte, error) {
	if p.o.Type == crypt.TypePack {
		n := crypt.TailSize(p.o.Length)
		if b, err := p.r.o.Cache.ReadObject(p.o.Name.String(), p.o.Size()-n, n); err == nil {
			return b, nil
		}
	}
	return p.value(tailIndex)
}

func (p *copied) segment(index int, buf *[sealedSize]byte) ([]byte, error) {
	if p.o.Type != crypt.TypePack {
		return p.value(index)
	}
	if p.f == nil || index > p.end {
		if err := p.open(index); err != nil {
			return nil, err
		}
	}
	off, n := crypt.SegmentRange(p.o.Length, index)
	return readFile(p.f, buf[:n], off)
}

// open opens the file if it has all the segments from index on that are wanted,
// or at least this one.
func (p *copied) open(index int) error {
	p.close()
	off, n := crypt.SegmentRange(p.o.Length, index)
	end, more := crypt.SegmentRange(p.o.Length, p.last)
	for _, end := range [...]struct {
		index int
		n     int64
	}{{p.last, end + more - off}, {index, n}} {
		if f, err := p.r.o.Cache.OpenObject(p.o.Name.String(), off, end.n); err == nil {
			p.f, p.end = f, end.index
			return nil
		}
	}
	return errAbsent // the cache says no more than that
}

func (p *copied) value(index int) ([]byte, error) {
	b, err := p.r.o.Cache.Get(cacheKey(p.o, index))
	if err != nil {
		return nil, errAbsent
	}
	return b, nil
}

func (p *copied) bad(index int) {
	// A tail may have come from either.
	if p.o.Type != crypt.TypePack || index == tailIndex {
		p.r.o.Cache.Drop(cacheKey(p.o, index))
	}
	if p.o.Type == crypt.TypePack {
		p.r.o.Cache.DropObject(p.o.Name.String())
	}
}

func (p *copied) close() {
	if p.f != nil {
		_ = p.f.Close()
		p.f = nil
	}
}

// isHere tells whether the whole object is on this machine, as far as is known
// without reading it.
func (r *Reader) isHere(o Object) bool {
	if _, ok := r.o.Local(o); ok {
		return true
	}
	return o.Type == crypt.TypePack && r.o.Cache.Whole(o.Name.String())
}

// parcel is what one request brought and what of it verified.
type parcel struct {
	first  int    // the segment with which sealed begins
	sealed []byte // segments, one after the other
	tail   []byte // nil when it was not asked for
	joined []byte // sealed ‖ tail, where that is how they came
}

// store puts a parcel into the cache.
func (r *Reader) store(o Object, p parcel) {
	if o.Type == crypt.TypePack {
		if p.joined != nil {
			p.sealed = p.joined
		}
		off, _ := crypt.SegmentRange(o.Length, p.first)
		r.o.Cache.WriteObject(o.Name.String(), o.Size(), off, p.sealed)
	} else {
		for index := p.first; len(p.sealed) > 0; index++ {
			n := min(len(p.sealed), sealedSize)
			r.o.Cache.Put(cacheKey(o, index), p.sealed[:n])
			p.sealed = p.sealed[n:]
		}
	}
	if p.tail != nil {
		// Of a pack too: its file may go and be made again without a tail, which is
		// in memory then.
		r.o.Cache.Put(cacheKey(o, tailIndex), p.tail)
	}
}
