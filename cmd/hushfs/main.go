// Command hushfs makes, mounts and locks encrypted drives.
//
// A mount is three processes in turn. The one the user started checks the place,
// asks for the passphrase and unlocks: key derivation and its memory end with
// it. It hands the unlocked drive through a pipe to a second, the daemon, that
// holds the keys, serves the kernel and drains the journal to the store. Every
// other command is a client of that daemon over its control socket. In the
// foreground (mount -f) the first process is the daemon, and the unlocking is
// done by a short-lived child.
//
// No secret is ever in an argument, and none of a drive in the environment. The
// keys of a bucket may be there, as other programs for S3 have them; they are
// handed on to the daemon with the environment, and in no other way. Flags, the
// environment and XDG places are read here and nowhere else.
package main

import "os"

func main() {
	os.Exit(int(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)))
}
