// Package keyslot opens a drive from what a person knows or keeps.
//
// A drive has one root key, drawn at random. The drive header, an object that
// anyone with access to the bucket can read and replace, holds up to 16 slots.
// Each slot wraps the root for one secret: a passphrase, or recovery words.
// Beside them lies the keyring, which is sealed under the root: the seed of the
// member's identity and what is needed to find and judge the volumes. A MAC
// under the root covers the whole and the object's name.
//
// Headers are never changed. A later one has a higher counter, and the object
// name contains the counter inverted, so that a listing begins with the
// newest. Since anyone may squat on the newest name, Unlock is given several
// and takes the newest that is whole.
//
// A passphrase slot authenticates the drive: nobody makes one without knowing
// the passphrase. A words slot does not, as anyone with the public half can
// make one. So the drive's id is written beside the words, and Keyring.Check
// compares it.
//
// The package asks nobody for anything, and reads and writes no files. It
// never takes memory for Argon2id before the header's wishes were bounded.
//
// Layouts: docs/format.md, "Drive header".
package keyslot
