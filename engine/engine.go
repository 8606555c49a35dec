package engine

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/lean"
	"github.com/homeostat/homeostat/models/ratio"
	"github.com/homeostat/homeostat/models/spread"
	"github.com/homeostat/homeostat/models/trend"
)

// MaxShards bounds the number of shards: one partition each.
const MaxShards = Partitions

// Engine is the whole state: shards that own partitions, and what crosses
// series. It is not safe for concurrent use, but for Step and Close of
// different shards.
type Engine struct {
	cfg    Config
	model  *lean.Model
	shares *ratio.Model
	slopes *trend.Model
	shards []*Shard
	settle settle

	// The configuration's durations in milliseconds.
	grace, maxAhead, updateEvery, silentAfter, incidentGap, watchFor int64

	slowOpen   models.Score
	spreadOpen models.Score
	limitOpen  models.Score
	loaded     bool // no tick came since the state was loaded
	redone     bool // records were redone: the pages are older than the log
	series     int  // received, as of the last settle
	measured   int

	deeps       int  // series that the deep tier looks at
	deepRefused int  // those that match and found no room
	deepLoaded  bool // pages were loaded, and nobody has looked who of them keeps the deep tier
}

// New makes an engine with an empty state. shards is from 1 to MaxShards and
// changes no result.
func New(cfg Config, shards int) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	if shards < 1 || shards > MaxShards {
		return nil, fmt.Errorf("engine: shards %d: want 1 to %d", shards, MaxShards)
	}
	cfg = cfg.withDefaults()
	model, err := lean.New(lean.Config{Zone: cfg.Zone})
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	ms := func(d time.Duration) int64 { return d.Milliseconds() }
	e := &Engine{
		cfg: cfg, model: model, shares: ratio.New(ratio.Config{}), slopes: trend.New(trend.Config{Zone: cfg.Zone}),
		settle: newSettle(),
		grace:  ms(cfg.Grace), maxAhead: ms(cfg.MaxAhead), updateEvery: ms(cfg.UpdateEvery),
		silentAfter: ms(cfg.SilentAfter), incidentGap: ms(cfg.IncidentGap), watchFor: ms(cfg.WatchFor),
	}
	e.slowOpen, e.limitOpen = slowOpen(cfg.FalseAlarmDays), rarer(models.ScoreOf(nearScore), cfg.FalseAlarmDays)
	e.spreadOpen = rarer(spread.OpenAt, cfg.FalseAlarmDays)
	for i := range shards {
		s := &Shard{engine: e, index: i}
		for number := i; number < Partitions; number += shards {
			p := newPartition(uint8(number))
			p.room = cfg.MaxSeries
			s.parts = append(s.parts, p)
		}
		e.shards = append(e.shards, s)
	}
	return e, nil
}

// Shards are the shards, in order. Partition p belongs to shard p mod n.
func (e *Engine) Shards() []*Shard { return e.shards }

// Naming is how this engine finds workloads; whoever makes series uses it.
func (e *Engine) Naming() Naming { return e.cfg.Naming }

// Open reports the open epoch's start and the last tick's time, in
// milliseconds; both are 0 before the first tick.
func (e *Engine) Open() (epoch, tick int64) { return e.settle.open, e.settle.tick }

// Size reports how many series are received and derived, and how many
// measurements are kept, as of the last tick.
func (e *Engine) Size() (series, measurements int) { return e.series, e.measured }

// Grace is how long after its end an epoch stays open.
func (e *Engine) Grace() time.Duration { return e.cfg.Grace }

func (e *Engine) shardOf(number uint8) *Shard { return e.shards[int(number)%len(e.shards)] }

func (e *Engine) partition(number uint8) *partition { return e.shardOf(number).own(number) }

// countSeries counts what there is, and says how many series each partition may
// add before the next tick. The bound is over all partitions together, yet
// between two ticks each looks only at itself: which series are refused must
// not depend on how many shards there are.
func (e *Engine) countSeries() {
	series := 0
	e.measured = 0
	for _, s := range e.shards {
		for _, p := range s.active {
			series += len(p.index)
			e.measured += len(p.measures) - len(p.holes)
		}
	}
	if series == e.series && e.settle.open != 0 {
		return
	}
	e.series = series
	room := max(0, e.cfg.MaxSeries-e.series)
	for _, s := range e.shards {
		for _, p := range s.parts {
			p.room = room
		}
	}
}

// ownOutput says whether a series is one that homeostat itself made.
func (e *Engine) ownOutput(s *Series) bool {
	return strings.HasPrefix(s.Labels.Get(labels.MetricName), e.cfg.OwnPrefix)
}

