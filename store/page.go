package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/homeostat/homeostat/engine"
)

// A page is kept twice, under two keys that take turns, so that the newest one
// can rot or be torn and the one before is still there.
const (
	keyVersion = 1
	pageMagic  = "HSPG"
	pageFormat = 1
	pageHead   = 32
)

type pageKind uint8

const (
	kindPage pageKind = iota + 1
	kindSettle
	kindOrder // the last run ended in order
)

var (
	pagePrefix   = []byte{keyVersion, 'p'}
	settlePrefix = []byte{keyVersion, 's'}
	orderPrefix  = []byte{keyVersion, 'c'}
)

// appendPageKey: version, 'p', partition, number (big-endian, so that keys sort
// as pages do), turn.
func appendPageKey(b []byte, id engine.PageID, turn byte) []byte {
	b = append(b, keyVersion, 'p', id.Partition)
	b = binary.BigEndian.AppendUint32(b, id.Number)
	return append(b, turn)
}

// soleKey is the key of what there is one of: the prefix and the turn.
func soleKey(prefix []byte, turn byte) []byte { return append(prefix[:2:2], turn) }

func parseKey(k []byte) (kind pageKind, id engine.PageID, turn byte, ok bool) {
	switch {
	case len(k) == 8 && k[0] == keyVersion && k[1] == 'p' && k[7] <= 1:
		return kindPage, engine.PageID{Partition: k[2], Number: binary.BigEndian.Uint32(k[3:])}, k[7], true
	case len(k) == 3 && k[0] == keyVersion && k[1] == 's' && k[2] <= 1:
		return kindSettle, engine.PageID{}, k[2], true
	case len(k) == 3 && k[0] == keyVersion && k[1] == 'c' && k[2] == 0:
		return kindOrder, engine.PageID{}, 0, true
	}
	return 0, engine.PageID{}, 0, false
}

// value is one version of a page or of the settle record. It says itself what
// it is: what lies under a wrong key is not taken for another page.
type value struct {
	kind  pageKind
	id    engine.PageID // of a page
	turn  byte
	asOf  uint64 // it contains every record up to here
	swept uint64 // of a settle record: every page does
	bytes []byte
}

func (v value) append(b []byte) []byte {
	at := len(b)
	b = append(b, pageMagic...)
	b = append(b, pageFormat, byte(v.kind), v.id.Partition, v.turn)
	b = binary.LittleEndian.AppendUint32(b, v.id.Number)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, v.asOf)
	b = binary.LittleEndian.AppendUint64(b, v.swept)
	b = append(b, v.bytes...)
	binary.LittleEndian.PutUint32(b[at+12:], valueSum(b[at:]))
	return b
}

func valueSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:12], castagnoli), castagnoli, b[16:])
}

var errBadPage = errors.New("the checksum does not match")

func parseValue(b []byte) (value, error) {
	if len(b) < pageHead || string(b[:4]) != pageMagic {
		return value{}, errors.New("it is no page")
	}
	if valueSum(b) != binary.LittleEndian.Uint32(b[12:]) {
		return value{}, errBadPage
	}
	if b[4] != pageFormat {
		return value{}, fmt.Errorf("%w: page format %d, this program knows %d", ErrNewer, b[4], pageFormat)
	}
	return value{
		kind:  pageKind(b[5]),
		id:    engine.PageID{Partition: b[6], Number: binary.LittleEndian.Uint32(b[8:])},
		turn:  b[7],
		asOf:  binary.LittleEndian.Uint64(b[16:]),
		swept: binary.LittleEndian.Uint64(b[24:]),
		bytes: b[pageHead:],
	}, nil
}
