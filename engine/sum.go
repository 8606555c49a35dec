package engine

import (
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// The sums: measurements over the copies of a workload. Each pod of a small
// service sees few requests a minute, and a surge of all is within the noise of
// each; their sum shows it. The copies are scraped at times of their own, so
// that they cannot be joined by time as buckets are: a sum is taken on a grid of
// event time instead, a point an interval of its copies, and each point from
// what every copy said last.
//
// A point says something of the traffic only while the copies are the same.
// Each is sure from its second rate on until it is late with the next. A point is
// taken when nearly all were sure at it and are still at the one after, for only
// then nobody was leaving: so it is told one interval later, and while pods are
// replaced nothing is. What follows has the new copies in the place of the old,
// and goes on from what was normal before. Where requests are few, as many points
// as hold enough of them are measured together.

const (
	maxReplicas  = 4096              // copies in a sum; further ones join when others are gone
	replicaLife  = 3                 // intervals after which a copy that says nothing is gone; until then its last rate counts
	replicaLate  = 1.25              // of the time between its values, after which a copy is late
	senderWait   = 60 * minuteMillis // how long copies whose sender stopped keep a sum from being measured
	unsureShare  = 0.05              // of the copies may be unsure at a point that is measured
	sumRequests  = 400               // that a rate needs, for chance to move it by no more than a twentieth
	maxSumWait   = 5 * 60 * 1000     // ms; what comes less often is told with what there is
	usualGain    = 1.0 / 32          // of a point, in what is usual
	minReplicas  = 2                 // that are sure, or the point is no more than one of them says itself
	maxArrivals  = 64                // of a copy that may wait for their point
	stepFollow   = 0.01              // by how much a value moves the interval towards the time since the one before
	replicaSlack = EpochMillis       // ms by which a value may be later still, since the grid is of whole seconds
)

// The names of what is measured of one copy and of all together.
const (
	rateSuffix  = ":rate" // of a native histogram; a counter's rate has the counter's name
	ratioSuffix = ":error_ratio"
	sumRate     = ":sum:rate"
	sumRatio    = ":sum:error_ratio"
)

// sum is the state of one sum.
type sum struct {
	next     int64     // the next point of the grid, ms; 0 while no copy sends
	step     float64   // the copies' interval, ms
	held     float64   // the sum at the last point
	settled  bool      // the copies were sure at it
	usual    float64   // requests from one point to the next, exponentially weighted
	gathered float64   // the sums of the points that wait to be measured together
	points   uint32    // how many those are
	replicas []replica // by ID
	waiting  []arrival // what came and has not reached its point
}

// replica is what one copy said last.
type replica struct {
	id     SeriesID
	slot   uint32
	rates  uint8   // that came since it began, at most 2
	ended  bool    // by a stale marker
	news   bool    // since the last point
	rate   float64 // a second; of a share, what failed since the last point
	total  float64 // of a share, all requests since the last point
	gap    int64   // over which the last rate was taken, ms
	rateAt int64   // when it came
	seenAt int64   // when anything came
}

// arrival is one thing that a copy said. It counts from when it came in event
// time: its own, or the start of the epoch that was open when it came too late.
type arrival struct {
	at    int64
	slot  uint32
	what  arrivalKind
	gap   int64
	rate  float64
	total float64
}

type arrivalKind uint8

const (
	arrivalBegins arrivalKind = iota + 1 // a first value, of which there is no rate yet
	arrivalRate
	arrivalEnds
)

// summed says to what kind of sum a slot's measurement belongs, and which suffix
// of its name the sum does not have. Failures have their share instead.
func (p *partition) summed(i uint32) (kind groupKind, trim string, ok bool) {
	sl := &p.slots[i]
	switch {
	case sl.role == roleRatio && p.nameEnds(i, ratioSuffix) && !p.nameEnds(i, sumRatio):
		return groupShare, ratioSuffix, true
	case sl.class != classTraffic:
		return 0, "", false
	case sl.role == roleDerived && !p.nameEnds(i, sumRate):
		return groupSum, rateSuffix, true
	case sl.role == roleCounter:
		_, failed, _ := codeOf(sl.series.Labels)
		return groupSum, "", !failed
	}
	return 0, "", false
}

func (p *partition) nameEnds(i uint32, suffix string) bool {
	return strings.HasSuffix(p.slots[i].series.Labels.Get(labels.MetricName), suffix)
}

// enlist puts a slot into the sum over its copies. When there is none yet, it is
// made if sibling is another copy; nobody is one's own sibling.
func (p *partition) enlist(i uint32, hasSibling bool) {
	kind, trim, ok := p.summed(i)
	if !ok || p.slots[i].sum != 0 {
		return
	}
	base := workloadSeries(p.slots[i].series, trim)
	key := groupKey{kind, uint64(base.ID)}
	g, ok := p.byGroup[key]
	if !ok {
		if !hasSibling {
			return
		}
		g = uint32(len(p.groups))
		p.groups = append(p.groups, group{kind: kind, key: key, series: base, sum: &sum{}})
		p.byGroup[key] = g
		p.addSum(g)
		p.touchGroup(g)
	}
	p.slots[i].sum = g + 1
	p.touch(i)
}

// addSum keeps the sums in an order that does not depend on who came first.
func (p *partition) addSum(g uint32) {
	at, _ := slices.BinarySearchFunc(p.sums, g, func(a, b uint32) int { return compareKeys(p.groups[a].key, p.groups[b].key) })
	p.sums = slices.Insert(p.sums, at, g)
}

// enlistCopies puts a slot that is measured now into a sum, together with a copy
// that was alone before.
func (p *partition) enlistCopies(i uint32, family uint64) {
	if _, _, ok := p.summed(i); !ok {
		return
	}
	for _, other := range p.families[family] {
		if other != i && p.slots[other].role == p.slots[i].role && p.slots[other].series.Workload == p.slots[i].series.Workload {
			p.enlist(i, true)
			p.enlist(other, false)
			return
		}
	}
}

// tell gives a sum what one of its copies says.
func (p *partition) tell(i uint32, a arrival) {
	g := p.slots[i].sum - 1
	a.slot = i
	p.groups[g].sum.waiting = append(p.groups[g].sum.waiting, a)
	p.touchGroup(g)
}

// tellEnd tells the sum that a slot is in, or what is derived of it, that a stale
// marker came.
func (p *partition) tellEnd(i uint32, at int64) {
	if p.slots[i].role == roleNative && p.slots[i].group != 0 {
		if r := p.groups[p.slots[i].group-1].outputs[2]; r != 0 {
			i = r - 1
		}
	}
	if p.slots[i].sum != 0 {
		p.tell(i, arrival{at: at, what: arrivalEnds})
	}
}

// closeSums measures the points of the grids that lie before open.
func (s *Shard) closeSums(p *partition, open int64, c *cause) {
	for _, g := range p.sums {
		sm := p.groups[g].sum
		idle := len(sm.waiting) == 0 && sm.next == 0 || sm.next >= open
		if idle && !sm.crowded() {
			continue
		}
		p.touchGroup(g)
		slices.SortStableFunc(sm.waiting, func(a, b arrival) int {
			switch {
			case a.at < b.at:
				return -1
			case a.at > b.at:
				return 1
			}
			return compareIDs(p.slots[a.slot].series.ID, p.slots[b.slot].series.ID)
		})
		for sm.runs(open) {
			sm.take(p, sm.next)
			s.pointOf(p, g, sm.next, c)
			sm.advance()
		}
		if sm.crowded() {
			sm.take(p, sm.waiting[len(sm.waiting)/2].at)
		}
	}
}

// crowded says that more waits than may. The older half then counts early.
func (sm *sum) crowded() bool { return len(sm.waiting) > maxArrivals*max(1, len(sm.replicas)) }

// runs says whether a point lies before open.
func (sm *sum) runs(open int64) bool {
	return (sm.next != 0 || sm.start(open)) && sm.next < open
}

// start begins the grid with the first rate of an epoch that is closed. What came
// before it has nobody to count for.
func (sm *sum) start(open int64) bool {
	n := 0
	for n < len(sm.waiting) && sm.waiting[n].at < open && sm.waiting[n].what != arrivalRate {
		n++
	}
	sm.waiting = append(sm.waiting[:0], sm.waiting[n:]...)
	if len(sm.waiting) == 0 || sm.waiting[0].at >= open {
		return false
	}
	first := &sm.waiting[0]
	sm.step = float64(min(max(first.gap, EpochMillis), maxRateGap))
	sm.settled = false
	sm.next = floorEpoch(first.at) + EpochMillis + sm.stride()
	return true
}

// stride is the interval as the grid has it: whole epochs.
func (sm *sum) stride() int64 {
	return max(1, int64(math.Round(sm.step/EpochMillis))) * EpochMillis
}

// pace is how often a copy sends; some are scraped less often than the others.
func (sm *sum) pace(r *replica) int64 { return max(r.gap, sm.stride()) }

func (sm *sum) advance() {
	if len(sm.replicas) == 0 {
		sm.next = 0
		return
	}
	sm.next += sm.stride()
}

// take lets everything count that came until a time.
func (sm *sum) take(p *partition, until int64) {
	n := 0
	for n < len(sm.waiting) && sm.waiting[n].at <= until {
		sm.count(p, &sm.waiting[n])
		n++
	}
	sm.waiting = append(sm.waiting[:0], sm.waiting[n:]...)
}

func (sm *sum) count(p *partition, a *arrival) {
	id := p.slots[a.slot].series.ID
	at, found := slices.BinarySearchFunc(sm.replicas, id, func(r replica, id SeriesID) int { return compareIDs(r.id, id) })
	if !found {
		if a.what == arrivalEnds || len(sm.replicas) >= maxReplicas {
			return
		}
		sm.replicas = slices.Insert(sm.replicas, at, replica{id: id, slot: a.slot})
	}
	r := &sm.replicas[at]
	r.seenAt = a.at
	switch a.what {
	case arrivalRate:
		r.ended, r.news = false, true
		r.gap, r.rateAt = a.gap, a.at
		if r.rates == 0 {
			r.gap = 0 // that may be how long it was away
		}
		r.rates = min(r.rates+1, 2)
		if a.total == 0 {
			r.rate = a.rate
		} else {
			r.rate += a.rate
			r.total += a.total
		}
	default:
		r.ended = a.what == arrivalEnds
		r.rates = 0
	}
}

// pointOf measures a point of a grid.
func (s *Shard) pointOf(p *partition, g uint32, at int64, c *cause) {
	gr := &p.groups[g]
	sm := gr.sum
	sm.bury(p, at)
	c.epoch = floorEpoch(at)
	c.quiet = sm.quiet(p)
	if gr.kind == groupShare {
		if failed, total := sm.share(); len(sm.replicas) >= minReplicas && total > 0 {
			s.scoreRatio(p, s.output(p, g, 0, roleRatio, sumRatio, at), at, failed, total, c)
		}
	} else if rate, ok := sm.gather(at); ok {
		s.scoreGauge(p, s.output(p, g, 0, roleDerived, sumRate, at), at, rate, 0, c)
	}
	c.quiet = false
	sm.follow()
}

// bury lets go of the copies that have said nothing for too long. One whose
// sender stopped has not gone: nothing is known of it, for as long as one may
// wait for a sender.
func (sm *sum) bury(p *partition, at int64) {
	sm.replicas = slices.DeleteFunc(sm.replicas, func(r replica) bool {
		age, pace := at-r.seenAt, sm.pace(&r)
		return age > replicaLife*pace && (age > senderWait || r.ended || p.sends(r.slot, r.seenAt+pace))
	})
}

// sends says whether the sender of a slot sent anything after a time.
func (p *partition) sends(i uint32, after int64) bool {
	seen := p.senders[p.slots[i].sender]
	return seen != nil && seen.at > after
}

// quiet says whether what the copies say is history.
func (sm *sum) quiet(p *partition) bool {
	return slices.ContainsFunc(sm.replicas, func(r replica) bool { return p.slots[r.slot].flags&flagQuiet != 0 })
}

// gather adds a point to those before it. It gives their mean once they hold
// enough requests, by what is usual, to speak of a rate.
func (sm *sum) gather(at int64) (rate float64, ok bool) {
	value, settled := sm.total(at)
	held, was := sm.held, sm.settled
	sm.held, sm.settled = value, settled
	if !settled || !was {
		sm.points, sm.gathered = 0, 0
		return 0, false
	}
	requests := held * float64(sm.stride()) / 1000
	if sm.usual == 0 {
		sm.usual = requests
	}
	sm.usual += usualGain * (requests - sm.usual)
	sm.points++
	sm.gathered += held
	if int64(sm.points)*sm.stride() < maxSumWait && float64(sm.points)*sm.usual < sumRequests {
		return 0, false
	}
	rate = sm.gathered / float64(sm.points)
	sm.points, sm.gathered = 0, 0
	return rate, true
}

// total is the sum of what the copies said last. It says whether that is of the
// same copies as before and as after, as far as one can tell.
func (sm *sum) total(at int64) (total float64, settled bool) {
	sure, unsure := 0, 0
	for k := range sm.replicas {
		r := &sm.replicas[k]
		late := int64(replicaLate*float64(sm.pace(r))) + replicaSlack
		if r.rates < 2 || r.ended || at-r.rateAt > late {
			unsure++
		} else {
			sure++
		}
		if r.rateAt != 0 && at-r.rateAt <= replicaLife*sm.pace(r) {
			total += r.rate
		}
	}
	return total, sure >= minReplicas && float64(unsure) <= unsureShare*float64(sure+unsure)
}

// share adds up what the copies counted since the last point. A copy that says
// nothing makes no difference to a share.
func (sm *sum) share() (failed, total float64) {
	for k := range sm.replicas {
		failed += sm.replicas[k].rate
		total += sm.replicas[k].total
	}
	return failed, total
}

// follow moves the interval towards the median time between the copies' values,
// and makes the point one of the past.
func (sm *sum) follow() {
	for k := range sm.replicas {
		r := &sm.replicas[k]
		if !r.news {
			continue
		}
		r.news = false
		switch gap := float64(r.gap); {
		case gap > sm.step:
			sm.step = min(gap, sm.step*(1+stepFollow), maxRateGap)
		case gap > 0:
			sm.step = max(gap, sm.step*(1-stepFollow), EpochMillis)
		}
		if r.total > 0 {
			r.rate, r.total = 0, 0
		}
	}
}
