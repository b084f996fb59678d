// Package adversary is a store that wants to deceive, and the two honest machines that
// it is tried on.
//
// It keeps what it is given and knows the format of every object. It may hold the epoch
// keys, as a member with read rights does, and the signing key of a device that was
// removed. It answers wrongly, alters what lies there, puts objects of its own, goes
// back in time, and shows each machine another store.
//
// A Story is a list of deeds, drawn from a seed: those of the machines, and attacks that
// begin and end between them. Tell plays one and judges. Whatever the store does, no
// machine may show a byte or a name that nobody wrote, or one file's bytes under the name
// of another, take a forgery for true, hang or crash; what was done to it is named in its
// log and by its status; and once the store is honest again both machines come to one tree,
// in which everything is that a program was promised: also of one file that both change at
// the same time. Where it showed two histories, who goes on with the one that is left has
// lost nothing of its own. A story that fails is made shorter, and printed; an attack that
// deceives nobody, or of which nobody says anything though somebody should, fails as well.
package adversary
