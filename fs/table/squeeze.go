package table

import "github.com/klauspost/compress/zstd"

// A block is stored as a zstd frame (RFC 8878), or as it is when the frame
// would not be shorter. Which of the two it is, its lengths say.

// window bounds the memory that a frame may ask for.
const window = 1 << 20

func newCompressor() *zstd.Encoder {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(128<<10), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		panic("table: " + err.Error()) // the options are right
	}
	return enc
}

func newExpander() *zstd.Decoder {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(window))
	if err != nil {
		panic("table: " + err.Error()) // the options are right
	}
	return dec
}

// squeeze appends the block to dst as it is stored.
func squeeze(enc *zstd.Encoder, dst, plain []byte) []byte {
	was := len(dst)
	if dst = enc.EncodeAll(plain, dst); len(dst)-was < len(plain) {
		return dst
	}
	return append(dst[:was], plain...)
}

// slack is room behind the result, with which the decoder need not look for
// the end so often.
const slack = 16

// expand returns the n bytes of a block, 1 to maxEntry, that is stored in at
// most as many. It allocates no more than that, whatever the frame claims, and
// nothing if buf is large enough. The result is in stored or buf.
func expand(dec *zstd.Decoder, buf, stored []byte, n int) ([]byte, bool) {
	if len(stored) == n {
		return stored, true
	}
	if cap(buf) < n+slack {
		buf = make([]byte, n+slack)
	}
	plain, err := dec.DecodeAll(stored, buf[:0:n+slack])
	return plain, err == nil && len(plain) == n
}
