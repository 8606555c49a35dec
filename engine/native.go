package engine

// takeHistogram takes a native histogram in: its rate is scored now, and its
// quantiles once they have observations enough.
func (s *Shard) takeHistogram(p *partition, i uint32, h *HistogramSample, c *cause) Reason {
	base := p.slots[i].series
	key := groupKey{groupNative, uint64(base.ID)}
	g, ok := p.byGroup[key]
	if !ok {
		g = uint32(len(p.groups))
		p.groups = append(p.groups, group{kind: groupNative, key: key, series: base})
		p.byGroup[key] = g
		p.slots[i].group = g + 1
	}
	p.touchGroup(g)
	gr := &p.groups[g]
	rebase := func(gr *group) {
		gr.native = append(gr.native[:0], h.Buckets...)
		gr.baseAt = h.At
	}
	sl := &p.slots[i]
	had, fromAt, from := sl.flags&flagValue != 0, sl.lastAt, sl.last
	sl.lastAt, sl.last = h.At, h.Count
	sl.flags |= flagValue
	if h.Gauge {
		gr.baseAt, gr.tail = h.At, gr.tail[:0] // its buckets are a state, which does not add up
		s.scoreQuantiles(p, g, h.At, h.Buckets, c, func(*group) {})
		return ReasonBucket
	}
	buckets, reset := nativeDelta(gr.native, h.Buckets)
	r := s.output(p, g, 2, roleDerived, rateSuffix, h.At)
	if !had || reset || h.Count < from || h.At-fromAt > maxRateGap {
		rebase(&p.groups[g])
		if (!had || h.At-fromAt > maxRateGap) && p.slots[r].sum != 0 {
			p.tell(r, arrival{at: max(h.At, c.epoch), what: arrivalBegins})
		}
		if had && (reset || h.Count < from) {
			return ReasonReset
		}
		return ReasonFirst
	}
	rate := rateOf(fromAt, from, h.At, h.Count)
	if p.slots[r].sum != 0 {
		p.slots[r].sender = p.slots[i].sender
		p.tell(r, arrival{at: max(h.At, c.epoch), what: arrivalRate, gap: h.At - fromAt, rate: rate})
	}
	s.scoreGauge(p, r, h.At, rate, 0, c)
	s.scoreQuantiles(p, g, h.At, buckets, c, rebase)
	return ReasonBucket
}

// nativeDelta is what the buckets gained. Buckets that were merged to a coarser
// schema between the two count as a reset.
func nativeDelta(from, to []Bucket) ([]Bucket, bool) {
	out := make([]Bucket, 0, len(to))
	k := 0
	for _, b := range to {
		for k < len(from) && from[k].Upper < b.Upper {
			return nil, true
		}
		d := b
		if k < len(from) && from[k].Upper == b.Upper {
			d.Count -= from[k].Count
			k++
		}
		if d.Count < 0 {
			return nil, true
		}
		if d.Count > 0 {
			out = append(out, d)
		}
	}
	return out, k < len(from)
}
