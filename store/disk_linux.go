package store

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Allocate reserves the room; where the file system cannot, it writes zeros.
func (f osFile) Allocate(size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return zeroFill(f, size)
	}
	return err
}
