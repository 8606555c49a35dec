package engine

import (
	"math"
	"slices"
	"sort"

	"github.com/prometheus/prometheus/model/labels"
)

// The joins: measurements that need several series at one time. A group gathers
// the values of its members by time and closes each time at the close of its
// epoch; what came too late to be on time waits as long again from when it came.

const (
	maxGroupMembers = 512 // members of a group; more feed nothing
	maxPending      = 64  // times a group may have open; the oldest closes early beyond
	minQuantile     = 20  // observations that quantiles are waited for
	minMedian       = 5   // observations that a p50 needs, when they were waited for in vain
	maxQuantileWait = 5 * 60 * 1000
)

type groupKind uint8

const (
	groupHistogram groupKind = iota + 1
	groupRatio
	groupNative
	groupSum   // the rates of a workload's copies: see sum.go
	groupShare // their error ratios
)

type groupKey struct {
	kind groupKind
	id   uint64 // StableHash of the members' labels without what tells them apart
}

// group is one join.
type group struct {
	kind    groupKind
	key     groupKey
	series  *Series // of the first member: the derived series are named after it
	members []member
	pending []pending // by time
	doneAt  int64     // the newest time closed; nothing older is taken
	base    []float64 // the members' values that the next measurement is taken against
	baseAt  int64     // 0: none yet
	native  []Bucket  // base of a native histogram
	tail    []Bucket  // the last hundred observations, older ones fading
	outputs [3]uint32 // slots of what is derived, plus 1
	queued  bool      // in partition.due
	ratio   bool      // of a ratio: it is measured, so that counters of failures only feed it
	sum     *sum      // of a sum or share; then members, pending, base and native are not in use
}

// member is one series of a group.
type member struct {
	slot  uint32
	bound float64 // a bucket's upper bound; +1 for a failed code, 0 for another
	part  memberPart
}

type memberPart uint8

const (
	partBucket memberPart = iota + 1
	partSum
	partCount
	partCode
)

// pending is one time of a group that is still gathering.
type pending struct {
	at     int64
	close  int64     // the epoch whose close ends the gathering
	values []float64 // by member; NaN where nothing came
}

// join puts a newly seen series into the group that it feeds, if any.
func (p *partition) join(i uint32) {
	s := p.slots[i].series
	switch p.slots[i].role {
	case roleBucket:
		bound, ok := bucketBound(s)
		if ok {
			p.joinGroup(i, groupHistogram, "_bucket", labels.BucketLabel, member{slot: i, bound: bound, part: partBucket})
		}
	case roleSum:
		p.joinGroup(i, groupHistogram, "_sum", "", member{slot: i, part: partSum})
	case roleCounter:
		if label, failed, ok := codeOf(s.Labels); ok {
			m := member{slot: i, part: partCode}
			if failed {
				m.bound = 1
			}
			p.joinGroup(i, groupRatio, "", label, m)
			p.slots[i].feeds = failed && p.slots[i].group != 0 && p.groups[p.slots[i].group-1].ratio
			return
		}
		if trimmed(s, "_count") {
			p.joinGroup(i, groupHistogram, "_count", "", member{slot: i, part: partCount})
		}
	}
}

func trimmed(s *Series, suffix string) bool {
	name := s.Labels.Get(labels.MetricName)
	return len(name) > len(suffix) && name[len(name)-len(suffix):] == suffix
}

func (p *partition) joinGroup(i uint32, kind groupKind, trim, drop string, m member) {
	base := derivedSeries(p.slots[i].series, trim, "", drop)
	key := groupKey{kind, uint64(base.ID)}
	g, ok := p.byGroup[key]
	if !ok {
		g = uint32(len(p.groups))
		p.groups = append(p.groups, group{kind: kind, key: key, series: base})
		p.byGroup[key] = g
	}
	gr := &p.groups[g]
	if slices.ContainsFunc(gr.members, func(m member) bool { return m.slot == i }) {
		p.slots[i].group = g + 1 // it was in it before its type changed to and fro
		return
	}
	if len(gr.members) >= maxGroupMembers {
		return
	}
	p.slots[i].group = g + 1
	gr.members = append(gr.members, m)
	if gr.base != nil {
		gr.base = append(gr.base, math.NaN())
	}
	for j := range gr.pending {
		gr.pending[j].values = append(gr.pending[j].values, math.NaN())
	}
	p.touchGroup(g)
}

// feed gives a member's value at a time to its group. It says false when that
// time was closed before.
func (p *partition) feed(i uint32, at int64, v float64, open, grace int64) bool {
	g := p.slots[i].group - 1
	gr := &p.groups[g]
	if at <= gr.doneAt {
		return false
	}
	n := sort.Search(len(gr.pending), func(n int) bool { return gr.pending[n].at >= at })
	if n == len(gr.pending) || gr.pending[n].at != at {
		closing := floorEpoch(at)
		if closing < open {
			closing = open + grace
		}
		values := make([]float64, len(gr.members))
		for k := range values {
			values[k] = math.NaN()
		}
		gr.pending = slices.Insert(gr.pending, n, pending{at: at, close: closing, values: values})
	}
	for k := range gr.members {
		if gr.members[k].slot == i {
			gr.pending[n].values[k] = v
			break
		}
	}
	if !gr.queued {
		gr.queued = true
		p.due = append(p.due, g)
	}
	p.touchGroup(g)
	return true
}

