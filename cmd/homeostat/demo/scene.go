package demo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
	"github.com/homeostat/homeostat/engine"
)

// scene is one series in one stretch of time, to be drawn.
type scene struct {
	title    string
	series   *engine.Series
	from, to int64 // ms
	gap      int64 // two points further apart than this are not joined, ms
	fault    *scorecard.Fault
	found    bool
	told     []int64 // when alarms of the series' workload were told, ms
	weight   float64 // to compare scenes by
	points   []point
}

// point is one measurement beside what was expected of it before it came.
type point struct {
	at           int64
	value        float64
	expected     float64
	lower, upper float64 // quiet within
	band         bool    // false while nothing is expected yet, and when no value would be quiet
	warm         bool    // expected is believed
	alarm        bool    // an episode is open after it
}

// abnormal says that the point was not within its band, or that an episode lasts.
func (p *point) abnormal() bool {
	return p.alarm || p.band && (p.value < p.lower || p.value > p.upper)
}

// scenes chooses what to draw: the worst series of each fault, of the culprit if
// an alarm names it; then those of the worst false alarms; and when there is neither, the
// series that scored highest.
func (r *recording) scenes(p *pass) []*scene {
	var out []*scene
	for i := range p.card.Lines {
		if s := r.faultScene(p, i); s != nil {
			out = append(out, s)
		}
	}
	var falses []*scene
	for _, a := range p.of(scorecard.False) {
		series, weight := a.worst(&r.truth)
		if series == nil {
			continue
		}
		s := r.scene(p, series, a.opened.OpenedAt, a.ended(&r.truth))
		s.title, s.weight = "a false alarm", weight
		falses = append(falses, s)
	}
	slices.SortStableFunc(falses, func(a, b *scene) int { return cmp.Compare(b.weight, a.weight) })
	out = append(out, falses[:min(len(falses), maxFalseScenes)]...)
	if len(out) == 0 && p.loudest.series != nil {
		s := r.scene(p, p.loudest.series, p.loudest.at, p.loudest.at)
		s.title = "nothing was told; the highest score of all"
		out = append(out, s)
	}
	return out
}

// maxFalseScenes bounds the pictures of one recording's false alarms.
const maxFalseScenes = 4

func (r *recording) faultScene(p *pass, i int) *scene {
	line := &p.card.Lines[i]
	series, weight := p.worstOf(i, &r.truth)
	// What is seen of a service that was gone came after it.
	if series == nil || line.Kind == scorecard.Silence {
		series = cmp.Or(p.culpritOf(i), series)
	}
	if series == nil {
		return nil
	}
	s := r.scene(p, series, line.Start.UnixMilli(), line.End.UnixMilli())
	s.fault, s.found, s.weight = &line.Fault, line.Found, weight
	s.title = string(line.Kind) + ", found"
	if !line.Found {
		s.title = string(line.Kind) + ", missed"
	}
	return s
}

// worstOf is the worst series of the alarms of a fault: of those that name the
// culprit, else of any.
func (p *pass) worstOf(fault int, t *scorecard.Truth) (best *engine.Series, weight float64) {
	named := false
	for _, a := range p.alarms {
		if a.Fault != fault {
			continue
		}
		culprit := a.Workload == p.card.Lines[fault].Workload
		series, w := a.worst(t)
		if series == nil || named && !culprit {
			continue
		}
		if best == nil || culprit && !named || w > weight {
			best, weight, named = series, w, culprit
		}
	}
	return best, weight
}

// culpritOf is the series of a fault's workload that scored highest while it
// lasted.
func (p *pass) culpritOf(fault int) *engine.Series {
	var all []tally
	for _, t := range p.culprit[fault] {
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(a, b tally) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.points, a.points), cmp.Compare(a.series.ID, b.series.ID))
	})
	return all[0].series
}

// scene is a series from some time before a stretch to some time after it.
func (r *recording) scene(p *pass, series *engine.Series, from, to int64) *scene {
	margin := max((to-from)*3/4, 75*r.step())
	s := &scene{
		series: series, gap: 5 * r.step() / 2,
		from: max(from-margin, r.truth.Start.UnixMilli()), to: min(to+margin, r.truth.End.UnixMilli()),
	}
	for _, a := range p.alarms {
		if at := a.opened.At; a.opened.Workload == series.Workload && at >= s.from && at <= s.to {
			s.told = append(s.told, at)
		}
	}
	return s
}

// film fills the scenes in. What was expected of a point is asked right before
// it comes, which takes long, so that it is done for the scenes alone, and the
// partitions in which nothing of them happens are left out.
func (r *recording) film(ctx context.Context, scenes []*scene) error {
	shots := map[engine.SeriesID]*shot{}
	partitions := map[uint8]bool{}
	w := watcher{only: func(partition uint8) bool { return partitions[partition] }}
	for _, s := range scenes {
		if shots[s.series.ID] == nil {
			shots[s.series.ID] = &shot{}
		}
		shots[s.series.ID].scenes = append(shots[s.series.ID].scenes, s)
		partitions[s.series.Partition] = true
		w.until = max(w.until, s.to+time.Minute.Milliseconds()+2*r.step())
	}
	var fresh []*shot
	w.scored = func(points []engine.Scored) {
		for i := range points {
			x := &points[i]
			if h := shots[x.Series.ID]; h != nil {
				h.take(x)
				fresh = append(fresh, h)
			}
		}
	}
	w.after = func(e *engine.Engine) {
		for _, h := range fresh {
			h.expect(e, r.step())
		}
		fresh = fresh[:0]
	}
	if _, _, err := r.replay(ctx, w); err != nil {
		return fmt.Errorf("drawing %s: %w", r.truth.Name, err)
	}
	return nil
}

// shot is a series of which points are wanted.
type shot struct {
	scenes []*scene
	next   engine.Baseline // what is expected of the next point
}

func (h *shot) take(x *engine.Scored) {
	for _, s := range h.scenes {
		if x.At < s.from || x.At > s.to {
			continue
		}
		s.points = append(s.points, point{
			at: x.At, value: x.Value, expected: x.Reading.Expected, lower: h.next.Lower, upper: h.next.Upper,
			band: h.next.Warm && h.next.Lower < h.next.Upper, warm: x.Reading.Warm, alarm: x.Alarm,
		})
	}
	h.next = engine.Baseline{Series: x.Series, At: x.At}
}

// expect asks for the bounds of the next point when a scene wants it.
func (h *shot) expect(e *engine.Engine, step int64) {
	if h.next.Series == nil {
		return
	}
	for _, s := range h.scenes {
		if at := h.next.At; at >= s.from-10*step && at <= s.to {
			h.next, _ = e.Baseline(h.next.Series.ID)
			return
		}
	}
}
