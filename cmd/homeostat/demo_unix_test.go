//go:build unix

package main

import (
	"syscall"
	"testing"
	"time"
)

// TestDemoTakesLessThanAMinute counts CPU time: the clock on the wall would count
// what else the machine does.
func TestDemoTakesLessThanAMinute(t *testing.T) {
	began := spent(t)
	text, err := runDemo(t)
	if err != nil || text == "" {
		t.Fatal(err)
	}
	if took := spent(t) - began; took > time.Minute {
		t.Errorf("it took %v", took)
	} else {
		t.Logf("it took %v of CPU time", took)
	}
}

// spent is the CPU time of this process.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