// Baseline is what is normal for one measurement at a time, for people.
type Baseline struct {
	Series       *Series
	At           int64 // of the last point, ms
	Value        float64
	Expected     float64 // for the next point
	Lower, Upper float64 // quiet within; both 0 when nothing is yet
	Ignored      float64 // a deviation smaller than this never alarms; 0 without a floor
	Threshold    Threshold
	Points       uint64 // learnt so far
	Warm         bool
	Season       bool  // a seasonal block is in use
	Alarm        bool  // an episode is open
	IntervalMS   int64 // estimated, ms
	Bytes        int   // of the record
	Deep         int   // points that the deep tier learnt; 0 where it does not look
}

// Baseline looks a measurement up.
func (e *Engine) Baseline(id SeriesID) (Baseline, bool) {
	for _, s := range e.shards {
		for _, p := range s.parts {
			if i, ok := p.index[id]; ok && p.slots[i].measure != 0 {
				return s.baseline(p, i), true
			}
		}
	}
	return Baseline{}, false
}

// Place is a place in the list of all series: those from there on are listed.
// A series keeps its place while the engine lives.
type Place uint64

// Baselines lists the measurements from a place on, in an order that does not
// depend on the number of shards, until it has looked at scan series or found
// most that are wanted. after are the places to go on from behind each, next the
// one to go on from behind all that was looked at; ok is false at the end.
func (e *Engine) Baselines(from Place, scan, most int, want func(*Series) bool) (found []Baseline, after []Place, next Place, ok bool) {
	slot := uint32(from)
	for number := uint64(from) >> 32; number < Partitions; number, slot = number+1, 0 {
		s := e.shardOf(uint8(number))
		p := s.own(uint8(number))
		for ; int(slot) < len(p.slots); slot++ {
			if scan == 0 || len(found) == most {
				return found, after, Place(number<<32 | uint64(slot)), true
			}
			scan--
			if p.slots[slot].measure != 0 && want(p.slots[slot].series) {
				found = append(found, s.baseline(p, slot))
				after = append(after, Place(number<<32|uint64(slot+1)))
			}
		}
	}
	return found, after, 0, false
}

func (s *Shard) baseline(p *partition, i uint32) Baseline {
	sl := &p.slots[i]
	m := &p.measures[sl.measure-1]
	b := Baseline{Series: sl.series, At: sl.lastAt, Value: sl.last, Season: m.season != 0, Alarm: m.alarm[channelMain].Open}
	x := point{part: p, slot: i, at: math.MaxInt64} // the threshold for the next point
	in := s.thresholds(&x, m)
	open := in.open
	b.Threshold = s.standing(&x, in)
	floor := s.floorOf(p, i, m)
	if m.ratio != 0 {
		core := &p.ratios[m.ratio-1]
		b.Points, b.IntervalMS, b.Expected = core.Points(), int64(core.Interval()*1000), core.Mean()
		x.pooled = 100
		var r models.Reading
		s.engine.shares.Score(core, sl.lastAt, 0, x.pooled, &r)
		b.Warm = r.Warm
		b.Lower, b.Upper = s.engine.shares.Bounds(core, sl.lastAt, x.pooled, open)
		b.Lower, b.Upper, _ = floor.widen(b.Lower, b.Upper, b.Expected, true)
	} else {
		b.Points, b.IntervalMS = uint64(m.core.Points()), int64(m.core.Step())
		at, v := m.core.Last()
		next := at + int64(max(1, m.core.Step()))
		var r models.Reading
		s.engine.model.Score(&m.core, p.season(m), next, v, &r)
		b.Value, b.Expected, b.Warm = v, r.Expected, r.Warm
		lower, upper, ok := s.quiet(p, i, next, sl.unitOf(m.core.Step()/1000), open)
		b.Lower, b.Upper, _ = floor.widen(lower, upper, b.Expected, ok)
	}
	b.Ignored = floor.size(b.Expected)
	b.Bytes = len(p.appendSlot(nil, i))
	if m.deep != 0 {
		b.Deep = p.deeps[m.deep-1].Points()
	}
	return b
}

// DirtyPages lists the pages changed since they were last appended, in order of
// partition and number.
func (e *Engine) DirtyPages() []PageID {
	var ids []PageID
	for number := range Partitions {
		p := e.partition(uint8(number))
		from := len(ids)
		for n := range p.dirty {
			ids = append(ids, PageID{Partition: p.number, Number: n})
		}
		slices.SortFunc(ids[from:], func(a, b PageID) int { return int(int64(a.Number) - int64(b.Number)) })
	}
	return ids
}

// Reset empties fx and keeps its room.
func (fx *Effects) Reset() {
	clear(fx.Records)
	fx.Records = fx.Records[:0]
	fx.Actions = fx.Actions[:0]
	fx.Receipts = fx.Receipts[:0]
	clear(fx.Scored)
	fx.Scored = fx.Scored[:0]
	clear(fx.Tail)
	fx.Tail = fx.Tail[:0]
	fx.marks = fx.marks[:0]
	fx.hushes = fx.hushes[:0]
}
