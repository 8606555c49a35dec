package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/ewma"
)

// Saturation: a measurement that is at its limit, where that is known, and is not
// usually there. The score is how rare it is for the series to be so near,
//
//	−log10 of the share of its time that it spent there,
//
// once it has stayed there for long enough. Many live at their limit, such as a
// heap whose collector waits until it is full; of those nothing is said. A
// channel of its own has the advantage that it also finds what comes to its limit
// too slowly for the baseline to find a step. Limits are read once a minute, at
// the close of an epoch, so that it does not matter in which order a limit and
// what is limited by it come in.

const (
	nearShare    = 0.9               // of its limit, from which on a measurement is at it,
	leaveShare   = 0.85              // and under which it is there no more
	nearMillis   = 5 * minuteMillis  // how long it must have been there
	nearPoints   = 3                 // and for how many points
	nearScore    = 2.0               // its threshold: there for less than a hundredth of its time
	nearHalfLife = 3 * dayMillis     // of that share
	nearLearn    = 0.1               // how much of an anomaly's time counts for what is usual
	nearLeast    = 50                // points, before which nothing is usual
	limitForgot  = 60 * minuteMillis // after which a limit that is not sent any more holds no more
	limitNone    = 1e17              // from which on a limit means that there is none
)

// limit is what is known of a measurement and its limit. It holds no pointer.
type limit struct {
	slot    uint32  // of the limit's series plus 1; 0 when it has to be found again
	period  uint32  // of the series to divide it by plus 1; 0 for none
	value   float64 // of the limit, as of the last minute; 0 when there is none
	since   int64   // when it came near, ms; 0 when it is not
	share   float32 // of its time that it was near
	points  uint32  // that share is of, saturating
	waiting uint16  // points near that share does not know of yet
	run     uint16  // points since it came near, saturating
}

// bindLimit finds the limit of a measured slot, or what the slot limits.
func (p *partition) bindLimit(i uint32) {
	series, name := p.slots[i].series, p.slots[i].series.Labels.Get(labels.MetricName)
	if name == cpuPeriod {
		quota, ok := p.sibling(labels.NewBuilder(series.Labels), cpuQuota)
		if !ok {
			return
		}
		i, series, name = quota, p.slots[quota].series, cpuQuota
	}
	for _, use := range useNames(name) {
		b := labels.NewBuilder(series.Labels)
		if name == cpuQuota {
			b.Set(cpuLabel, "total")
		}
		if j, ok := p.sibling(b, use); ok && p.slots[j].measure != 0 {
			p.limitBy(j, i)
		}
	}
	if r := p.slots[i].role; p.slots[i].measure == 0 || r != roleGauge && (r != roleCounter || knownLimits[name] == "") {
		return
	}
	for _, limit := range limitNames(name) {
		b := labels.NewBuilder(series.Labels)
		if limit == cpuQuota {
			b.Del(cpuLabel)
		}
		if j, ok := p.sibling(b, limit); ok {
			p.limitBy(i, j)
			return
		}
	}
}

// limitBy says that slot j limits slot i, which is measured.
func (p *partition) limitBy(i, j uint32) {
	period := uint32(0)
	if s := p.slots[j].series; s.Labels.Get(labels.MetricName) == cpuQuota {
		k, ok := p.sibling(labels.NewBuilder(s.Labels), cpuPeriod)
		if !ok {
			return // it comes later, and binds them then
		}
		period = k + 1
	}
	m := &p.measures[p.slots[i].measure-1]
	if m.limit == 0 {
		p.limits = append(p.limits, limit{})
		m.limit = uint32(len(p.limits))
		p.inheritLimit(i)
	}
	l := &p.limits[m.limit-1]
	l.slot, l.period = j+1, period
	l.value = p.limitValue(l)
	p.touch(i)
}

