package enginetest

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/models"
)

// maker makes the values of one line's series.
type maker struct {
	rng    *rand.Rand
	zone   models.Zone
	at     int64 // of the value at hand, ms
	every  float64
	shift  float64 // what step added
	factor float64 // what scale multiplied
	slope  float64 // per hour, from sinceAt on
	since  int64
	state  float64 // of a walk
}

var (
	gap  = &generator{name: "_"}
	line = &generator{name: "a number", family: familyGauge, make: func(g *maker, s *segment, k int) float64 {
		return s.args[0] + s.args[1]*float64(k)
	}}
)

var generators = map[string]*generator{}

func init() {
	for _, g := range []*generator{
		{name: "const", min: 1, max: 1, family: familyGauge, make: func(g *maker, s *segment, _ int) float64 { return s.args[0] }},
		{name: "normal", min: 2, max: 2, family: familyGauge, make: normal},
		{name: "spike", min: 1, max: 2, family: familyGauge, make: normal},
		{name: "student", min: 2, max: 2, family: familyGauge, make: student},
		{name: "lognormal", min: 2, max: 2, family: familyGauge, make: func(g *maker, s *segment, _ int) float64 {
			return s.args[0] * math.Exp(s.args[1]*g.rng.NormFloat64())
		}},
		{name: "poisson", min: 1, max: 1, family: familyGauge, positive: true, make: func(g *maker, s *segment, _ int) float64 {
			return poisson(g.rng, s.args[0])
		}},
		{name: "walk", min: 2, max: 2, family: familyGauge, make: func(g *maker, s *segment, k int) float64 {
			if k == 0 {
				g.state = s.args[0]
			}
			g.state += s.args[1] * g.rng.NormFloat64()
			return g.state
		}},
		{name: "season", min: 2, max: 3, family: familyGauge, make: func(g *maker, s *segment, _ int) float64 {
			return s.args[0] + s.args[1]*g.day() + s.args[2]*g.rng.NormFloat64()
		}},
		{name: "office", min: 2, max: 3, family: familyGauge, make: func(g *maker, s *segment, _ int) float64 {
			return s.args[0] + (s.args[1]-s.args[0])*g.office() + s.args[2]*g.rng.NormFloat64()
		}},
		{name: "ramp", min: 2, max: 3, family: familyGauge, make: func(g *maker, s *segment, k int) float64 {
			way := float64(k+1) / float64(s.points)
			return s.args[0] + (s.args[1]-s.args[0])*way + s.args[2]*g.rng.NormFloat64()
		}},
		{name: "counter", min: 1, max: 2, family: familyCounter, positive: true, make: func(g *maker, s *segment, _ int) float64 {
			return s.args[0] + s.args[1]*g.day()
		}},
		{name: "histogram", min: 3, max: 3, family: familyHistogram, positive: true},
		{name: "ratio", min: 2, max: 2, family: familyRatio, positive: true},
		{name: "step", min: 1, max: 1, family: familyScalable, standsAlone: true},
		{name: "scale", min: 1, max: 1, family: familyScalable, standsAlone: true},
		{name: "leak", min: 1, max: 1, family: familyScalable, standsAlone: true},
		{name: "reset", family: familyCounting, standsAlone: true},
		{name: "stale", standsAlone: true},
	} {
		generators[g.name] = g
	}
}

func normal(g *maker, s *segment, _ int) float64 { return s.args[0] + s.args[1]*g.rng.NormFloat64() }

// student has three degrees of freedom.
func student(g *maker, s *segment, _ int) float64 {
	a, b, c := g.rng.NormFloat64(), g.rng.NormFloat64(), g.rng.NormFloat64()
	return s.args[0] + s.args[1]*g.rng.NormFloat64()/math.Sqrt((a*a+b*b+c*c)/3)
}

// day is where the local day stands: −1 at 03:00, 1 at 15:00.
func (g *maker) day() float64 {
	hours := float64(g.zone.Local(g.at)) / hour
	return -math.Cos((hours - 3) * 2 * math.Pi / 24)
}

// office is how far a working day is on: 0 at night, 1 from 08:00 to 18:00, on
// its way in the hours before and after.
func (g *maker) office() float64 {
	hours := math.Mod(float64(g.zone.Local(g.at))/hour, 24)
	return min(max(min(hours-7, 19-hours), 0), 1)
}

// poisson draws a Poisson number: by Knuth's product for a small mean, by the
// normal approximation for a large one.
func poisson(rng *rand.Rand, mean float64) float64 {
	if mean > 50 {
		return max(0, math.Round(mean+math.Sqrt(mean)*rng.NormFloat64()))
	}
	limit, product, n := math.Exp(-mean), rng.Float64(), 0.0
	for product > limit {
		product *= rng.Float64()
		n++
	}
	return n
}

// binomial draws how many of n happen at a chance p.
func binomial(rng *rand.Rand, n, p float64) float64 {
	if n*p*(1-p) > 50 {
		return min(n, max(0, math.Round(n*p+math.Sqrt(n*p*(1-p))*rng.NormFloat64())))
	}
	k := 0.0
	for range int(n) {
		if rng.Float64() < p {
			k++
		}
	}
	return k
}

// bucketBounds are the default ones of Prometheus' client libraries.
var bucketBounds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, math.Inf(1)}

// timed is one sample and who sends it.
type timed struct {
	engine.Sample
	sender string
}

// maxSamples bounds a scenario.
const maxSamples = 20_000_000

