package engine

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/value"

	"github.com/homeostat/homeostat/models"
)

// Shard owns the partitions p with p mod n = its index.
type Shard struct {
	engine  *Engine
	index   int
	parts   []*partition // by partition number / n
	active  []*partition // those that hold anything, by number
	loaded  bool         // pages were loaded and not mended yet
	reading models.Reading
}

// cause is what a measurement comes from while it is scored.
type cause struct {
	fx      *Effects
	receipt *Receipt
	batch   int
	epoch   int64 // the epoch that what it causes belongs to
	quiet   bool

	sender     uint32
	senderName string
}

// maxTime is 1 January 10000, in milliseconds. No sender means a later time.
const maxTime = 253402300800000

func floorEpoch(at int64) int64 { return at - at%EpochMillis }

// own is the shard's partition of a number; nil when another shard owns it.
func (s *Shard) own(number uint8) *partition {
	n := len(s.engine.shards)
	if int(number)%n != s.index {
		return nil
	}
	return s.parts[int(number)/n]
}

// Step takes in the batches of a round: those of their samples whose partition
// the shard owns. It appends to fx the records that they caused, and for each
// batch, in order, a receipt of the shard's share (a batch's receipt is the sum
// over shards). Shards may step at the same time, each with an fx of its own.
func (s *Shard) Step(batches []*Batch, fx *Effects) {
	if s.loaded {
		s.mend()
	}
	for n, b := range batches {
		fx.Receipts = append(fx.Receipts, Receipt{})
		c := cause{fx: fx, receipt: &fx.Receipts[len(fx.Receipts)-1], batch: n, quiet: b.Quiet}
		c.sender, c.senderName = s.engine.senderOf(b.Sender)
		for k := range b.Samples {
			x := &b.Samples[k]
			p := s.own(x.Partition)
			if p == nil {
				continue
			}
			c.receipt.Received++
			if r := s.take(p, x.Series, x.At, x.Value, nil, &c); r == ReasonNone {
				c.receipt.Scored++
			} else {
				c.receipt.Reasons[r]++
			}
		}
		for k := range b.Histograms {
			h := &b.Histograms[k]
			p := s.own(h.Series.Partition)
			if p == nil {
				continue
			}
			c.receipt.Received++
			// A histogram is never scored itself: what is derived from it is.
			r := s.take(p, h.Series, h.At, h.Count, h, &c)
			c.receipt.Reasons[r]++
			if r.Rejects() {
				c.receipt.RejectedHistograms++
			}
		}
	}
}

// take takes one value in, and says why it was not scored itself.
func (s *Shard) take(p *partition, series *Series, at int64, v float64, h *HistogramSample, c *cause) Reason {
	e := s.engine
	switch {
	case at < 0:
		return ReasonTooOld
	case at > maxTime, e.settle.tick > 0 && at > e.settle.tick+e.maxAhead:
		return ReasonTooNew
	}
	stale := value.IsStaleNaN(v)
	if !stale && (math.IsNaN(v) || math.IsInf(v, 0)) {
		return ReasonNotFinite
	}
	if stale {
		if _, known := p.index[series.ID]; !known {
			return ReasonStale
		}
	}
	i, reason := p.lookup(e, series, at)
	if reason != ReasonNone {
		return reason
	}
	s.activate(p)
	sl := &p.slots[i]
	switch {
	case at < sl.lastAt:
		return ReasonOutOfOrder
	case at == sl.lastAt && math.Float64bits(v) == math.Float64bits(sl.last):
		return ReasonRepeat
	case at == sl.lastAt:
		return ReasonDuplicate
	}
	open := e.settle.open
	c.epoch = floorEpoch(at)
	if c.epoch < open {
		c.epoch = open
		c.receipt.Late++
	}
	p.touch(i)
	sl.sender = c.sender
	sl.hush(c.quiet)
	if seen := p.sender(c.sender, c.senderName); at > seen.at {
		seen.at = at
	}
	if stale {
		p.end(i, at, v)
		p.tellEnd(i, max(at, c.epoch))
		return ReasonStale
	}
	s.wake(p, i, at, v, c)
	return s.use(p, i, at, v, h, c)
}

