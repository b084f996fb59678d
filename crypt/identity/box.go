package identity

import (
	"crypto/hpke"
	"crypto/mlkem"
	"encoding/binary"

	"github.com/hushfs/hushfs/crypt"
)

// BoxSize is the length of every box: the X-Wing ciphertext, then the sealed
// 32-byte key and its tag.
const BoxSize = mlkem.CiphertextSize768 + 32 + 32 + 16

// WrapInfo binds a box of an epoch key to its place: the volume, the epoch,
// the recipient, and the key's check value (crypt.Key.Check).
func WrapInfo(v crypt.VolumeID, e crypt.Epoch, principal [32]byte, kcv [32]byte) []byte {
	b := append([]byte(labelWrap), v[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(e))
	b = append(b, principal[:]...)
	return append(b, kcv[:]...)
}

// Wrap seals k to the receiving key of to: BoxSize bytes, HPKE base mode with
// X-Wing, HKDF-SHA256 and AES-256-GCM, an empty associated data. Only the same
// info opens it. The error is ErrMalformed or ErrAlgorithm, of the key.
func Wrap(to Public, info []byte, k *crypt.Key) (box []byte, err error) {
	if err := checkReceiving(to.Receive); err != nil {
		return nil, err
	}
	for _, r := range to.Receive {
		if r.Alg == AlgXWing {
			return wrap(r.Key, info, k)
		}
	}
	return nil, ErrAlgorithm
}

// RandomBox returns a box that nobody can open, for the places between boxes
// that somebody can. The key that it is for is drawn, used and forgotten, so
// it is made as every other box is and cannot be told from one.
func RandomBox(info []byte) ([]byte, error) {
	nobody, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		return nil, err
	}
	nothing := crypt.NewKey()
	defer nothing.Wipe()
	return wrap(nobody.PublicKey().Bytes(), info, nothing)
}

func wrap(xwing, info []byte, k *crypt.Key) ([]byte, error) {
	pub, err := hpke.MLKEM768X25519().NewPublicKey(xwing)
	if err != nil {
		return nil, ErrMalformed
	}
	plain := k.Bytes()
	defer clear(plain)
	return hpke.Seal(pub, hpke.HKDFSHA256(), hpke.AES256GCM(), info, plain)
}

func unwrap(key hpke.PrivateKey, info, box []byte) (*crypt.Key, error) {
	if len(box) != BoxSize {
		return nil, ErrBox
	}
	plain, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, box)
	if err != nil {
		return nil, ErrBox
	}
	defer clear(plain)
	k, err := crypt.KeyFromBytes(plain)
	if err != nil {
		return nil, ErrBox
	}
	return k, nil
}
