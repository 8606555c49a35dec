package engine

import (
	"slices"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/lean"
)

// Silence. Each measured series that is received stands in a wheel at the
// minute by which it must have sent again. What is silent then is judged a
// minute later, together with everything else that fell silent: a sender or a
// target that stopped is one data fault, and only a series whose companions
// still send is silent itself.

const (
	minuteMillis   = 60 * 1000
	silenceJudged  = minuteMillis        // how long after it was noticed a silence is judged
	silenceLife    = 60 * minuteMillis   // how long a series must have lived before its silence means something
	silencePoints  = 20                  // and how many of its points must have come
	silenceEnds    = 24 * 60             // minutes after which a silence is no news any more
	silenceLooks   = 5                   // minutes after which a silent series is looked at again
	maxFamily      = 32                  // members of a family that are remembered
	silentEpisode  = uint8(channelQuiet) // the channel of silence in episode keys
	missedInterval = 3                   // intervals that must be missed
)

// hush is a series that fell silent.
type hush struct {
	Partition uint8
	Slot      uint32
	Series    SeriesID
	LastAt    int64
	JudgeAt   int64 // epoch at which it is judged
}

// wake notes that a series sends: it counts as live, and a silence of it ends.
func (s *Shard) wake(p *partition, i uint32, at int64, v float64, c *cause) {
	sl := &p.slots[i]
	if sl.flags&(flagLive|flagSilent|flagStale) == flagLive {
		return
	}
	if sl.flags&flagLive == 0 {
		if sl.flags&flagStale != 0 {
			sl.flags &^= flagValue // a series that ended and begins again has no value to take a rate from
		}
		sl.flags |= flagLive
		sl.flags &^= flagStale
		p.count(i, 1)
		p.watch(i, at, s.engine.silentAfter)
	}
	if sl.flags&flagSilent != 0 {
		sl.flags &^= flagSilent
		s.endSilence(p, i, at, v, c, "it sends again")
	}
}

// end takes a stale marker in.
func (p *partition) end(i uint32, at int64, v float64) {
	sl := &p.slots[i]
	sl.lastAt, sl.last = at, v
	sl.flags &^= flagValue
	if sl.flags&flagLive != 0 {
		sl.flags &^= flagLive
		sl.flags |= flagStale
		p.count(i, -1)
	}
}

// heard says whether the silence of a series with this role is listened for. A
// bucket or a sum falls silent with the count beside it, and what is derived
// with what it is derived from: they say nothing of their own.
func (r role) heard() bool { return r == roleGauge || r == roleCounter || r == roleNative }

// count adds a series to those of its target that send, or takes it away. Only
// those are counted that are listened for: of the others nobody would notice
// that they stopped, and their target would seem to live for ever.
func (p *partition) count(i uint32, by int) {
	if sl := &p.slots[i]; sl.role.heard() {
		p.targets[sl.target].live += by
	}
}

// relisten brings the count of those that send into line with a role that
// changed while the series sends.
func (p *partition) relisten(i uint32, was role) {
	sl := &p.slots[i]
	if sl.flags&flagLive == 0 || was.heard() == sl.role.heard() {
		return
	}
	// Without its flag the next value wakes it, as one that was never heard.
	sl.flags &^= flagLive
	if was.heard() {
		p.targets[sl.target].live--
	}
}

// watch puts a received series into the wheel.
func (p *partition) watch(i uint32, at, after int64) {
	if p.slots[i].role.heard() {
		p.stand(i, (at+p.patience(i, after)+minuteMillis-1)/minuteMillis)
	}
}

// stand puts a slot into the wheel at a minute; it stands there once.
func (p *partition) stand(i uint32, minute int64) {
	if p.slots[i].flags&flagWheel != 0 {
		return
	}
	p.slots[i].flags |= flagWheel
	p.wheel[minute] = append(p.wheel[minute], i)
}

// rewatch puts a loaded slot back to where it stood in the wheel.
func (p *partition) rewatch(i uint32, after int64) {
	if ep := p.episodes[episodeKey{i, silentEpisode}]; p.slots[i].flags&flagSilent != 0 && ep != nil {
		p.stand(i, ep.OpenedAt/minuteMillis+silenceLooks)
		return
	}
	p.watch(i, p.slots[i].lastAt, after)
}

