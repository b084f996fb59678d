package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// kernelTime is the clock by which the kernel gives times to files: that of its last
// tick. Beside it a finer one would give what is made a later time than what is written
// a moment after.
func kernelTime() time.Time {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &t) != nil {
		return time.Now()
	}
	return time.Unix(t.Unix())
}
