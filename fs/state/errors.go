package state

import "errors"

var (
	// ErrForeign: the folder holds the state of another drive, or it was made
	// under another root key, or it is damaged.
	ErrForeign = errors.New("local state does not open with this drive's keys")

	// ErrMalformed: a file of the state folder is no such file.
	ErrMalformed = errors.New("local state is malformed")

	// ErrNewer: a file was written by a later version of this program.
	ErrNewer = errors.New("local state is of a newer version than this program")

	// ErrExhausted: this device gave out all numbers it has.
	ErrExhausted = errors.New("this device has no numbers left")

	// ErrNumber: the device has no number yet, or the state is not its own.
	ErrNumber = errors.New("this machine has no device number")

	// ErrName: a device's name is longer than 64 bytes.
	ErrName = errors.New("name of the device is too long")

	// ErrEnrolled: a request of a machine that is a device of the drive already.
	ErrEnrolled = errors.New("this machine is a device of the drive already")

	// ErrRequest: a text that is no request, is not whole, or is of another drive.
	ErrRequest = errors.New("no request of a machine that unlocked this drive")
)