// activate makes a partition one that closes and settles visit.
func (s *Shard) activate(p *partition) {
	if p.active {
		return
	}
	p.active = true
	at, _ := slices.BinarySearchFunc(s.active, p, func(a, b *partition) int { return int(a.number) - int(b.number) })
	s.active = slices.Insert(s.active, at, p)
}

// use gives a value to what its series' role makes of it.
func (s *Shard) use(p *partition, i uint32, at int64, v float64, h *HistogramSample, c *cause) Reason {
	sl := &p.slots[i]
	if h != nil {
		sl.role = roleNative
		return s.takeHistogram(p, i, h, c)
	}
	fromAt, from, had := sl.lastAt, sl.last, sl.flags&flagValue != 0
	sl.lastAt, sl.last = at, v
	sl.flags |= flagValue
	onTime := true
	if sl.group != 0 {
		onTime = p.feed(i, at, v, s.engine.settle.open, s.engine.grace)
	}
	switch sl.role {
	case roleGauge:
		s.scoreGauge(p, i, at, v, sl.unitOf(0), c)
		return ReasonNone
	case roleCounter:
		switch {
		case !had || at-fromAt > maxRateGap:
			if sl.sum != 0 {
				p.tell(i, arrival{at: max(at, c.epoch), what: arrivalBegins})
			}
			return ReasonFirst
		case v < from:
			return ReasonReset
		case sl.feeds && !onTime:
			return ReasonLateJoin
		case sl.feeds:
			return ReasonRatio
		}
		rate := rateOf(fromAt, from, at, v)
		if sl.sum != 0 {
			p.tell(i, arrival{at: max(at, c.epoch), what: arrivalRate, gap: at - fromAt, rate: rate})
		}
		s.scoreGauge(p, i, at, rate, sl.unitOf(float64(at-fromAt)/1000), c)
		return ReasonNone
	case roleNative:
		// A float where a histogram was: nothing can be taken from it.
		return ReasonHistogram
	}
	if !onTime {
		return ReasonLateJoin
	}
	return ReasonBucket
}

// Close closes the epochs that the tick ends, in the shard's partitions. Shards
// may close at the same time, each with an fx of its own; Settle follows. It
// appends one receipt, which counts what was derived.
func (s *Shard) Close(t Tick, fx *Effects) {
	fx.Receipts = append(fx.Receipts, Receipt{})
	c := cause{fx: fx, receipt: &fx.Receipts[len(fx.Receipts)-1]}
	if s.loaded {
		s.mend()
	}
	open := s.engine.openAt(t)
	deaf := s.engine.deafUntil(t)
	for _, p := range s.active {
		s.closeGroups(p, open, &c)
		s.closeSums(p, open, &c)
		if len(p.newborn) > 0 {
			p.inherit(open)
		}
		s.listen(p, open, deaf, &c)
	}
}

// sortRecords puts the records from a place on into canonical order.
func (fx *Effects) sortRecords(from int) {
	order := make([]int, len(fx.marks))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return fx.marks[a].compare(fx.marks[b]) })
	records := make([]Record, len(order))
	for i, k := range order {
		records[i] = fx.Records[from+k]
	}
	copy(fx.Records[from:], records)
	fx.marks = fx.marks[:0]
}

func (m mark) compare(o mark) int {
	for _, d := range [...][2]int64{
		{int64(m.batch), int64(o.batch)},
		{m.epoch, o.epoch},
		{m.at, o.at},
		{int64(m.series >> 1), int64(o.series >> 1)},
		{int64(m.series & 1), int64(o.series & 1)},
		{int64(m.kind), int64(o.kind)},
		{int64(m.rev), int64(o.rev)},
	} {
		if d[0] != d[1] {
			if d[0] < d[1] {
				return -1
			}
			return 1
		}
	}
	return 0
}
