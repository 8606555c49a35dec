package main

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// The kinds of nuisance: what happens on any day and needs nobody.
const (
	batchJob       scorecard.Kind = "batch"     // a nightly job reads the catalog
	restart        scorecard.Kind = "restart"   // one instance starts anew
	noisyNeighbour scorecard.Kind = "neighbour" // one instance is a little slower for a while
)

// The services of the shop, front first.
const (
	front   = "front"
	catalog = "catalog"
	cart    = "cart"
	payment = "payment"
)

// instances says how many of each service run.
var instances = map[string]int{front: 2, catalog: 2, cart: 2, payment: 3}

// services are the names, in the order in which they are started and listed.
var services = []string{payment, cart, catalog, front}

// event is one thing that is done to the shop. Times are offsets from the start
// of the recording, in the recording's own time.
type event struct {
	kind     scorecard.Kind
	service  string
	instance int // -1 is all of them
	from, to time.Duration
	size     float64 // what it means is said in words
	harmless bool
}

// words say what is done.
func (e event) words() string {
	who := e.service
	if e.instance >= 0 {
		who = fmt.Sprintf("instance %d of %s", e.instance, e.service)
	}
	switch e.kind {
	case scorecard.Latency:
		return fmt.Sprintf("%s takes %.1f times as long", who, e.size)
	case scorecard.Surge:
		return fmt.Sprintf("%.1f times the customers", e.size)
	case scorecard.Drop:
		return fmt.Sprintf("%.0f %% of the customers come", 100*e.size)
	case scorecard.Leak:
		return fmt.Sprintf("%s keeps %.1f MiB more an hour", who, e.size)
	case scorecard.Errors:
		return fmt.Sprintf("%s fails %.0f %% of its requests", who, 100*e.size)
	case scorecard.Deploy:
		return fmt.Sprintf("a new version of %s takes %.1f times as long and fails 6 %%", who, e.size)
	case scorecard.Silence:
		return fmt.Sprintf("%s answers no scrape", who)
	case scorecard.Saturation:
		return fmt.Sprintf("%s has only %.0f of its workers in each pool", who, e.size)
	case scorecard.Instance:
		return fmt.Sprintf("%s takes %.1f times as long and fails 15 %%", who, e.size)
	case batchJob:
		return fmt.Sprintf("a job adds %.0f %% of traffic to %s", 100*e.size, who)
	case restart:
		return fmt.Sprintf("%s starts anew", who)
	case noisyNeighbour:
		return fmt.Sprintf("%s is %.0f %% slower", who, 100*(e.size-1))
	}
	return string(e.kind)
}

// scenario says what a recording is of.
type scenario struct {
	about  string
	faults []scorecard.Kind
	hours  int // of the recording
}

// learning is how long no fault happens: a day, so that its shape is learnt, with
// the nuisances of any day in it.
const learning = 24 * time.Hour

// scenarios are the recordings that can be made.
var scenarios = map[string]scenario{
	"latency":    {about: "one service answers slowly", faults: []scorecard.Kind{scorecard.Latency}, hours: 28},
	"surge":      {about: "far more customers than the hour has", faults: []scorecard.Kind{scorecard.Surge}, hours: 28},
	"drop":       {about: "far fewer of them", faults: []scorecard.Kind{scorecard.Drop}, hours: 28},
	"leak":       {about: "memory grows and is not given back", faults: []scorecard.Kind{scorecard.Leak}, hours: 34},
	"errors":     {about: "requests fail", faults: []scorecard.Kind{scorecard.Errors}, hours: 28},
	"deploy":     {about: "a new version is worse", faults: []scorecard.Kind{scorecard.Deploy}, hours: 28},
	"silence":    {about: "a service is gone from the scrapes", faults: []scorecard.Kind{scorecard.Silence}, hours: 28},
	"saturation": {about: "a pool is full and requests wait", faults: []scorecard.Kind{scorecard.Saturation}, hours: 28},
	"instance":   {about: "one instance of several is bad", faults: []scorecard.Kind{scorecard.Instance}, hours: 28},
	"quiet":      {about: "nuisances only", hours: 30},
	"mixed_a": {
		about:  "several faults in two days",
		faults: []scorecard.Kind{scorecard.Latency, scorecard.Drop, scorecard.Silence, scorecard.Errors}, hours: 40,
	},
	"mixed_b": {
		about:  "several others",
		faults: []scorecard.Kind{scorecard.Deploy, scorecard.Surge, scorecard.Saturation, scorecard.Instance}, hours: 40,
	},
	"mixed_c": {
		about:  "several of the first in another order",
		faults: []scorecard.Kind{scorecard.Errors, scorecard.Silence, scorecard.Surge, scorecard.Latency}, hours: 40,
	},
	"mixed_d": {
		about:  "several of the others in another order",
		faults: []scorecard.Kind{scorecard.Instance, scorecard.Deploy, scorecard.Drop, scorecard.Saturation}, hours: 40,
	},
}

func scenarioNames() []string { return slices.Sorted(maps.Keys(scenarios)) }

// plan is all that happens in a recording.
type plan struct {
	start    time.Time // of the recording
	events   []event   // in order of from
	learning time.Duration
	length   time.Duration
}

