package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// shop is all pods, and the customers that come to them.
type shop struct {
	clock     clock
	pods      map[string][]*pod
	fail      func(error) // called when the shop cannot go on
	customers *caller
	batch     *caller // of the nightly job
	weather   sync.Mutex
	crowd     float64 // times the usual customers, for surges and drops
	extra     float64 // share of the customers that the job adds
	// turnedAway counts the customers that came when the shop was full.
	turnedAway atomic.Int64
	aside      sync.WaitGroup // what an event does while others begin
}

// clock turns real time into that of the recording.
type clock struct {
	began       time.Time
	start       time.Time // of the recording
	compression float64
}

// offset is how far the recording is at a real time.
func (c clock) offset(real time.Time) time.Duration {
	return time.Duration(float64(real.Sub(c.began)) * c.compression)
}

// ofDay is how late it is at an offset of the recording: the time since midnight,
// or a day or more beyond it.
func (c clock) ofDay(offset time.Duration) time.Duration {
	return c.start.Sub(c.start.Truncate(24*time.Hour)) + offset
}

// stretched is a real time in the recording, to the whole second.
func (c clock) stretched(real time.Time) time.Time {
	return c.start.Add(c.offset(real)).Round(time.Second)
}

// real is how long an offset of the recording takes.
func (c clock) real(offset time.Duration) time.Duration {
	return time.Duration(float64(offset) / c.compression)
}

// newShop is the shop with its doors shut: a customer asks the front, which asks
// the catalog and often the cart, which often asks for payment.
func newShop(start func(spec) (body, error)) *shop {
	s := &shop{pods: map[string][]*pod{}, crowd: 1, fail: func(error) {}}
	add := func(service string, work time.Duration, pool int) {
		for n := range instances[service] {
			s.pods[service] = append(s.pods[service], newPod(spec{Service: service, Number: n, Work: work, Pool: pool}, start))
		}
	}
	add(payment, 25*time.Millisecond, 32)
	add(cart, 12*time.Millisecond, 32)
	add(catalog, 8*time.Millisecond, 32)
	add(front, 4*time.Millisecond, 96)
	return s
}

// calls are who asks whom, and with what share of its requests.
var calls = map[string]map[string]float64{
	cart:  {payment: 0.7},
	front: {catalog: 1, cart: 0.7},
}

// open starts the processes of the shop, those that are asked first; close ends
// them.
func (s *shop) open() error {
	for _, service := range services {
		for _, p := range s.pods[service] {
			p.spec.Down = nil
			for _, to := range slices.Sorted(maps.Keys(calls[service])) {
				p.spec.Down = append(p.spec.Down, s.routeTo(to, calls[service][to]))
			}
			if err := p.begin("v1"); err != nil {
				s.close()
				return err
			}
		}
	}
	s.customers, s.batch = newCaller(s.routeTo(front, 1)), newCaller(s.routeTo(catalog, 1))
	return nil
}

// routeTo is the way to all instances of a service.
func (s *shop) routeTo(service string, share float64) route {
	r := route{Share: share}
	for _, p := range s.pods[service] {
		r.To = append(r.To, p.spec.API)
	}
	return r
}

// close ends the processes, those that ask others first.
func (s *shop) close() {
	for _, c := range []*caller{s.customers, s.batch} {
		if c != nil {
			c.http.CloseIdleConnections()
		}
	}
	for _, service := range slices.Backward(services) {
		for _, p := range s.pods[service] {
			p.end()
		}
	}
}

// usualCustomers is how many customers come in a real second, on the average.
const usualCustomers = 300

// rate is how many come now, by the time of the recording's day.
func rate(ofDay time.Duration) float64 {
	h := ofDay.Hours()
	return usualCustomers * (1 + 0.55*math.Sin(2*math.Pi*(h-8)/24) + 0.12*math.Sin(4*math.Pi*(h-3)/24))
}

// maxInFlight bounds the customers inside the shop; who comes then is turned away.
const maxInFlight = 4000

// trade lets customers come until ctx ends, each when chance will have it.
func (s *shop) trade(ctx context.Context, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0xc0ffee))
	inside := make(chan struct{}, maxInFlight)
	var all sync.WaitGroup
	defer all.Wait()
	next := time.Now()
	mood, moodAt := 0.0, time.Duration(0)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		for now := time.Now(); !next.After(now); {
			at := s.clock.offset(now)
			for ; moodAt < at; moodAt += time.Minute {
				mood = 0.98*mood + 0.006*r.NormFloat64() // some hours are a little busier
			}
			s.weather.Lock()
			crowd, extra := s.crowd, s.extra
			s.weather.Unlock()
			next = next.Add(time.Duration(r.ExpFloat64() / (rate(s.clock.ofDay(at)) * (1 + mood) * crowd) * float64(time.Second)))
			s.admit(ctx, inside, &all, s.customers)
			if r.Float64() < extra {
				s.admit(ctx, inside, &all, s.batch)
			}
		}
		timer.Reset(time.Until(next))
	}
}