// inheritLimit gives a series what is usual for the most experienced of its
// family: where all pods of a workload live at their limit, so will a new one.
func (p *partition) inheritLimit(i uint32) {
	own := &p.limits[p.measures[p.slots[i].measure-1].limit-1]
	for _, j := range p.families[familyOf(p.slots[i].series)] {
		m := p.slots[j].measure
		if j == i || m == 0 || p.measures[m-1].limit == 0 {
			continue
		}
		if other := &p.limits[p.measures[m-1].limit-1]; other.points > own.points {
			own.share, own.points = other.share, other.points
		}
	}
}

// limitValue is a limit as it stands; 0 when there is none.
func (p *partition) limitValue(l *limit) float64 {
	v := p.lastOf(l.slot)
	if l.period != 0 {
		v /= p.lastOf(l.period)
	}
	if !(v > 0 && v < limitNone) {
		return 0
	}
	return v
}

// lastOf is the last value of a slot plus 1, NaN when it has none that holds.
func (p *partition) lastOf(slot uint32) float64 {
	if slot == 0 || int(slot) > len(p.slots) {
		return math.NaN()
	}
	sl := &p.slots[slot-1]
	if sl.series == nil || sl.flags&flagValue == 0 || p.heard*minuteMillis-sl.lastAt > limitForgot {
		return math.NaN()
	}
	return sl.last
}

// readLimits takes the limits over as they stand.
func (p *partition) readLimits() {
	for k := range p.limits {
		l := &p.limits[k]
		l.value = p.limitValue(l)
	}
}

// scoreLimit looks how near a value is to its limit, and learns it.
func (s *Shard) scoreLimit(p *partition, i uint32, at int64, v float64, c *cause) {
	m := p.measureOf(i)
	l := &p.limits[m.limit-1]
	a := &m.alarm[channelLimit]
	level := m.core.Level()
	s.reading = models.Reading{
		NumParts: 1, Warm: l.points >= nearLeast, Expected: level, Residual: v - level,
		Scale: max(s.reading.Scale, math.SmallestNonzeroFloat64), // of the baseline, which looked before
	}
	if l.near(v, a.Open) {
		l.enter(at)
	} else {
		l.leave()
	}
	if s.reading.Warm && (l.stays(at) || a.Open && l.since != 0) {
		s.reading.Score = l.rarity()
		s.reading.Parts[0] = s.reading.Score
	}
	x := point{part: p, slot: i, channel: channelLimit, at: at, value: v, reading: &s.reading}
	ep := p.episodes[episodeKey{i, channelMain}]
	told := ep != nil && ep.Open && ep.Kind == KindSaturation
	if a.Open || !told { // what the baseline's anomaly says already is not said twice
		s.compare(&x, m, c)
	}
	l.learn(at, m.core.Step(), a.Open || told)
}

// near says whether a value is at the limit, or still there: while it has not left
// it, or an anomaly says so.
func (l *limit) near(v float64, open bool) bool {
	share := nearShare
	if l.since != 0 || open {
		share = leaveShare
	}
	return l.value > 0 && v >= share*l.value
}

// enter counts a point near the limit, leave ends a stay there.
func (l *limit) enter(at int64) {
	if l.since == 0 {
		l.since, l.run = max(at, 1), 0
	}
	if l.run < math.MaxUint16 {
		l.run++
	}
}

func (l *limit) leave() { l.since, l.run = 0, 0 }

// stays says that it has been near for long enough to speak of it.
func (l *limit) stays(at int64) bool {
	return l.since != 0 && l.run >= nearPoints && at-l.since >= nearMillis
}

// rarity is −log10 of the share of time near the limit, with half a point for a
// prior.
func (l *limit) rarity() models.Score {
	n := float64(l.points)
	return models.ScoreOf(-math.Log10((float64(l.share)*n + 0.5) / (n + 1)))
}

// learn takes a point in. The first minutes near the limit wait until it is plain
// that they stay, so that they do not excuse themselves.
func (l *limit) learn(at int64, step float64, open bool) {
	weight := 1.0
	if open {
		weight = nearLearn
	}
	if l.since != 0 {
		l.waiting = min(l.waiting, math.MaxUint16-1) + 1
		if !open && !l.stays(at) {
			return
		}
	}
	for ; l.waiting > 0; l.waiting-- {
		l.take(1, step, weight)
	}
	if l.since == 0 {
		l.take(0, step, 1)
	}
}