// How clear of the nearest event a nuisance is, so that it is clear whose an
// alarm is: longer before it than [scorecard.Aftermath].
const (
	clearBefore = 45 * time.Minute
	clearAfter  = 30 * time.Minute
)

// schedule says what happens in a recording: a pure function of the scenario and
// the seed. It begins at some hour of the day. Faults come after the learning
// stretch, at least an hour and a half apart; nuisances in that stretch, and
// between the faults if they find room there.
func schedule(name string, seed uint64) (plan, error) {
	s, ok := scenarios[name]
	if !ok {
		return plan{}, fmt.Errorf("scenario %q: want one of %v", name, scenarioNames())
	}
	kind := fnv.New64a()
	kind.Write([]byte(name))
	r := rand.New(rand.NewPCG(seed, kind.Sum64()))
	length := time.Duration(s.hours) * time.Hour
	p := plan{start: start.Add(time.Duration(r.IntN(24)) * time.Hour), learning: learning, length: length}
	slot := (length - learning - time.Hour) / time.Duration(max(1, len(s.faults)))
	for i, kind := range s.faults {
		begin := learning + time.Hour + time.Duration(i)*slot
		f := fault(kind, r)
		long := minute(r, 35*time.Minute, 75*time.Minute)
		if kind == scorecard.Leak {
			long = minute(r, 6*time.Hour, 8*time.Hour)
		}
		long = min(long, slot-2*time.Hour)
		f.from = minute(r, begin+time.Hour, begin+slot-long-30*time.Minute)
		f.to = f.from + long
		p.events = append(p.events, f)
	}
	p.annoy(r, 30*time.Minute, learning-time.Hour)
	p.annoy(r, learning+30*time.Minute, length-time.Hour)
	slices.SortFunc(p.events, func(a, b event) int { return int(a.from - b.from) })
	return p, nil
}

// minute is a whole minute of a stretch.
func minute(r *rand.Rand, from, to time.Duration) time.Duration {
	return (from + time.Duration(r.Int64N(int64(to-from)))).Round(time.Minute)
}

// annoy puts one of each nuisance into a stretch, clear of what is there.
func (p *plan) annoy(r *rand.Rand, from, to time.Duration) {
	for _, n := range nuisances(r) {
		long := 30 * time.Minute
		if n.kind == restart {
			long = 2 * time.Minute
		}
		for range 1000 {
			n.from = minute(r, from, to)
			n.to = n.from + long
			if !slices.ContainsFunc(p.events, func(e event) bool {
				return n.from < e.to+clearBefore && e.from < n.to+clearAfter
			}) {
				p.events = append(p.events, n)
				break
			}
		}
	}
}

// fault is what a kind of fault does, without its time.
func fault(kind scorecard.Kind, r *rand.Rand) event {
	uniform := func(from, to float64) float64 { return from + (to-from)*r.Float64() }
	any := services[r.IntN(len(services))]
	e := event{kind: kind, service: any, instance: -1}
	switch kind {
	case scorecard.Latency:
		e.size = uniform(3, 8)
	case scorecard.Surge:
		e.service, e.size = front, uniform(2, 3)
	case scorecard.Drop:
		e.service, e.size = front, uniform(0.1, 0.45)
	case scorecard.Leak:
		e.instance, e.size = r.IntN(instances[any]), uniform(2, 5)
	case scorecard.Errors:
		e.size = uniform(0.06, 0.3)
	case scorecard.Deploy:
		e.size = uniform(1.6, 2.5)
	case scorecard.Saturation:
		e.size = float64(left[any])
	case scorecard.Instance:
		e.instance, e.size = r.IntN(instances[any]), uniform(2.5, 5)
	}
	return e
}

// left is how many workers saturation leaves: too few in any hour. Little work
// wants few of them, and the front, which waits for the others, wants more.
var left = map[string]int{payment: 1, cart: 2, catalog: 1, front: 3}

func nuisances(r *rand.Rand) []event {
	pick := func() string { return []string{payment, cart, catalog}[r.IntN(3)] }
	one := pick()
	other := pick()
	return []event{
		{kind: batchJob, service: catalog, instance: -1, size: 0.15, harmless: true},
		{kind: restart, service: one, instance: r.IntN(instances[one]), harmless: true},
		{kind: noisyNeighbour, service: other, instance: r.IntN(instances[other]), size: 1.15, harmless: true},
	}
}

// told is what a plan does as its truth tells it. A deploy, like any other fault,
// ends when somebody begins to end it; the rollback then takes its time.
func (p plan) told() (faults, nuisances []scorecard.Fault) {
	faults, nuisances = []scorecard.Fault{}, []scorecard.Fault{} // never null in JSON
	for _, e := range p.events {
		f := scorecard.Fault{
			Kind: e.kind, Start: p.start.Add(e.from), End: p.start.Add(e.to), Workload: workloadOf(e.service), Words: e.words(),
		}
		if e.harmless {
			nuisances = append(nuisances, f)
		} else {
			faults = append(faults, f)
		}
	}
	return faults, nuisances
}

// workloadOf is the workload that homeostat makes of a service's labels.
func workloadOf(service string) string {
	return fmt.Sprintf("namespace=%q,deployment=%q", namespace, service)
}

const namespace = "shop"