func (s *shop) admit(ctx context.Context, inside chan struct{}, all *sync.WaitGroup, to *caller) {
	select {
	case inside <- struct{}{}:
	default:
		s.turnedAway.Add(1)
		return
	}
	all.Go(func() {
		defer func() { <-inside }()
		// What the shop answers is counted where it is answered.
		_ = to.call(ctx)
	})
}

// stalls puts together what the processes say of when they were late, in the
// recording's time. What overlaps or touches is one stall.
func stalls(c clock, all []late) (out []scorecard.Stall) {
	slices.SortFunc(all, func(a, b late) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	for _, l := range all {
		from, to := c.stretched(time.Unix(0, l.From)), c.stretched(time.Unix(0, l.To))
		ms := math.Round(float64(l.To-l.From) / 1e6)
		if n := len(out); n > 0 && from.Sub(out[n-1].End) < time.Minute {
			last := &out[n-1]
			if to.After(last.End) {
				last.End = to
			}
			last.Longest = max(last.Longest, ms)
		} else {
			out = append(out, scorecard.Stall{Start: from, End: to, Longest: ms})
		}
	}
	return out
}

// lateness is what the processes, while they lived, said of when they were late.
func (s *shop) lateness() (all []late) {
	for _, service := range services {
		for _, p := range s.pods[service] {
			all = append(all, p.late...)
		}
	}
	return all
}

// live does what is scheduled, each at its time, until all is done or ctx ends.
func (s *shop) live(ctx context.Context, events []event) {
	defer s.aside.Wait()
	type change struct {
		at    time.Duration
		event event
		over  bool
	}
	var changes []change
	for _, e := range events {
		changes = append(changes, change{e.from, e, false}, change{e.to, e, true})
	}
	slices.SortStableFunc(changes, func(a, b change) int { return int(a.at - b.at) })
	for _, c := range changes {
		if !s.until(ctx, c.at) {
			return
		}
		s.apply(ctx, c.event, c.over)
	}
}

// until waits for an offset of the recording; false when ctx ended first.
func (s *shop) until(ctx context.Context, at time.Duration) bool {
	t := time.NewTimer(time.Until(s.clock.began.Add(s.clock.real(at))))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// hit is whom an event hits.
func (s *shop) hit(e event) []*pod {
	all := s.pods[e.service]
	if e.instance >= 0 {
		return all[e.instance : e.instance+1]
	}
	return all
}

// each does something with every pod that an event hits; what goes wrong ends
// the recording.
func (s *shop) each(e event, do func(*pod) error) {
	for _, p := range s.hit(e) {
		if err := do(p); err != nil {
			s.fail(err)
		}
	}
}

// apply begins an event, or ends it.
func (s *shop) apply(ctx context.Context, e event, over bool) {
	var to settings
	switch e.kind {
	case scorecard.Surge, scorecard.Drop, batchJob:
		s.change(e, over)
		return
	case scorecard.Leak:
		if over {
			s.each(e, (*pod).again)
		} else {
			s.aside.Go(func() { s.leak(ctx, e) })
		}
		return
	case restart:
		s.each(e, func(p *pod) error {
			if over {
				return p.begin(p.version())
			}
			p.end()
			return nil
		})
		return
	case scorecard.Deploy:
		s.deploy(ctx, e, over)
		return
	case scorecard.Silence:
		to.Mute = true
	case scorecard.Saturation:
		to.Workers = int(e.size)
	case scorecard.Latency, noisyNeighbour:
		to.Slower = e.size
	case scorecard.Errors:
		to.Fails = e.size
	case scorecard.Instance:
		to.Slower, to.Fails = e.size, 0.15
	}
	if over {
		to = settings{}
	}
	s.each(e, func(p *pod) error { return p.become(to) })
}

// change lets more or fewer customers come, or as many as usual again.
func (s *shop) change(e event, over bool) {
	s.weather.Lock()
	defer s.weather.Unlock()
	switch {
	case e.kind == batchJob && over:
		s.extra = 0
	case e.kind == batchJob:
		s.extra = e.size
	case over:
		s.crowd = 1
	default:
		s.crowd = e.size
	}
}

// leak lets an instance keep memory, a little every minute of the recording.
func (s *shop) leak(ctx context.Context, e event) {
	for at := e.from; at < e.to; at += time.Minute {
		if !s.until(ctx, at) {
			return
		}
		kept := int64(e.size * (1 << 20) * (at - e.from + time.Minute).Hours())
		s.each(e, func(p *pod) error { return p.become(settings{Kept: kept}) })
	}
}

// rolloutStep is how far apart the instances of a rollout are.
const rolloutStep = 3 * time.Minute

// deploy brings a new version to one instance after the other, and at the end
// the old one back.
func (s *shop) deploy(ctx context.Context, e event, over bool) {
	version, to, at := "v2", settings{Slower: e.size, Fails: 0.06}, e.from
	if over {
		version, to, at = "v1", settings{}, e.to
	}
	for _, p := range s.hit(e) {
		if !s.until(ctx, at) {
			return
		}
		p.end()
		if err := errors.Join(p.begin(version), p.become(to)); err != nil {
			s.fail(err)
			return
		}
		at += rolloutStep
	}
}
