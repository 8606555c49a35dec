package engine

import (
	"encoding/binary"
	"math"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/models"
)

// reader reads what page.go wrote. The first thing that does not fit sets bad,
// and everything after that is zero: it is asked once, at the end.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) float() float64 {
	return math.Float64frombits(r.word())
}

func (r *reader) word() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) text() string { return string(r.take(r.uvarint())) }

func (r *reader) block() reader {
	b := r.take(r.uvarint())
	return reader{b: b, bad: r.bad}
}

// count is a length of what takes at least size bytes each.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *reader) floats() []float64 {
	n := r.count(8)
	if n == 0 {
		return nil
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = r.float()
	}
	return out
}

func (r *reader) series() *Series {
	n := r.count(2)
	b := labels.NewScratchBuilder(n)
	for range n {
		b.Add(r.text(), r.text())
	}
	b.Sort()
	w := Workload(r.text())
	typ := Type(r.byte())
	ls := b.Labels()
	return &Series{ID: SeriesID(labels.StableHash(ls)), Labels: ls, Workload: w, Partition: w.Partition(), Type: typ}
}

func (r *reader) episode() *episode {
	id := r.take(8)
	if id == nil {
		return nil
	}
	ep := &episode{ID: AnomalyID(binary.LittleEndian.Uint64(id))}
	ep.Kind, ep.Open, ep.Side = Kind(r.byte()), r.byte() != 0, int8(r.byte())
	ep.OpenedAt, ep.UpdatedAt, ep.EventAt = r.varint(), r.varint(), r.varint()
	ep.Peak, ep.Points, ep.Onside = models.Score(r.varint()), int32(r.varint()), int32(r.varint())
	if len(r.b) > 0 { // they were added later
		ep.From, ep.To = r.float(), r.float()
	}
	return ep
}

func (r *reader) group(g *group) {
	g.kind = groupKind(r.byte())
	g.key = groupKey{g.kind, r.word()}
	series := r.series()
	for range r.count(10) {
		m := member{slot: uint32(r.uvarint())}
		m.part, m.bound = memberPart(r.byte()), r.float()
		g.members = append(g.members, m)
	}
	g.doneAt, g.baseAt, g.base = r.varint(), r.varint(), r.floats()
	for range r.count(3) {
		g.pending = append(g.pending, pending{at: r.varint(), close: r.varint(), values: r.floats()})
	}
	g.native = r.buckets()
	for i := range g.outputs {
		g.outputs[i] = uint32(r.uvarint())
	}
	for _, w := range g.pending {
		r.bad = r.bad || len(w.values) != len(g.members) || !plausible([]int64{w.at, w.close})
	}
	r.bad = r.bad || !plausible([]int64{g.doneAt, g.baseAt}) || g.kind > groupNative
	r.bad = r.bad || len(g.base) != 0 && len(g.base) != len(g.members)
	if !r.bad {
		g.series = series
	}
}
