package store

import (
	"errors"
	"fmt"
)

// What callers decide on.
var (
	// ErrInUse says that another process holds the directory.
	ErrInUse = errors.New("store: the directory is in use by another homeostat")
	// ErrNewer says that a newer program wrote the directory.
	ErrNewer = errors.New("store: written by a newer homeostat")
	// ErrDamaged says that stored bytes are not what was written.
	ErrDamaged = errors.New("store: damaged")
	// ErrBroken says that a write or sync failed before: nothing more is
	// written, because nobody knows what the disk holds.
	ErrBroken = errors.New("store: stopped after a failed write")
	// ErrRetired says that the records asked for are no longer kept.
	ErrRetired = errors.New("store: no longer kept")
	// ErrNoSpace says that the disk is too full to take more in; it goes away
	// by itself when there is room.
	ErrNoSpace = errors.New("store: too little free space")
)

// DamageError names the first place where the log is damaged in a way that no
// crash explains.
type DamageError struct {
	File   string
	Offset int64
	Why    string
}

// Error says where and what to run next.
func (e *DamageError) Error() string {
	return fmt.Sprintf("store: damaged: %s at offset %d: %s; run `homeostat inspect --salvage` to copy what is intact", e.File, e.Offset, e.Why)
}

// Unwrap makes errors.Is(err, ErrDamaged) hold.
func (e *DamageError) Unwrap() error { return ErrDamaged }