// closeGroups measures what the groups gathered for epochs before open.
func (s *Shard) closeGroups(p *partition, open int64, c *cause) {
	// Derived slots may be made while the groups are walked: their order is
	// part of the state, so it must not depend on the order in which the
	// members happened to arrive.
	slices.SortFunc(p.due, func(a, b uint32) int { return compareKeys(p.groups[a].key, p.groups[b].key) })
	kept := p.due[:0]
	for _, g := range p.due {
		gr := &p.groups[g]
		n := 0
		for n < len(gr.pending) && (gr.pending[n].close < open || len(gr.pending)-n > maxPending) {
			n++
		}
		for k := range n {
			c.epoch = gr.pending[k].close
			c.quiet = p.fromHistory(gr, gr.pending[k].values)
			s.measureGroup(p, g, gr.pending[k], c)
			gr = &p.groups[g]
			gr.doneAt = gr.pending[k].at
			if gr.kind == groupRatio {
				s.feedRatio(p, g, gr.doneAt, c)
			}
		}
		if n > 0 {
			gr.pending = append(gr.pending[:0], gr.pending[n:]...)
			p.touchGroup(g)
		}
		if len(gr.pending) > 0 {
			kept = append(kept, g)
		} else {
			gr.queued = false
		}
	}
	p.due = kept
	c.quiet = false
}

// fromHistory says whether a time's values came from history, of which nobody is
// told.
func (p *partition) fromHistory(gr *group, values []float64) bool {
	for k, v := range values {
		if !math.IsNaN(v) {
			return p.slots[gr.members[k].slot].flags&flagQuiet != 0
		}
	}
	return false
}

func compareKeys(a, b groupKey) int {
	switch {
	case a.kind != b.kind:
		return int(a.kind) - int(b.kind)
	case a.id < b.id:
		return -1
	case a.id > b.id:
		return 1
	}
	return 0
}

func (s *Shard) measureGroup(p *partition, g uint32, now pending, c *cause) {
	gr := &p.groups[g]
	if gr.baseAt == 0 || now.at-gr.baseAt > 2*maxRateGap {
		gr.tail = gr.tail[:0]
		gr.rebase(now)
		return
	}
	switch gr.kind {
	case groupHistogram:
		s.measureHistogram(p, g, now, c)
	case groupRatio:
		s.measureRatio(p, g, now, c)
	}
}

// succeeds says whether a ratio has a code of success to hold the failures
// against.
func (gr *group) succeeds() bool {
	for k, m := range gr.members {
		if m.part == partCode && m.bound == 0 && k < len(gr.base) && !math.IsNaN(gr.base[k]) {
			return true
		}
	}
	return false
}

// feedRatio makes the counters of failures of a ratio that is measured feed it
// and nothing else: their own rates are of counts so small that one more is
// always far off. What was open on one of them ends, as its ratio takes over.
func (s *Shard) feedRatio(p *partition, g uint32, at int64, c *cause) {
	gr := &p.groups[g]
	if gr.ratio || !gr.succeeds() {
		return
	}
	gr.ratio = true
	for _, m := range gr.members {
		if m.bound == 0 {
			continue
		}
		sl := &p.slots[m.slot]
		sl.feeds = true
		ends := max(at, sl.lastAt+1) // later than all that was said of it
		c.epoch = floorEpoch(ends)
		s.closeEpisodes(p, m.slot, ends, c, Factor{Name: "ratio", Text: "from now on it counts for its error ratio only"})
		p.dropMeasure(m.slot)
	}
}

// rebase makes the values of a time the ones to measure against. A member that
// sent nothing keeps what it had.
func (gr *group) rebase(now pending) {
	if gr.base == nil || gr.baseAt == 0 {
		gr.base = slices.Clone(now.values)
	}
	for k, v := range now.values {
		if !math.IsNaN(v) {
			gr.base[k] = v
		}
	}
	gr.baseAt = now.at
}

// measureRatio scores failed over all requests since the last time. A code that
// is first seen in a group that is known started from nothing, as counters do,
// unless that would be out of all proportion.
func (s *Shard) measureRatio(p *partition, g uint32, now pending, c *cause) {
	gr := &p.groups[g]
	gap := now.at - gr.baseAt
	var failed, total, fresh, freshFailed float64
	for k, v := range now.values {
		switch from := gr.base[k]; {
		case math.IsNaN(v):
		case math.IsNaN(from):
			fresh += v
			freshFailed += v * gr.members[k].bound
		case v >= from:
			total += v - from
			failed += (v - from) * gr.members[k].bound
		}
	}
	if fresh <= 10*total+10 {
		total += fresh
		failed += freshFailed
	}
	gr.rebase(now)
	if total <= 0 || !gr.succeeds() {
		return // of failures alone there is no share
	}
	i := s.output(p, g, 0, roleRatio, ratioSuffix, now.at)
	s.scoreRatio(p, i, now.at, failed, total, c)
	if p.slots[i].sum != 0 {
		p.slots[i].sender = p.slots[gr.members[0].slot].sender
		p.tell(i, arrival{at: max(now.at, c.epoch), what: arrivalRate, gap: gap, rate: failed, total: total})
	}
}

