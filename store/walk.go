package store

import (
	"fmt"
	"io"
)

// readAhead is how much of a file is read at once.
const readAhead = 256 << 10

// walk reads the frames of one file in order. After an error other than io.EOF
// it stands where the damage begins; skip goes on behind it.
type walk struct {
	file diskFile
	size int64 // of the file, or as far as it is durable
	at   int64 // offset of the next frame
	buf  []byte
	base int64 // offset of buf[0]
}

func newWalk(f diskFile, from, size int64) *walk {
	return &walk{file: f, size: size, at: from, base: from}
}

// window is the next bytes, n of them unless the file ends before.
func (w *walk) window(n int64) ([]byte, error) {
	n = min(n, w.size-w.at)
	if have := w.base + int64(len(w.buf)) - w.at; w.at < w.base || have < n {
		length := min(max(n, readAhead), w.size-w.at)
		if int64(cap(w.buf)) < length {
			w.buf = make([]byte, length)
		}
		w.buf, w.base = w.buf[:length], w.at
		if m, err := w.file.ReadAt(w.buf, w.at); int64(m) < length {
			w.buf = w.buf[:0]
			return nil, fmt.Errorf("read %d bytes at offset %d: %w", length, w.at, err)
		}
	}
	from := w.at - w.base
	return w.buf[from : from+n], nil
}

// next is the next frame; its payload is good until the call after. The error
// is io.EOF at the end, errShort or errBadFrame for damage, or what reading
// said.
func (w *walk) next() (frame, error) {
	if w.at >= w.size {
		return frame{}, io.EOF
	}
	head, err := w.window(frameHead)
	if err != nil {
		return frame{}, err
	}
	n, err := frameLength(head)
	if err != nil {
		return frame{}, err
	}
	b, err := w.window(n)
	if err != nil {
		return frame{}, err
	}
	f, err := parseFrame(b)
	if err != nil {
		return frame{}, err
	}
	w.at += n
	return f, nil
}

// skip looks for a whole frame behind the damage at which the walk stands and
// goes there; the bytes passed over are returned. found is false when there is
// none: then they are the rest of the file.
func (w *walk) skip() (passed []byte, found bool, err error) {
	rest, err := w.window(w.size - w.at)
	if err != nil {
		return nil, false, err
	}
	rest = append([]byte(nil), rest...)
	i := -1
	if len(rest) > 1 {
		i = findFrame(rest[1:])
	}
	if i < 0 {
		w.at = w.size
		return rest, false, nil
	}
	w.at += int64(i) + 1
	return rest[:i+1], true, nil
}
