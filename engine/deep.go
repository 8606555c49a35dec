package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/deep"
)

// Deep says which measurements the deep tier looks at too: a channel of its own,
// for values and courses that a series never showed before. The baseline's alarms
// are the same with it and without.
type Deep struct {
	// Match says whether a series, received or derived, is one that matters. It
	// is asked once, when the series is first measured, and again after a
	// restart. Nil matches none. It must be a function of the labels alone.
	Match func(labels.Labels) bool
	// MaxBytes bounds the state of all series together; deep.Bytes each. A series
	// that finds no room is refused and counted. Default 64 MiB.
	MaxBytes int
}

const defaultDeepBytes = 64 << 20

// deepRarer is how many times rarer than the baseline's the deep tier's false
// alarms are to be: it is asked about series that have an alarm already, and what
// it finds is less plain to see.
const deepRarer = 4

// deepClose is the deep channel's closing threshold, just under what news that is
// held counts for: half of the opening one would lie among ordinary scores, for
// the deep tier's do not begin at nothing.
const deepClose = 2.5 * models.ScoreUnit

func (d Deep) validate() error {
	if d.MaxBytes < 0 {
		return fmt.Errorf("deep.max_bytes %d: want 0 or more", d.MaxBytes)
	}
	if d.MaxBytes > 0 && d.MaxBytes < deep.Bytes {
		return fmt.Errorf("deep.max_bytes %d: one series takes %d", d.MaxBytes, deep.Bytes)
	}
	return nil
}

// DeepSize reports how many series the deep tier looks at, how many match and
// found no room, and the bytes of the former, as of the last tick.
func (e *Engine) DeepSize() (series, refused, bytes int) {
	return e.deeps, e.deepRefused, e.deeps * deep.Bytes
}

// scoreDeep lets the deep tier look at a value and learn it.
func (s *Shard) scoreDeep(p *partition, i uint32, at int64, v float64, c *cause) {
	m := p.measureOf(i)
	if m.deep == 0 {
		if m.alarm[channelDeep].Open && !c.quiet {
			s.leaveDeep(p, i, m, at, c)
		}
		return
	}
	core, r := p.deeps[m.deep-1], &s.reading
	core.Score(at, v, r)
	if core.Points() == 0 || at-core.Born() < dayMillis {
		r.Score, r.Warm = 0, false // on its first day everything is new
	}
	x := point{part: p, slot: i, channel: channelDeep, at: at, value: v, reading: r}
	s.compare(&x, m, c)
	core.Learn(at, v, r, 1)
}

// leaveDeep ends an episode of a series that the deep tier looks at no more.
func (s *Shard) leaveDeep(p *partition, i uint32, m *measure, at int64, c *cause) {
	m.alarm[channelDeep] = alarm{}
	ep := p.episodes[episodeKey{i, channelDeep}]
	if ep == nil || !ep.Open || at <= ep.EventAt {
		return
	}
	ep.Open = false
	s.state(p, i, ep, Closed, at, c, Factor{Name: "tier", Text: "the deep tier looks at this series no more, so nobody can say that it recovered"})
}

// candidate is a series that asks for the deep tier.
type candidate struct {
	part  *partition
	slot  uint32
	epoch int64
	id    SeriesID
}

func (a candidate) compare(b candidate) int {
	if a.epoch != b.epoch {
		if a.epoch < b.epoch {
			return -1
		}
		return 1
	}
	return compareIDs(a.id, b.id)
}

// admitDeep gives the series that were first measured in epochs now closed the
// deep tier, if they match and there is room: in the order in which they came,
// and within an epoch in that of their IDs, so that it is the same whatever the
// shards and the ticks. Nobody who has a place loses it to one who comes later.
func (e *Engine) admitDeep() {
	if e.deepLoaded {
		e.deepLoaded = false
		e.expelDeep()
	}
	var asking []candidate
	for _, s := range e.shards {
		for _, p := range s.active {
			e.deeps -= p.deepLost
			p.deepLost = 0
			for _, i := range p.asking {
				if e.matchesDeep(p, i) && p.measures[p.slots[i].measure-1].deep == 0 {
					asking = append(asking, candidate{p, i, floorEpoch(p.slots[i].firstAt), p.slots[i].series.ID})
				}
			}
			p.asking = p.asking[:0]
		}
	}
	slices.SortFunc(asking, candidate.compare)
	for _, a := range asking {
		if (e.deeps+1)*deep.Bytes > e.cfg.Deep.MaxBytes {
			e.deepRefused++
			continue
		}
		e.deeps++
		a.part.addDeep(a.slot)
		a.part.touch(a.slot)
	}
}

// expelDeep takes the deep tier from the loaded series that match no more, or
// have no room any more, and counts those that keep it. Who is refused is counted
// when the next tick asks them all.
func (e *Engine) expelDeep() {
	var have []candidate
	e.deeps, e.deepRefused = 0, 0
	for _, s := range e.shards {
		for _, p := range s.active {
			for i := range p.slots {
				if m := p.slots[i].measure; m != 0 && p.measures[m-1].deep != 0 {
					have = append(have, candidate{p, uint32(i), floorEpoch(p.slots[i].firstAt), p.slots[i].series.ID})
				}
			}
		}
	}
	slices.SortFunc(have, candidate.compare)
	for _, h := range have {
		m := &h.part.measures[h.part.slots[h.slot].measure-1]
		if e.matchesDeep(h.part, h.slot) && (e.deeps+1)*deep.Bytes <= e.cfg.Deep.MaxBytes {
			e.deeps++
			continue
		}
		h.part.deeps[m.deep-1], m.deep = nil, 0
		h.part.touch(h.slot)
	}
}

// matchesDeep says whether a slot's measurement is one for the deep tier. What is
// a ratio has its counts, which say more than its course.
func (e *Engine) matchesDeep(p *partition, i uint32) bool {
	sl := &p.slots[i]
	return e.cfg.Deep.Match != nil && sl.measure != 0 && sl.role != roleRatio && e.cfg.Deep.Match(sl.series.Labels)
}

// addDeep gives a measured slot the deep tier's state.
func (p *partition) addDeep(i uint32) *deep.Core {
	core := newDeep(p.slots[i].series.ID)
	p.deeps = append(p.deeps, core)
	p.measures[p.slots[i].measure-1].deep = uint32(len(p.deeps))
	return core
}

func newDeep(id SeriesID) *deep.Core { return &deep.Core{Seed: uint64(id)} }

// deepOpen is the deep channel's threshold, given the baseline's as configured.
func deepOpen(configured models.Score) models.Score {
	return min(models.MaxScore, configured+models.ScoreOf(math.Log10(deepRarer)))
}

// appendDeep appends the state that the deep tier keeps of a slot.
func (p *partition) appendDeep(m *measure) func([]byte) []byte {
	if m.deep == 0 {
		return nil
	}
	return func(b []byte) []byte { return mustAppend(p.deeps[m.deep-1].AppendBinary(b)) }
}

// readDeep reads it.
func (l *loadedSlot) readDeep(r reader) error {
	l.deep = &deep.Core{}
	return l.deep.UnmarshalBinary(r.b)
}
