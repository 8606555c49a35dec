package engine

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/models/deep"
	"github.com/homeostat/homeostat/models/lean"
	"github.com/homeostat/homeostat/models/ratio"
	"github.com/homeostat/homeostat/models/spread"
	"github.com/homeostat/homeostat/models/trend"
)

// pageSlots is the number of slots in a page, pageGroups that of groups in a
// group page. Both are part of the storage format.
const (
	pageSlots  = 64
	pageGroups = 16
)

// groupPages marks the numbers of the pages that hold groups.
const groupPages = 1 << 31

// slot is one series, received or derived.
type slot struct {
	series  *Series
	lastAt  int64   // time of the last value, ms; for a stale marker, its time
	last    float64 // the last value as received
	firstAt int64   // ms
	measure uint32  // place in measures plus 1; 0 for a series that only feeds others
	group   uint32  // place in groups plus 1; 0 for a series that feeds none
	target  uint32  // place in targets
	sender  uint32  // senderHash of who sent the last value
	role    role
	class   class
	flags   slotFlags
	sum     uint32 // place in groups plus 1 of the sum over its copies; 0 for one that is in none
	feeds   bool   // a counter of failures that is measured by its error ratio alone; not stored, the group says it
}

type slotFlags uint8

const (
	flagValue   slotFlags = 1 << iota // last holds a value that a rate may start from
	flagLive                          // counted in its target's live series
	flagSilent                        // said to be silent; a value ends it
	flagStale                         // the last thing received was a stale marker
	flagMoved                         // its threshold was moved: see partition.moved
	flagNewborn                       // measured, and not yet a member of its family
	flagWheel                         // it stands in the wheel
	flagQuiet                         // the last value came from history: its silence is no news
)

// hush notes whether the last value came from history.
func (sl *slot) hush(quiet bool) {
	if quiet {
		sl.flags |= flagQuiet
	} else {
		sl.flags &^= flagQuiet
	}
}

// measure is the state of what is scored of one slot. Its blocks live in slabs
// without pointers.
type measure struct {
	core    lean.Core
	season  uint32 // place in seasons plus 1
	trend   uint32 // place in trends plus 1
	ratio   uint32 // place in ratios plus 1; then core is not in use
	deep    uint32 // place in deeps plus 1
	limit   uint32 // place in limits plus 1
	spread  spread.Core
	openFor uint32 // the interval that open was worked out for, in seconds
	open    int16  // the configured threshold at that interval, in score units
	before  before // points since the tail kept one
	floor   uint16 // see floorOf; 0 is not asked yet
	alarm   [numChannels]alarm
}

// partition is everything of the workloads that hash to it.
type partition struct {
	number   uint8
	index    map[SeriesID]uint32
	slots    []slot
	measures []measure
	seasons  []lean.Season
	trends   []trend.Core
	ratios   []ratio.Core
	holes    []uint32     // places in measures that are free
	deepLost int          // places of the deep tier that were given up since the last tick
	deeps    []*deep.Core // few, and large
	limits   []limit      // of those that have one
	groups   []group
	sums     []uint32 // those groups that are sums, by key
	targets  []target
	byTarget map[targetKey]uint32
	byGroup  map[groupKey]uint32
	families map[uint64][]uint32 // up to maxFamily slots whose baselines may be inherited
	episodes map[episodeKey]*episode
	moved    map[uint32]*movedThreshold
	senders  map[uint32]*seenSender
	due      []uint32 // groups with something pending
	asking   []uint32 // slots that the next tick asks whether they are for the deep tier
	newborn  []uint32 // slots measured for the first time since the last close
	wheel    map[int64][]uint32
	dirty    map[uint32]struct{} // page numbers
	heard    int64               // the minute up to which the wheel has turned
	active   bool                // in Shard.active
	room     int                 // how many series may still be added before the next tick
}

// target is one copy of a workload: what was scraped.
type target struct {
	key  targetKey
	live int // series of it that are listened for and send
}

type targetKey struct {
	workload Workload
	instance string
}

func newPartition(number uint8) *partition {
	return &partition{
		number:   number,
		index:    map[SeriesID]uint32{},
		byTarget: map[targetKey]uint32{},
		byGroup:  map[groupKey]uint32{},
		families: map[uint64][]uint32{},
		episodes: map[episodeKey]*episode{},
		moved:    map[uint32]*movedThreshold{},
		senders:  map[uint32]*seenSender{},
		wheel:    map[int64][]uint32{},
		dirty:    map[uint32]struct{}{},
	}
}

// touch marks the page of a slot as changed.
func (p *partition) touch(i uint32) { p.dirty[i/pageSlots] = struct{}{} }

// touchGroup marks the page of a group as changed.
func (p *partition) touchGroup(g uint32) { p.dirty[groupPages|g/pageGroups] = struct{}{} }

// addSlot gives a series its place.
func (p *partition) addSlot(s *Series, r role, at int64) uint32 {
	i := uint32(len(p.slots))
	p.slots = append(p.slots, slot{series: s, lastAt: at, firstAt: at, role: r, class: classOf(s, r), target: p.targetFor(s)})
	p.index[s.ID] = i
	p.touch(i)
	p.enlist(i, false)
	return i
}

