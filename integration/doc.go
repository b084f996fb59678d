// Package integration tests hushfs as its users meet it: the built program, the
// real kernel, a store on disk, kill -9.
//
// A machine (see machine) is a set of XDG folders and who uses it; two machines
// share nothing but the store. No test looks inside of a process: it asks the
// mount, the command line and the objects in the store. What a test needs of
// the system is there, or the test fails; nothing is skipped.
package integration