// patience is how long a series may send nothing, in milliseconds.
func (p *partition) patience(i uint32, after int64) int64 {
	if m := p.slots[i].measure; m != 0 {
		return max(after, int64(missedInterval*p.measures[m-1].core.Step()))
	}
	return after
}

// listen finds the series that should have sent by now.
func (s *Shard) listen(p *partition, open, deaf int64, c *cause) {
	now := open / minuteMillis
	if now <= p.heard {
		return
	}
	p.heard = now
	p.readLimits()
	var minutes []int64
	for m := range p.wheel {
		if m <= now {
			minutes = append(minutes, m)
		}
	}
	slices.Sort(minutes)
	for _, m := range minutes {
		waiting := p.wheel[m]
		delete(p.wheel, m)
		slices.SortFunc(waiting, func(a, b uint32) int { return compareIDs(p.slots[a].series.ID, p.slots[b].series.ID) })
		for _, i := range waiting {
			s.hear(p, i, m*minuteMillis, deaf, c)
		}
	}
}

// deafGap is the longest time between two ticks that is no absence of homeostat
// itself, in milliseconds.
const deafGap = minuteMillis

// deafUntil is the time before which nobody counts as silent. After a restart
// the newest values known may be as old as the last sweep, and what came during
// the absence was not heard at all.
func (e *Engine) deafUntil(t Tick) int64 {
	if e.loaded && (e.redone || t.Now-e.settle.tick > deafGap) {
		return t.Now
	}
	return e.settle.deaf
}

// hear looks at one series whose minute has come.
func (s *Shard) hear(p *partition, i uint32, now, deaf int64, c *cause) {
	sl := &p.slots[i]
	c.epoch = floorEpoch(now)
	sl.flags &^= flagWheel
	if ep := p.episodes[episodeKey{i, silentEpisode}]; sl.flags&flagSilent != 0 && ep != nil {
		if now >= ep.OpenedAt+silenceEnds*minuteMillis {
			sl.flags &^= flagSilent
			s.endSilence(p, i, now, sl.last, c, "it was silent for a day and counts as gone")
			return
		}
		minute := now / minuteMillis
		looks := max(0, (p.heard-minute)/silenceLooks+1)
		p.stand(i, minute+looks*silenceLooks)
		return
	}
	patience := p.patience(i, s.engine.silentAfter)
	if heard := max(sl.lastAt, deaf); heard+patience > now {
		p.watch(i, heard, s.engine.silentAfter)
		return
	}
	if sl.flags&flagLive != 0 {
		sl.flags &^= flagLive
		p.count(i, -1)
	}
	p.touch(i)
	if sl.flags&flagQuiet != 0 {
		return // it was gone before homeostat came
	}
	s.closeUnheard(p, i, now, c)
	c.fx.hushes = append(c.fx.hushes, hush{
		Partition: p.number, Slot: i, Series: sl.series.ID, LastAt: sl.lastAt, JudgeAt: floorEpoch(now) + silenceJudged,
	})
}

// closeUnheard ends the episodes of a series that sends no more: nobody can say
// that it recovered.
func (s *Shard) closeUnheard(p *partition, i uint32, now int64, c *cause) {
	s.closeEpisodes(p, i, now, c, Factor{Name: "silence", Text: "no samples come any more, so nobody can say that it recovered"})
}

// closeEpisodes ends the episodes of a measurement for a reason that no score
// gives.
func (s *Shard) closeEpisodes(p *partition, i uint32, now int64, c *cause, why Factor) {
	m := p.slots[i].measure
	if m == 0 {
		return
	}
	p.measures[m-1].before = 0
	for ch := range numChannels {
		a := &p.measures[m-1].alarm[ch]
		ep := p.episodes[episodeKey{i, uint8(ch)}]
		if !a.Open || ep == nil || !ep.Open || now <= ep.EventAt {
			continue
		}
		*a = models.Alarm{}
		ep.Open = false
		s.state(p, i, ep, Closed, now, c, why)
	}
}

