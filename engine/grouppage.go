package engine

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The records of groups. Those of slots are in page.go.

func (p *partition) appendGroup(b []byte, g uint32) []byte {
	gr := &p.groups[g]
	if gr.series == nil {
		return b
	}
	if gr.sum != nil {
		return appendPart(b, tagSum, gr.appendSum)
	}
	b = appendPart(b, tagGroup, func(b []byte) []byte {
		b = append(b, byte(gr.kind))
		b = binary.LittleEndian.AppendUint64(b, gr.key.id)
		b = gr.series.append(b)
		b = binary.AppendUvarint(b, uint64(len(gr.members)))
		for _, m := range gr.members {
			b = binary.AppendUvarint(b, uint64(m.slot))
			b = appendFloat(append(b, byte(m.part)), m.bound)
		}
		b = binary.AppendVarint(b, gr.doneAt)
		b = binary.AppendVarint(b, gr.baseAt)
		b = appendFloats(b, gr.base)
		b = binary.AppendUvarint(b, uint64(len(gr.pending)))
		for _, w := range gr.pending {
			b = binary.AppendVarint(b, w.at)
			b = binary.AppendVarint(b, w.close)
			b = appendFloats(b, w.values)
		}
		b = appendBuckets(b, gr.native)
		for _, o := range gr.outputs {
			b = binary.AppendUvarint(b, uint64(o))
		}
		return b
	})
	if len(gr.tail) == 0 {
		return b
	}
	return appendPart(b, tagTail, func(b []byte) []byte { return appendBuckets(b, gr.tail) })
}

func appendFloats(b []byte, vs []float64) []byte {
	b = binary.AppendUvarint(b, uint64(len(vs)))
	for _, v := range vs {
		b = appendFloat(b, v)
	}
	return b
}

func (p *partition) loadGroups(id PageID, count int, r reader) error {
	groups := make([]group, count)
	for n := range groups {
		entry := r.block()
		if r.bad {
			return fmt.Errorf("%w: %v: entry %d is cut", ErrPage, id, n)
		}
		for len(entry.b) > 0 {
			tag, version := entry.byte(), entry.byte()
			body := entry.block()
			switch {
			case entry.bad || version != partVersion:
			case tag == tagGroup:
				body.group(&groups[n])
			case tag == tagSum:
				body.sum(&groups[n])
			case tag == tagTail:
				groups[n].tail = body.buckets()
			}
			if entry.bad || body.bad || !tailFits(groups[n].tail) {
				return fmt.Errorf("%w: %v: entry %d", ErrPage, id, n)
			}
		}
	}
	first := (id.Number - groupPages) * pageGroups
	for len(p.groups) < int(first)+count {
		p.groups = append(p.groups, group{})
	}
	for n := range groups {
		g := first + uint32(n)
		if groups[n].series == nil {
			continue
		}
		p.groups[g] = groups[n]
		gr := &p.groups[g]
		p.byGroup[gr.key] = g
		if len(gr.pending) > 0 {
			gr.queued = true
			p.due = append(p.due, g)
		}
	}
	return nil
}

// appendSum appends a sum's group, whole.
func (gr *group) appendSum(b []byte) []byte {
	sm := gr.sum
	b = append(b, byte(gr.kind))
	b = binary.LittleEndian.AppendUint64(b, gr.key.id)
	b = gr.series.append(b)
	b = binary.AppendUvarint(b, uint64(gr.outputs[0]))
	b = binary.AppendVarint(b, sm.next)
	for _, v := range [...]float64{sm.step, sm.held, sm.usual, sm.gathered} {
		b = appendFloat(b, v)
	}
	b = append(binary.AppendUvarint(b, uint64(sm.points)), boolByte(sm.settled))
	b = binary.AppendUvarint(b, uint64(len(sm.replicas)))
	for k := range sm.replicas {
		r := &sm.replicas[k]
		b = binary.LittleEndian.AppendUint64(b, uint64(r.id))
		b = binary.AppendUvarint(b, uint64(r.slot))
		b = append(b, r.rates, boolByte(r.ended), boolByte(r.news))
		b = appendFloat(appendFloat(b, r.rate), r.total)
		for _, v := range [...]int64{r.gap, r.rateAt, r.seenAt} {
			b = binary.AppendVarint(b, v)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(sm.waiting)))
	for k := range sm.waiting {
		a := &sm.waiting[k]
		b = append(binary.AppendUvarint(b, uint64(a.slot)), byte(a.what))
		b = binary.AppendVarint(b, a.at)
		b = binary.AppendVarint(b, a.gap)
		b = appendFloat(appendFloat(b, a.rate), a.total)
	}
	return b
}

// sum reads what appendSum wrote.
func (r *reader) sum(g *group) {
	g.kind = groupKind(r.byte())
	g.key = groupKey{g.kind, r.word()}
	series := r.series()
	g.outputs[0] = uint32(r.uvarint())
	sm := &sum{next: r.varint(), step: r.float(), held: r.float(), usual: r.float(), gathered: r.float()}
	sm.points, sm.settled = uint32(r.uvarint()), r.byte() != 0
	times := []int64{sm.next}
	for range r.count(31) {
		e := replica{
			id: SeriesID(r.word()), slot: uint32(r.uvarint()), rates: r.byte(), ended: r.byte() != 0, news: r.byte() != 0,
			rate: r.float(), total: r.float(), gap: r.varint(), rateAt: r.varint(), seenAt: r.varint(),
		}
		times = append(times, e.gap, e.rateAt, e.seenAt)
		r.bad = r.bad || !finite(e.rate) || !finite(e.total) || e.gap > 2*maxRateGap || e.seenAt > sm.next+dayMillis
		if n := len(sm.replicas); n > 0 {
			r.bad = r.bad || sm.replicas[n-1].id >= e.id
		}
		sm.replicas = append(sm.replicas, e)
	}
	for range r.count(20) {
		a := arrival{slot: uint32(r.uvarint()), what: arrivalKind(r.byte()), at: r.varint(), gap: r.varint(), rate: r.float(), total: r.float()}
		times = append(times, a.at, a.gap)
		r.bad = r.bad || !finite(a.rate) || !finite(a.total) || a.gap > 2*maxRateGap || a.what < arrivalBegins || a.what > arrivalEnds
		sm.waiting = append(sm.waiting, a)
	}
	r.bad = r.bad || g.kind != groupSum && g.kind != groupShare || !plausible(times) || sm.next%EpochMillis != 0
	r.bad = r.bad || !finite(sm.held) || !finite(sm.usual) || !finite(sm.gathered) || !(sm.step >= 0 && sm.step <= maxRateGap)
	if !r.bad {
		g.series, g.sum = series, sm
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
