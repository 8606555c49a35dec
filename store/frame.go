package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The format of segments and recordings; FORMAT.md has the tables.
const (
	segmentMagic   = "HSTATLOG"
	segmentVersion = 1
	segmentHead    = 48
	frameHead      = 40
	// maxPayload bounds one record, so that a rotten length cannot ask for more.
	maxPayload = 16 << 20
	sectorSize = 512
	chainSize  = 16
)

// frameMark begins each frame. Its first byte is in no UTF-8 text, so that no
// label value, however hostile, can hold something that looks like a frame.
var frameMark = [4]byte{0xF5, 'h', 's', 'r'}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentKind says what a file of frames is.
type segmentKind uint8

const (
	segmentOfLog segmentKind = iota + 1
	segmentOfLabels
	segmentOfRecording
	segmentOfTail
)

// flagSparse marks a segment in which sequences may be skipped: the kept labels
// and what a salvage made.
const flagSparse = 1

// chain is the first 16 bytes of SHA-256 over the chain of the record before,
// the sequence and the payload. 16 bytes are enough: altering a record unnoticed
// takes a second preimage (2^128), and 32 would cost 8 % of a usual record.
type chain [chainSize]byte

func (c chain) next(seq uint64, payload []byte) chain {
	h := sha256.New()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], seq)
	h.Write(c[:])
	h.Write(b[:])
	h.Write(payload)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return chain(sum[:chainSize])
}

// header is the first 48 bytes of a file of frames.
type header struct {
	kind   segmentKind
	sparse bool
	first  uint64 // the sequence of the first frame, or the lowest it may have when sparse
	chain  chain  // of the record before the first
}

func (h header) append(b []byte) []byte {
	at := len(b)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint16(b, segmentVersion)
	var flags byte
	if h.sparse {
		flags |= flagSparse
	}
	b = append(b, byte(h.kind), flags, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, h.first)
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = append(b, h.chain[:]...)
	binary.LittleEndian.PutUint32(b[at+12:], headerSum(b[at:]))
	return b
}

func headerSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:12], castagnoli), castagnoli, b[16:segmentHead])
}

var errBadHeader = errors.New("the file's header is damaged")

func parseHeader(b []byte) (header, error) {
	if len(b) < segmentHead || string(b[:8]) != segmentMagic {
		return header{}, errBadHeader
	}
	if headerSum(b) != binary.LittleEndian.Uint32(b[12:]) {
		return header{}, errBadHeader
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != segmentVersion {
		return header{}, fmt.Errorf("%w: segment version %d, this program knows %d", ErrNewer, v, segmentVersion)
	}
	h := header{
		kind:   segmentKind(b[10]),
		sparse: b[11]&flagSparse != 0,
		first:  binary.LittleEndian.Uint64(b[16:]),
		chain:  chain(b[32:48]),
	}
	return h, nil
}

// frame is one record as it lies in a file.
type frame struct {
	seq      uint64
	position uint32 // in the append that wrote it, from 0
	chain    chain  // after this record
	payload  []byte // of the buffer it was read from
}

func (f frame) size() int64 { return frameHead + int64(len(f.payload)) }

func (f frame) append(b []byte) []byte {
	at := len(b)
	b = append(b, frameMark[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.payload)))
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, f.seq)
	b = binary.LittleEndian.AppendUint32(b, f.position)
	b = append(b, f.chain[:]...)
	b = append(b, f.payload...)
	binary.LittleEndian.PutUint32(b[at+8:], frameSum(b[at:]))
	return b
}

func frameSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:8], castagnoli), castagnoli, b[12:])
}

var (
	errShort    = errors.New("the frame is cut short")
	errBadFrame = errors.New("the frame is damaged")
)

// frameLength is the length of the frame that begins b, by what its head says.
func frameLength(b []byte) (int64, error) {
	if len(b) < frameHead {
		return 0, errShort
	}
	if [4]byte(b[:4]) != frameMark {
		return 0, errBadFrame
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n > maxPayload {
		return 0, errBadFrame
	}
	return frameHead + int64(n), nil
}

// parseFrame reads the frame that begins b.
func parseFrame(b []byte) (frame, error) {
	n, err := frameLength(b)
	if err != nil {
		return frame{}, err
	}
	if int64(len(b)) < n {
		return frame{}, errShort
	}
	b = b[:n]
	if frameSum(b) != binary.LittleEndian.Uint32(b[8:]) {
		return frame{}, errBadFrame
	}
	return frame{
		seq:      binary.LittleEndian.Uint64(b[12:]),
		position: binary.LittleEndian.Uint32(b[20:]),
		chain:    chain(b[24:40]),
		payload:  b[frameHead:n:n],
	}, nil
}

// findFrame is the offset of the first whole frame in b, or -1.
func findFrame(b []byte) int {
	for at := 0; ; {
		i := bytes.Index(b[at:], frameMark[:])
		if i < 0 {
			return -1
		}
		at += i
		if _, err := parseFrame(b[at:]); err == nil {
			return at
		}
		at++
	}
}

// allZero says that b holds nothing but zeros, as do sectors that were never
// written.
func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
