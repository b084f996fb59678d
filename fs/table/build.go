package table

import (
	"bytes"
	"context"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/hushfs/hushfs/crypt"
)

// builder makes the tables of one run from ascending entries. It holds one
// table at a time.
type builder struct {
	write    func(ctx context.Context, content []byte) (crypt.Name, error)
	epoch    crypt.Epoch
	target   int64 // bytes of content at which a table is closed
	small    int64 // bytes below which it is not closed if that can be avoided
	step     func()
	squeezer *zstd.Encoder

	run Run
	key []byte // the last one added; it stays from table to table

	// The table at hand.
	table   Table
	content []byte // its blocks as they are stored
	filter  []byte
	index   []byte
	indexed []byte // the key of the last block in index
	footer  footer

	// Its block at hand.
	plain   []byte
	entries int
	heads   int
	low     []byte // its key
	hashes  []hash
	scratch []byte
}

// add appends an entry, whose slices are not kept. It may write a table.
func (b *builder) add(ctx context.Context, e Entry) error {
	if e.Dead {
		e.Value = nil
	}
	if len(e.Key) > MaxKey || len(e.Value) > MaxValue || bytes.Compare(e.Key, b.key) <= 0 {
		return ErrEntry
	}
	if b.entries > 0 {
		b.scratch = appendEntry(b.scratch[:0], b.key, b.entries, e)
		kind := e.Key[0] != b.key[0] // the next kind of key begins
		if kind || len(b.plain)+len(b.scratch) > blockSize {
			if err := ctx.Err(); err != nil {
				return err
			}
			b.closeBlock()
			if n := b.size(); n >= b.target || kind && n >= b.small || b.full() {
				if err := b.close(ctx); err != nil {
					return err
				}
			}
		}
	}
	if b.entries == 0 {
		b.openBlock(e.Key)
		b.scratch = appendEntry(b.scratch[:0], nil, 0, e)
	}
	b.addHashes(e.Key)
	b.plain = append(b.plain, b.scratch...)
	b.entries++
	b.footer.entries++
	b.footer.plain += uint64(len(e.Key) + len(e.Value))
	if e.Dead {
		b.footer.dead++
	}
	b.key = append(b.key[:0], e.Key...)
	return nil
}

// openBlock begins a block, and a table if none is begun, whose first key this
// is.
func (b *builder) openBlock(key []byte) {
	if b.footer.blocks == 0 {
		b.table = Table{Epoch: b.epoch, First: bytes.Clone(key)}
		b.low = append(b.low[:0], key...)
		return
	}
	b.low = append(b.low[:0], key[:common(b.key, key)+1]...)
}

// addHashes adds a key, and its head if it is another than that of the key
// before, to the filter of the block. b.key is the key before.
func (b *builder) addHashes(key []byte) {
	if len(key) > headSize && (b.entries == 0 || len(b.key) <= headSize || !bytes.HasPrefix(b.key, key[:headSize])) {
		b.hashes = append(b.hashes, hashOf(key[:headSize]))
		b.heads++
	}
	b.hashes = append(b.hashes, hashOf(key))
}

func (b *builder) closeBlock() {
	was := len(b.content)
	b.content = squeeze(b.squeezer, b.content, b.plain)
	b.index = appendIndexed(b.index, b.indexed, b.low, blockAt{
		stored: uint32(len(b.content) - was), plain: uint32(len(b.plain)),
		entries: uint32(b.entries), heads: uint32(b.heads),
	})
	b.filter = appendFilter(b.filter, b.hashes)
	b.indexed = append(b.indexed[:0], b.low...)
	b.footer.blocks++
	b.plain, b.hashes, b.entries, b.heads = b.plain[:0], b.hashes[:0], 0, 0
	b.step()
}

// size is the length of the content if the table were closed now, before
// padding. What the block at hand adds does not count.
func (b *builder) size() int64 {
	return int64(len(b.content) + len(b.filter) + len(b.index) + footerSize)
}

// full tells whether one more block might not fit into the format.
func (b *builder) full() bool {
	return b.footer.blocks == MaxBlocks || len(b.filter)+len(b.index) > MaxIndex/2
}

// empty tells whether no table is begun.
func (b *builder) empty() bool { return b.footer.blocks == 0 && b.entries == 0 }

// enough tells whether the table at hand, if there is one, is worth closing.
func (b *builder) enough() bool { return b.empty() || b.size() >= b.small }

// close writes the table at hand, if there is one.
func (b *builder) close(ctx context.Context) error {
	if b.entries > 0 {
		b.closeBlock()
	}
	if b.empty() {
		return nil
	}
	f := &b.footer
	f.index, f.filter, f.data = uint32(len(b.index)), uint32(len(b.filter)), uint32(len(b.content))
	b.table.Length = crypt.Padme(b.size())
	b.content = append(b.content, make([]byte, b.table.Length-b.size())...)
	b.content = append(append(b.content, b.filter...), b.index...)
	b.content = f.append(b.content)

	t := &b.table
	t.Index = f.filter + f.index + footerSize
	t.Last = bytes.Clone(b.key)
	t.Entries, t.Dead, t.Plain = f.entries, f.dead, f.plain
	b.step()
	var err error
	if t.Name, err = b.write(ctx, b.content); err != nil {
		return fmt.Errorf("write a table of %d bytes: %w", t.Length, err)
	}
	b.run = append(b.run, *t)
	b.content, b.filter, b.index, b.indexed = b.content[:0], b.filter[:0], b.index[:0], b.indexed[:0]
	b.footer = footer{}
	return nil
}

// reuse appends a table as it is. The table at hand is closed first; t lies
// above it.
func (b *builder) reuse(ctx context.Context, t *Table) error {
	if err := b.close(ctx); err != nil {
		return err
	}
	b.run = append(b.run, *t)
	b.key = append(b.key[:0], t.Last...)
	b.step()
	return nil
}