// measureHistogram scores the quantiles of what was observed since the last
// measurement, once that is enough to speak of quantiles.
func (s *Shard) measureHistogram(p *partition, g uint32, now pending, c *cause) {
	gr := &p.groups[g]
	buckets, sum, count, reset := gr.delta(now)
	if reset {
		gr.rebase(now)
		return
	}
	if len(buckets) == 0 {
		if count >= minMedian && !math.IsNaN(sum) {
			gr.rebase(now)
			s.scoreGauge(p, s.output(p, g, 2, roleDerived, ":mean", now.at), now.at, sum/count, 0, c)
		}
		return
	}
	s.scoreQuantiles(p, g, now.at, buckets, c, func(gr *group) { gr.rebase(now) })
}

// scoreQuantiles scores p50 of the buckets when they hold enough, and p99 with
// the last ones before them. It calls rebase once they are used up.
func (s *Shard) scoreQuantiles(p *partition, g uint32, at int64, buckets []Bucket, c *cause, rebase func(*group)) {
	gr := &p.groups[g]
	n, waited := total(buckets), at-gr.baseAt
	if n < minQuantile && waited < maxQuantileWait {
		return
	}
	rebase(gr)
	p99, enough := gr.lastHundred(buckets, waited)
	if n >= minMedian {
		s.scoreGauge(p, s.output(p, g, 0, roleDerived, ":p50", at), at, quantile(buckets, n, 0.5), 0, c)
	}
	if enough {
		s.scoreGauge(p, s.output(p, g, 1, roleDerived, ":p99", at), at, p99, 0, c)
	}
}

// delta is what was observed between the base and now: buckets by bound, not
// cumulative, and sum and count, which are NaN and 0 when there are none.
func (gr *group) delta(now pending) (buckets []Bucket, sum, count float64, reset bool) {
	sum = math.NaN()
	for k, m := range gr.members {
		from, to := gr.base[k], now.values[k]
		if math.IsNaN(from) || math.IsNaN(to) {
			continue
		}
		d := to - from
		switch m.part {
		case partSum:
			sum = d
		case partCount:
			count = d
			reset = reset || d < 0
		case partBucket:
			reset = reset || d < 0
			buckets = append(buckets, Bucket{Upper: m.bound, Count: d})
		}
	}
	sort.Slice(buckets, func(a, b int) bool { return buckets[a].Upper < buckets[b].Upper })
	if n := len(buckets); n > 0 && !math.IsInf(buckets[n-1].Upper, 1) {
		return nil, math.NaN(), 0, reset // without the last bucket there is no total
	}
	lower, below := 0.0, 0.0
	for k := range buckets {
		if k == 0 && buckets[k].Upper <= 0 {
			lower = math.Inf(-1)
		}
		buckets[k].Lower = lower
		lower = buckets[k].Upper
		// Buckets scraped while they moved may not be monotone.
		cum := math.Max(buckets[k].Count, below)
		buckets[k].Count = cum - below
		below = cum
	}
	return buckets, sum, count, reset
}

// quantile is the q-quantile of buckets that hold total observations, by linear
// interpolation within the bucket, as Prometheus' histogram_quantile has it: in
// the last, unbounded bucket it is the lower bound, in a first bucket below
// zero the upper one.
func quantile(buckets []Bucket, total, q float64) float64 {
	rank := q * total
	for k, b := range buckets {
		if rank > b.Count && k < len(buckets)-1 {
			rank -= b.Count
			continue
		}
		switch {
		case math.IsInf(b.Upper, 1):
			return b.Lower
		case math.IsInf(b.Lower, -1), b.Count == 0:
			return b.Upper
		}
		return b.Lower + (b.Upper-b.Lower)*math.Min(1, rank/b.Count)
	}
	return math.NaN()
}

// output is the slot of one of a group's derived measurements.
func (s *Shard) output(p *partition, g uint32, n int, r role, suffix string, at int64) uint32 {
	if i := p.groups[g].outputs[n]; i != 0 && int(i) <= len(p.slots) && p.slots[i-1].series != nil {
		return i - 1
	}
	ds := derivedSeries(p.groups[g].series, "", suffix)
	i, ok := p.index[ds.ID]
	if !ok {
		i = p.addSlot(ds, r, at-1)
	}
	p.groups[g].outputs[n] = i + 1
	p.touchGroup(g)
	return i
}
