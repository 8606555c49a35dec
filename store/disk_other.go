//go:build unix && !linux

package store

// Allocate writes zeros, which every file system has to find room for.
func (f osFile) Allocate(size int64) error { return zeroFill(f, size) }
