// Package identity holds the asymmetric keys of people and machines.
//
// An identity belongs to a member: it signs (Ed25519) and it receives keys
// (X-Wing, the hybrid of ML-KEM-768 and X25519). A device belongs to a machine
// and only signs. Recovery words are a receiving key that a person keeps on
// paper.
//
// Public keys and signatures are lists of (algorithm, bytes), so that an
// algorithm can be added without a new format. All algorithms of a key list
// must agree for a signature to be valid: whoever breaks one of them has
// gained nothing. A list that holds an algorithm unknown to this code can be
// carried about, but no signature is judged by it: two machines that judged by
// different algorithms would come to believe in different histories.
//
// A box is a 32-byte key sealed to a receiving key (HPKE base mode, RFC 9180).
// It tells nothing about its recipient, and it authenticates nobody: anyone
// who knows a public key can make a box for it, so what comes out of a box is
// compared with a signed check value before it is used.
//
// Layouts: docs/format.md, "Identity". Nothing here reads or writes files, and
// no secret here can be printed.
package identity
