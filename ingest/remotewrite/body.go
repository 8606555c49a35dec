package remotewrite

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/klauspost/compress/s2"
)

// receive reads the body into q.raw and makes room for it in q.body. Both
// sizes are checked, and held against the bytes in flight, before there is
// room for them. held is to be given back.
func (h *terms) receive(w http.ResponseWriter, r *http.Request, q *request) (held int64, refusal *refused) {
	limit := h.cfg.Limits.CompressedBytes
	if r.ContentLength > int64(limit) {
		return 0, overLimit(RefusedCompressedSize, limit)
	}
	hold := func(n int) bool {
		if h.inFlight.Add(int64(n)) > h.cfg.InFlightBytes {
			h.inFlight.Add(-int64(n))
			return false
		}
		held += int64(n)
		return true
	}
	// Not every writer can set a deadline; a server's own time-outs hold then.
	control := http.NewResponseController(w)
	bounded := control.SetReadDeadline(time.Now().Add(h.cfg.ReadTimeout)) == nil
	if refusal = q.read(r, limit, hold); refusal != nil {
		// The server reads what is left of the body before it answers: the
		// deadline stays for that, and the connection goes.
		w.Header().Set("Connection", "close")
		return held, refusal
	}
	if bounded {
		// The server watches the connection while the batch waits; that the
		// client is silent then is no fault.
		_ = control.SetReadDeadline(time.Time{})
	}
	size, err := s2.DecodedLen(q.raw)
	if err != nil {
		return held, refuse(RefusedSnappy, "")
	}
	if size > h.cfg.Limits.DecodedBytes {
		return held, overLimit(RefusedDecodedSize, h.cfg.Limits.DecodedBytes)
	}
	// A byte of Snappy makes at most 64/3 bytes; a header that claims more is
	// a lie that shall not cost memory.
	if size > 22*len(q.raw)+64 {
		return held, refuse(RefusedSnappy, "the length in the header cannot be true")
	}
	if !hold(size) {
		return held, refuse(RefusedMemory, "")
	}
	if cap(q.body) < size {
		q.body = make([]byte, 0, size)
	}
	return held, nil
}

// read reads the body into q.raw, doubling it as the bytes really come.
func (q *request) read(r *http.Request, limit int, hold func(int) bool) *refused {
	room := 64 << 10
	if r.ContentLength >= 0 {
		// A length that is only claimed gets no more than this at first.
		room = min(int(r.ContentLength)+1, 1<<20)
	}
	if !hold(room) {
		return refuse(RefusedMemory, "")
	}
	if cap(q.raw) < room {
		q.raw = make([]byte, 0, room)
	}
	for {
		if len(q.raw) == room {
			if !hold(room) {
				return refuse(RefusedMemory, "")
			}
			room *= 2
			if cap(q.raw) < room {
				grown := make([]byte, len(q.raw), room)
				copy(grown, q.raw)
				q.raw = grown
			}
		}
		n, err := r.Body.Read(q.raw[len(q.raw):room])
		q.raw = q.raw[:len(q.raw)+n]
		if len(q.raw) > limit {
			return overLimit(RefusedCompressedSize, limit)
		}
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return refuse(RefusedSlow, "")
		case err != nil:
			return refuse(RefusedBody, "")
		}
	}
}