// targetFor is the place of a series' target.
func (p *partition) targetFor(s *Series) uint32 {
	key := targetKey{s.Workload, targetOf(s)}
	t, ok := p.byTarget[key]
	if !ok {
		t = uint32(len(p.targets))
		p.targets = append(p.targets, target{key: key})
		p.byTarget[key] = t
	}
	return t
}

// seenSender is a sender and the time of its newest sample.
type seenSender struct {
	name string
	at   int64
}

// sender is what is known of a sender.
func (p *partition) sender(hash uint32, name string) *seenSender {
	seen := p.senders[hash]
	if seen == nil {
		seen = &seenSender{name: name}
		p.senders[hash] = seen
	}
	return seen
}

// remember makes a slot a member of its family, as long as it is among the
// oldest: those have learnt most.
func (p *partition) remember(family uint64, i uint32) {
	members := p.families[family]
	at, _ := slices.BinarySearchFunc(members, i, func(a, b uint32) int {
		if d := p.slots[a].firstAt - p.slots[b].firstAt; d != 0 {
			return int(min(max(d, -1), 1))
		}
		return compareIDs(p.slots[a].series.ID, p.slots[b].series.ID)
	})
	if at >= maxFamily {
		return
	}
	members = slices.Insert(members, at, i)
	p.families[family] = members[:min(len(members), maxFamily)]
}

// addMeasure gives a slot a baseline of its own.
func (p *partition) addMeasure(i uint32) *measure {
	s := &p.slots[i]
	if n := len(p.holes); n > 0 {
		s.measure, p.holes = p.holes[n-1], p.holes[:n-1]
	} else {
		p.measures = append(p.measures, measure{})
		s.measure = uint32(len(p.measures))
	}
	m := &p.measures[s.measure-1]
	if s.role == roleRatio {
		p.ratios = append(p.ratios, ratio.Core{})
		m.ratio = uint32(len(p.ratios))
	}
	if s.role == roleGauge {
		p.trends = append(p.trends, trend.Core{})
		m.trend = uint32(len(p.trends))
	}
	p.newborn = append(p.newborn, i)
	s.flags |= flagNewborn
	return m
}

// dropMeasure takes a slot's baseline away.
func (p *partition) dropMeasure(i uint32) {
	sl := &p.slots[i]
	if sl.measure == 0 {
		return
	}
	m := &p.measures[sl.measure-1]
	if m.deep != 0 {
		p.deeps[m.deep-1] = nil
		p.deepLost++
	}
	*m = measure{}
	p.holes = append(p.holes, sl.measure)
	sl.measure = 0
	p.touch(i)
}

// measureOf is a slot's measure, made on first use.
func (p *partition) measureOf(i uint32) *measure {
	if m := p.slots[i].measure; m != 0 {
		return &p.measures[m-1]
	}
	return p.addMeasure(i)
}

// season is a measure's seasonal block, or nil.
func (p *partition) season(m *measure) *lean.Season {
	if m.season == 0 {
		return nil
	}
	return &p.seasons[m.season-1]
}

// lookup finds or makes the slot of a received series. The reason is not
// ReasonNone when there can be none.
func (p *partition) lookup(e *Engine, s *Series, at int64) (uint32, Reason) {
	i, ok := p.index[s.ID]
	if !ok {
		if e.ownOutput(s) {
			return 0, ReasonOwnOutput
		}
		if p.room <= 0 {
			return 0, ReasonSeriesLimit
		}
		p.room--
		i = p.addSlot(s, roleOf(s), at-1)
		p.join(i)
		return i, ReasonNone
	}
	sl := &p.slots[i]
	if sl.series == s {
		return i, ReasonNone
	}
	if !labels.Equal(sl.series.Labels, s.Labels) {
		return 0, ReasonCollision
	}
	p.adopt(i, s)
	return i, ReasonNone
}

// adopt takes another description of the same series: the one held already,
// when nothing new is said, and otherwise the new type, from which the role
// follows. A gauge that turns out to be a counter starts anew.
func (p *partition) adopt(i uint32, s *Series) {
	sl := &p.slots[i]
	was := sl.role
	if s.Type == TypeUnknown || s.Type == sl.series.Type {
		sl.series = s.withType(sl.series.Type)
		return
	}
	sl.series = s
	sl.role = roleOf(s)
	sl.class = classOf(s, sl.role)
	if was == sl.role {
		return
	}
	p.relisten(i, was)
	sl.flags &^= flagValue
	sl.feeds, sl.sum = false, 0
	p.enlist(i, false)
	if sl.measure != 0 {
		m := &p.measures[sl.measure-1]
		*m = measure{season: m.season, trend: m.trend, deep: m.deep, limit: m.limit}
		if m.limit != 0 {
			p.limits[m.limit-1] = limit{}
		}
		if m.deep != 0 {
			p.deeps[m.deep-1] = newDeep(s.ID)
		}
		if m.season != 0 {
			p.seasons[m.season-1] = lean.Season{}
		}
		if m.trend != 0 {
			p.trends[m.trend-1] = trend.Core{}
		}
	}
	p.join(i)
	p.bindLimit(i)
}

// withType is the series with a type known from before, when it says none
// itself.
func (s *Series) withType(t Type) *Series {
	if s.Type == t {
		return s
	}
	c := *s
	c.Type = t
	return &c
}
