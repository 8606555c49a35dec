package serve

import (
	"sort"
	"strconv"
	"sync"

	"github.com/homeostat/homeostat/engine"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// maxRing bounds the newest records that are kept for subscribers who follow
// closely. One who falls further behind reads the log.
const maxRing = 2048

// told is one record on its way to the subscribers. Its message is made when
// the first of them asks, and shared by all.
type told struct {
	seq    uint64
	record engine.Record

	once sync.Once
	made *homeostatv1.WatchResponse
}

// message is what a stream sends of the record, nil for a tick. Nobody may
// change it.
func (t *told) message() *homeostatv1.WatchResponse {
	t.once.Do(func() {
		if t.made = messageOf(t.record); t.made != nil {
			t.made.ResumeToken = strconv.FormatUint(t.seq, 10)
		}
	})
	return t.made
}

// ring is the newest records, in order.
type ring struct {
	entries []*told // a window over an array twice as long, which moves back when it reaches the end
	before  uint64  // the sequence before the oldest entry
}

// push adds a record.
func (r *ring) push(seq uint64, rec engine.Record) {
	if len(r.entries) == maxRing {
		r.before = r.entries[0].seq
		r.entries[0] = nil
		r.entries = r.entries[1:]
	}
	if len(r.entries) == 0 {
		r.before = seq - 1
	}
	if len(r.entries) == cap(r.entries) {
		grown := make([]*told, len(r.entries), 2*maxRing)
		copy(grown, r.entries)
		r.entries = grown
	}
	r.entries = append(r.entries, &told{seq: seq, record: rec})
}

// after appends up to most of the records after a sequence to to. ok is false
// when the ring doesn't reach back that far.
func (r *ring) after(seq uint64, to []*told, most int) (_ []*told, ok bool) {
	if len(r.entries) == 0 || seq < r.before {
		return to, false
	}
	i := sort.Search(len(r.entries), func(i int) bool { return r.entries[i].seq > seq })
	return append(to, r.entries[i:min(len(r.entries), i+most)]...), true
}
