package view

import (
	"bytes"

	"github.com/klauspost/compress/zstd"
)

// coder compresses operations that wait: what the parts of zstd keep between two calls is
// more than a block is.
type coder struct {
	squeezer *zstd.Encoder // both are safe for concurrent use
	expander *zstd.Decoder
}

func newCoder() *coder {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(blockBytes), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic(err) // only options of ours
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	return &coder{enc, dec}
}

// squeeze returns plain compressed, in as much memory as that takes.
func (c *coder) squeeze(plain []byte) []byte { return bytes.Clone(c.squeezer.EncodeAll(plain, nil)) }
