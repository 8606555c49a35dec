package store

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

const (
	// squeezeFrom is the size from which a settle record is compressed. It is
	// small but when very much happens at once: of a million series that all turn
	// abnormal, or fall silent, it holds some 300 MB of text until their epoch is
	// settled, and Badger takes no value of more than a value-log file.
	squeezeFrom = 1 << 20
	// mostSettle bounds what a stored record may unfold to.
	mostSettle = 4 << 30
)

// squeezeMark begins a compressed record: the magic number of zstd, with which no
// JSON begins.
var squeezeMark = []byte{0x28, 0xB5, 0x2F, 0xFD}

// squeeze is a settle record as it is stored.
func squeeze(record []byte) ([]byte, error) {
	if len(record) < squeezeFrom {
		return record, nil
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("store: compress the settle record: %w", err)
	}
	defer e.Close()
	return e.EncodeAll(record, nil), nil
}

// unfold is a settle record as it was given.
func unfold(stored []byte) ([]byte, error) {
	if !bytes.HasPrefix(stored, squeezeMark) {
		return stored, nil
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(mostSettle))
	if err != nil {
		return nil, fmt.Errorf("unfold the settle record: %w", err)
	}
	defer d.Close()
	record, err := d.DecodeAll(stored, nil)
	if err != nil {
		return nil, fmt.Errorf("unfold the settle record: %w", err)
	}
	return record, nil
}
