// Package machines measures how many machines can write to one drive at once: commits
// per second, how long each waits for its own, and how old what others see is.
//
// The machines are volumes in one process, each with its own state, journal and
// connections, on a real MinIO; the way to it can be made longer. What a kernel adds is
// not in it. make bench-machines
package machines