func (l *limit) take(near, step, weight float64) {
	if l.points < math.MaxUint32 {
		l.points++
	}
	gain := weight * max(1/float64(l.points), ewma.Gain(min(step/nearHalfLife, 1)))
	l.share += float32(gain * (near - float64(l.share)))
}

// atLimit says that a value is at the limit of its measurement, and that it is
// seldom there.
func (p *partition) atLimit(m *measure, v float64) bool {
	return m.limit != 0 && p.limits[m.limit-1].near(v, false) && p.limits[m.limit-1].rarity().Float() >= nearScore
}

// limit is the limit of a measurement that leaks or is saturated, and when a leak
// will be there, ms. Both are 0 when there is nothing to say.
func (x *point) limit(a *Anomaly) (value float64, at int64) {
	m := x.part.measureOf(x.slot)
	if m.limit == 0 || a.Kind != KindLeak && a.Kind != KindSaturation {
		return 0, 0
	}
	value = x.part.limits[m.limit-1].value
	if a.Kind != KindLeak || value == 0 || x.slope <= 0 {
		return value, 0
	}
	level := x.reading.Expected + x.slope*float64(x.at-x.since)/hourMillis
	left := max(0, (value-level)/x.slope) * hourMillis
	if left > farthestMillis {
		return value, 0
	}
	return value, x.at + int64(left)
}

// farthestMillis is how far ahead a leak is thought to reach its limit.
const farthestMillis = 365 * dayMillis

// limitText says how near to its limit a value is, and how usual that is.
func (s *Shard) limitText(x *point, m *measure) string {
	l := &x.part.limits[m.limit-1]
	u := unitOf(x.part.slots[x.slot].series)
	text := fmt.Sprintf("at %s of its limit of %s", inShares.plain(x.value/l.value), u.plain(l.value))
	if x.channel != channelLimit {
		return text
	}
	if l.since != 0 {
		text += " since " + s.engine.clock(l.since)
	}
	return text + fmt.Sprintf("; usually it is there %s of the time", inShares.plain(float64(l.share)))
}

// quietLimit says at which value a measurement would not have been at its limit.
func (s *Shard) quietLimit(x *point, m *measure) Counterfactual {
	l := &x.part.limits[m.limit-1]
	u := unitOf(x.part.slots[x.slot].series)
	opens := func(v float64) bool { return l.near(v, false) }
	st := u.state(edgeOf(0, x.value, opens), x.value, false, opens)
	_, was := u.both(st.value, x.value)
	text := fmt.Sprintf("quiet if ≤ %s, under %s of its limit (was %s), or if it had lasted < %d min", st.text, inShares.plain(leaveShare), was, nearMillis/minuteMillis)
	return Counterfactual{text, st.value, true}
}

// append appends the record of what was learnt; the series of the limit is found
// anew.
func (l *limit) append(b []byte) []byte {
	b = binary.AppendVarint(b, l.since)
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(l.share))
	for _, n := range []uint64{uint64(l.points), uint64(l.waiting), uint64(l.run)} {
		b = binary.AppendUvarint(b, n)
	}
	return appendFloat(b, l.value)
}

func (p *partition) appendLimit(m *measure) func([]byte) []byte {
	if m.limit == 0 {
		return nil
	}
	return p.limits[m.limit-1].append
}

func (l *loadedSlot) readLimit(r reader) (err error) {
	l.limit, err = r.limit()
	return err
}

var errLimit = errors.New("a limit that is none")

func (r *reader) limit() (*limit, error) {
	l := &limit{since: r.varint()}
	if share := r.take(4); share != nil {
		l.share = math.Float32frombits(binary.LittleEndian.Uint32(share))
	}
	l.points, l.waiting, l.run = uint32(r.uvarint()), uint16(r.uvarint()), uint16(r.uvarint())
	l.value = r.float()
	if r.bad || !(l.share >= 0 && l.share <= 1) || !plausible([]int64{l.since}) || !(l.value >= 0 && l.value < limitNone) {
		return nil, errLimit
	}
	return l, nil
}