// opensSilence says whether the silence of a series means anything.
func (p *partition) opensSilence(i uint32) bool {
	sl := &p.slots[i]
	if sl.measure == 0 || sl.lastAt-sl.firstAt < silenceLife {
		return false
	}
	return p.measures[sl.measure-1].core.Points() >= silencePoints
}

// openSilence says that one series of a living target is silent.
func (s *Shard) openSilence(p *partition, i uint32, now int64, c *cause) {
	sl := &p.slots[i]
	sl.flags |= flagSilent
	step := p.measures[sl.measure-1].core.Step()
	missed := float64(missedInterval)
	if step > 0 {
		missed = float64(now-sl.lastAt) / step
	}
	ep := &episode{
		ID: anomalyID(sl.series.ID, now, KindSilence), Kind: KindSilence, Open: true, OpenedAt: now, Peak: models.ScoreOf(missed),
	}
	p.episodes[episodeKey{i, silentEpisode}] = ep
	p.stand(i, now/minuteMillis+silenceLooks)
	s.state(p, i, ep, Opened, now, c, Factor{Name: "silence", Score: ep.Peak, Text: "the last value came at " + s.engine.clock(sl.lastAt)})
}

func (s *Shard) endSilence(p *partition, i uint32, at int64, v float64, c *cause, why string) {
	ep := p.episodes[episodeKey{i, silentEpisode}]
	if ep == nil || !ep.Open {
		return
	}
	ep.Open = false
	p.slots[i].last = v
	s.state(p, i, ep, Closed, at, c, Factor{Name: "silence", Text: why})
}

// state makes a record that no score caused.
func (s *Shard) state(p *partition, i uint32, ep *episode, rev Revision, at int64, c *cause, f Factor) {
	ep.UpdatedAt, ep.EventAt = at, at
	p.touch(i)
	sl := &p.slots[i]
	a := &Anomaly{
		ID: ep.ID, Revision: rev, Series: sl.series, Kind: ep.Kind, Epoch: c.epoch, At: at, OpenedAt: ep.OpenedAt,
		Peak: ep.Peak, Score: f.Score, Tier: tierOf(ep.Kind), Factors: []Factor{f},
	}
	if sl.flags&flagValue != 0 {
		a.Value = sl.last
	}
	if rev == Opened {
		a.Quiet.Text = s.engine.quietIfSent(at)
	}
	c.add(a, mark{batch: c.batch, epoch: c.epoch, at: at, series: sl.series.ID, kind: uint8(ep.Kind), rev: rev})
}

// inherit gives the series that were first measured in epochs now closed the
// baseline of the most experienced member of their family. It happens at the
// close, so that the order in which a request named the series does not matter.
func (p *partition) inherit(open int64) {
	ready := make([]uint32, 0, len(p.newborn))
	kept := p.newborn[:0]
	for _, i := range p.newborn {
		if p.slots[i].firstAt < open {
			ready = append(ready, i)
		} else {
			kept = append(kept, i)
		}
	}
	p.newborn = kept
	slices.SortFunc(ready, func(a, b uint32) int { return compareIDs(p.slots[a].series.ID, p.slots[b].series.ID) })
	families := make([]uint64, len(ready))
	for n, i := range ready {
		families[n] = familyOf(p.slots[i].series)
		if m := p.measureOf(i); m.ratio == 0 {
			if from := p.elder(families[n]); from != nil {
				m.core.Inherit(from)
			}
		}
	}
	for n, i := range ready {
		p.slots[i].flags &^= flagNewborn
		p.asking = append(p.asking, i)
		p.touch(i)
		p.remember(families[n], i)
		p.enlistCopies(i, families[n])
	}
	for _, i := range ready {
		p.bindLimit(i)
	}
}

// elder is the baseline of the family's member that has learnt most.
func (p *partition) elder(family uint64) *lean.Core {
	var best *lean.Core
	for _, i := range p.families[family] {
		if p.slots[i].measure == 0 {
			continue
		}
		core := &p.measures[p.slots[i].measure-1].core
		if best == nil || core.Points() > best.Points() {
			best = core
		}
	}
	return best
}

func compareIDs(a, b SeriesID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
