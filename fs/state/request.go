package state

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// A machine that must not write cannot take a device number by itself. It asks for
// one: it draws its key, keeps it in the state folder, and shows the public half as a
// line of text, which a person carries to the device that may write. There the key
// gets its number; here it is found in the ledger by the next Open, and adopted.
//
// The line tells nobody a secret. It ends in a tag under the root key, so that none but
// a machine that unlocked the drive can make one, and no typing error passes.
// Layout: docs/format.md, "Device request".
const (
	requestFile  = "request"
	requestMagic = "HUSHREQ0"

	requestPrefix  = "hushfs-device-"
	requestVersion = 1
	tagSize        = 16

	// MaxRequest is how long the text of a request is at most, in bytes.
	MaxRequest = 1024
)

var requestText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Request returns the text by which this machine asks to become a device; the same
// one each time until it is one. It fails with ErrEnrolled when it is, and with
// ErrNumber when the state is not this machine's own.
func (s *State) Request() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.alien:
		return "", ErrNumber
	case s.d.number != 0:
		return "", ErrEnrolled
	}
	d, err := s.requested()
	if err != nil {
		return "", err
	}
	if d == nil {
		d = identity.NewDevice()
		seed := d.Seed()
		defer clear(seed)
		if err := Replace(s.dir, requestFile, s.underRequest().Seal([]byte(requestMagic), seed, s.requestData())); err != nil {
			return "", err
		}
	}
	defer d.Wipe()
	return encodeRequest(s.root, s.drive, d.Public(), s.d.name), nil
}

// Adopt makes this machine the device that it asked to become, if number finds the
// key of its request. It returns the machine's number, 0 when it has none still.
func (s *State) Adopt(number func(identity.DeviceKey) (meta.Device, bool)) (meta.Device, error) {
	s.mu.Lock()
	no, alien := s.d.number, s.alien
	if no != 0 || alien {
		s.mu.Unlock()
		return no, nil
	}
	d, err := s.requested()
	if err != nil || d == nil {
		s.mu.Unlock()
		return 0, err
	}
	no, ok := number(d.Public())
	if !ok {
		d.Wipe()
		s.mu.Unlock()
		return 0, nil
	}
	s.device.Wipe()
	s.device = d
	s.mu.Unlock()
	if err := s.Enrolled(no); err != nil {
		return 0, err
	}
	// The key is in the state file now; one that stays is passed over.
	_ = os.Remove(filepath.Join(s.dir, requestFile))
	return no, nil
}

// requested opens the request file, nil when there is none, or one of another folder,
// machine or root key: a key that was copied is nobody's. s is locked.
func (s *State) requested() (*identity.Device, error) {
	sealed, err := read(s.dir, requestFile, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := cutMagic(sealed, requestMagic)
	if err != nil {
		return nil, fmt.Errorf("request file: %w", err)
	}
	seed, err := s.underRequest().Open(nil, b, s.requestData())
	if err != nil {
		return nil, nil
	}
	defer clear(seed)
	d, err := identity.DeviceFromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("request file: %w", ErrMalformed)
	}
	return d, nil
}

func (s *State) underRequest() *crypt.Local {
	return crypt.NewLocal(s.root, "hushfs/request", s.drive[:])
}

func (s *State) requestData() []byte { return append([]byte(requestMagic), s.here[:]...) }

// encodeRequest returns the prefix and, in base 32, version u8, name (length u8), key
// list, tag 16.
func encodeRequest(root *crypt.Key, drive [32]byte, key identity.DeviceKey, name string) string {
	b := append([]byte{requestVersion, byte(len(name))}, name...)
	b = append(b, key.Encode()...)
	return requestPrefix + requestText.EncodeToString(append(b, requestTag(root, drive, b)...))
}

func requestTag(root *crypt.Key, drive [32]byte, body []byte) []byte {
	h := sha256.Sum256(append(drive[:], body...))
	return root.Derive("hushfs/request-tag", h[:], tagSize)
}

// ParseRequest reads the text that Request of another machine of the drive returned;
// white space in it does not count. It fails with ErrRequest, and with ErrNewer.
func ParseRequest(root *crypt.Key, drive [32]byte, text string) (key identity.DeviceKey, name string, err error) {
	if len(text) > MaxRequest {
		return nil, "", ErrRequest
	}
	text, ok := strings.CutPrefix(strings.Join(strings.Fields(text), ""), requestPrefix)
	if !ok {
		return nil, "", ErrRequest
	}
	b, err := requestText.DecodeString(text)
	if err != nil || len(b) < 2+tagSize || requestText.EncodeToString(b) != text {
		return nil, "", ErrRequest
	}
	if b[0] > requestVersion {
		return nil, "", ErrNewer
	}
	body, tag := b[:len(b)-tagSize], b[len(b)-tagSize:]
	if subtle.ConstantTimeCompare(tag, requestTag(root, drive, body)) != 1 || body[0] != requestVersion {
		return nil, "", ErrRequest
	}
	n := int(body[1])
	if n > maxName || len(body) < 2+n {
		return nil, "", ErrRequest
	}
	if key, err = identity.DecodeDeviceKey(body[2+n:]); err != nil {
		return nil, "", ErrRequest
	}
	return key, string(body[2 : 2+n]), nil
}

// IsRequest tells whether text is meant to be a request.
func IsRequest(text string) bool {
	return strings.HasPrefix(strings.TrimSpace(text), requestPrefix)
}