// samples makes everything that is sent, in order of time, then of the lines.
func (s *Scenario) samples(naming engine.Naming, zone models.Zone) ([]timed, error) {
	var all []timed
	for i := range s.series {
		sr := &s.series[i]
		all = sr.generate(all, s, naming, zone)
		if len(all) > maxSamples {
			return nil, &Error{File: s.Name, Line: sr.line, Text: fmt.Sprintf("the scenario makes more than %d samples", maxSamples)}
		}
	}
	slices.SortStableFunc(all, func(a, b timed) int {
		switch {
		case a.At < b.At:
			return -1
		case a.At > b.At:
			return 1
		}
		return strings.Compare(a.sender, b.sender)
	})
	return all, nil
}

// output is one series that a line makes, and its running total if it counts.
type output struct {
	series *engine.Series
	total  float64
}

// outputs are the series that a line makes: of a histogram the buckets, then
// count and sum; of a ratio the good requests and the failed ones.
func (sr *series) outputs(naming engine.Naming) []output {
	name := sr.labels.Get(labels.MetricName)
	with := func(name string, typ engine.Type, pairs ...string) output {
		b := labels.NewBuilder(sr.labels).Set(labels.MetricName, name)
		for i := 0; i < len(pairs); i += 2 {
			b.Set(pairs[i], pairs[i+1])
		}
		return output{series: naming.NewSeries(b.Labels(), typ)}
	}
	switch sr.family {
	case familyHistogram:
		var out []output
		for _, bound := range bucketBounds {
			le := strconv.FormatFloat(bound, 'g', -1, 64)
			out = append(out, with(name+"_bucket", engine.TypeHistogram, labels.BucketLabel, le))
		}
		return append(out, with(name+"_count", engine.TypeHistogram), with(name+"_sum", engine.TypeHistogram))
	case familyRatio:
		return []output{with(name, engine.TypeCounter, "code", "200"), with(name, engine.TypeCounter, "code", "500")}
	case familyCounter:
		return []output{with(name, engine.TypeCounter)}
	}
	return []output{with(name, engine.TypeUnknown)}
}

// generate appends the samples of a line.
func (sr *series) generate(all []timed, s *Scenario, naming engine.Naming, zone models.Zone) []timed {
	h := fnv.New64a()
	h.Write([]byte(sr.labels.String()))
	g := &maker{
		rng: rand.New(rand.NewPCG(s.seed, h.Sum64())), zone: zone, factor: 1, every: float64(sr.every) / 1000,
		at: s.start + sr.from,
	}
	outs := sr.outputs(naming)
	var counting *segment // what a counter does behind a gap
	for i := range sr.segments {
		seg := &sr.segments[i]
		g.change(seg, outs)
		if seg.kind.family == sr.family && sr.family != familyGauge {
			counting = seg
		}
		for k := range seg.points {
			stale := seg.kind.name == "stale"
			switch {
			case seg.kind.family == sr.family:
				g.fill(sr.family, seg, k, outs)
			case counting != nil:
				g.fill(sr.family, counting, k, outs)
			}
			if seg.kind != gap {
				for n := range outs {
					all = append(all, timed{g.sample(&outs[n], stale), sr.sender})
				}
			}
			g.at += sr.every
		}
	}
	return all
}

func (g *maker) sample(o *output, stale bool) engine.Sample {
	v := o.total
	if stale {
		v = math.Float64frombits(value.StaleNaN)
	}
	return engine.Sample{Series: o.series, At: g.at, Value: v, Partition: o.series.Partition}
}

// change does what a segment does to all that follow it.
func (g *maker) change(seg *segment, outs []output) {
	switch seg.kind.name {
	case "step":
		g.shift += seg.args[0]
	case "scale":
		g.factor *= seg.args[0]
	case "leak":
		g.shift += g.leaked()
		g.slope, g.since = seg.args[0], g.at
	case "reset":
		for i := range outs {
			outs[i].total = 0
		}
	}
}

func (g *maker) leaked() float64 { return g.slope * float64(g.at-g.since) / hour }

// changed is a value after all changes.
func (g *maker) changed(v float64) float64 { return v*g.factor + g.shift + g.leaked() }

// fill sets the outputs to the values of the time at hand.
func (g *maker) fill(f family, seg *segment, k int, outs []output) {
	switch f {
	case familyGauge:
		outs[0].total = g.changed(seg.kind.make(g, seg, k))
	case familyCounter:
		outs[0].total += poisson(g.rng, max(0, g.changed(seg.kind.make(g, seg, k))*g.every))
	case familyRatio:
		n := poisson(g.rng, seg.args[0])
		failed := binomial(g.rng, n, max(0, seg.args[1]))
		outs[0].total += n - failed
		outs[1].total += failed
	case familyHistogram:
		g.observe(seg, outs)
	}
}

// maxDrawn bounds the observations of one interval that are drawn one by one.
const maxDrawn = 1000

func (g *maker) observe(seg *segment, outs []output) {
	n := poisson(g.rng, seg.args[0]*g.every)
	weight := 1.0
	if n > maxDrawn {
		weight, n = math.Round(n/maxDrawn), maxDrawn
	}
	count, sum := &outs[len(bucketBounds)], &outs[len(bucketBounds)+1]
	for range int(n) {
		v := seg.args[1] * math.Exp(seg.args[2]*g.rng.NormFloat64())
		count.total += weight
		sum.total += weight * v
		for b := len(bucketBounds) - 1; b >= 0 && v <= bucketBounds[b]; b-- {
			outs[b].total += weight
		}
	}
}
