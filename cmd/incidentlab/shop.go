package main

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// shop is all instances, and the customers that come to them.
type shop struct {
	clock     clock
	instances map[string][]*instance
	customers *caller
	batch     *caller // of the nightly job
	weather   sync.Mutex
	crowd     float64 // times the usual customers, for surges and drops
	extra     float64 // share of the customers that the job adds
	versions  map[string]string
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
func newShop() *shop {
	s := &shop{instances: map[string][]*instance{}, crowd: 1, versions: map[string]string{}}
	add := func(service string, work time.Duration, pool int, down ...*caller) {
		for n := range instances[service] {
			s.instances[service] = append(s.instances[service], newInstance(service, n, work, pool, down...))
		}
		s.versions[service] = "v1"
	}
	add(payment, 25*time.Millisecond, 32)
	add(cart, 12*time.Millisecond, 32, newCaller(0.7, s.instances[payment]))
	add(catalog, 8*time.Millisecond, 32)
	add(front, 4*time.Millisecond, 96, newCaller(1, s.instances[catalog]), newCaller(0.7, s.instances[cart]))
	s.customers, s.batch = newCaller(1, s.instances[front]), newCaller(1, s.instances[catalog])
	return s
}

// openShop is a shop that can be reached; close ends it.
func openShop() (*shop, error) {
	s := newShop()
	for _, service := range services {
		for _, in := range s.instances[service] {
			if err := in.listen(); err != nil {
				s.close()
				return nil, err
			}
		}
	}
	return s, nil
}

func (s *shop) close() {
	s.customers.http.CloseIdleConnections()
	s.batch.http.CloseIdleConnections()
	for _, service := range services {
		for _, in := range s.instances[service] {
			in.stop()
		}
	}
}

// usualCustomers is how many customers come in a real second, on the average.
const usualCustomers = 350

// rate is how many come now, by the hour of the recording's day.
func rate(offset time.Duration) float64 {
	h := offset.Hours()
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
			next = next.Add(time.Duration(r.ExpFloat64() / (rate(at) * (1 + mood) * crowd) * float64(time.Second)))
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

// stallAfter is how late a timer may ring: a busy processor is a few
// milliseconds late, and what takes longer is seen in the shop's latencies.
const stallAfter = 20 * time.Millisecond

// watchMachine notes when the machine stood still, until ctx ends. Stalls less
// than ten minutes of the recording apart are one.
func (s *shop) watchMachine(ctx context.Context) (stalls []scorecard.Stall) {
	const beat = 5 * time.Millisecond
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return stalls
		case <-ticks.C:
		}
		now := time.Now()
		if late := now.Sub(last) - beat; late >= stallAfter {
			from, to := s.clock.stretched(last), s.clock.stretched(now)
			ms := math.Round(late.Seconds() * 1000)
			if n := len(stalls); n > 0 && from.Sub(stalls[n-1].End) < 10*time.Minute {
				stalls[n-1].End, stalls[n-1].Longest = to, max(stalls[n-1].Longest, ms)
			} else {
				stalls = append(stalls, scorecard.Stall{Start: from, End: to, Longest: ms})
			}
		}
		last = now
	}
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
func (s *shop) hit(e event) []*instance {
	all := s.instances[e.service]
	if e.instance >= 0 {
		return all[e.instance : e.instance+1]
	}
	return all
}

// apply begins an event, or ends it.
func (s *shop) apply(ctx context.Context, e event, over bool) {
	var to condition
	switch e.kind {
	case scorecard.Surge, scorecard.Drop, batchJob:
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
		return
	case scorecard.Leak:
		if over {
			for _, in := range s.hit(e) {
				in.begin(s.versions[e.service]) // it is restarted
			}
			return
		}
		s.aside.Go(func() { s.leak(ctx, e) })
		return
	case scorecard.Silence:
		s.silence(e, over)
		return
	case restart:
		s.restart(e, over)
		return
	case scorecard.Deploy:
		s.deploy(ctx, e, over)
		return
	case scorecard.Saturation:
		for _, in := range s.hit(e) {
			left := in.pool
			if !over {
				left = int(e.size)
			}
			s.aside.Go(func() { in.shrink(ctx, left) })
		}
		return
	case scorecard.Latency, noisyNeighbour:
		to.slower = e.size
	case scorecard.Errors:
		to.fails = e.size
	case scorecard.Instance:
		to.slower, to.fails = e.size, 0.15
	}
	if over {
		to = condition{}
	}
	for _, in := range s.hit(e) {
		in.state.Store(&to)
	}
}

// leak lets an instance keep memory, a little every minute of the recording.
func (s *shop) leak(ctx context.Context, e event) {
	perMinute := int64(e.size * (1 << 20) / 60)
	for at := e.from; at < e.to; at += time.Minute {
		if !s.until(ctx, at) {
			return
		}
		for _, in := range s.hit(e) {
			in.leaked.Add(perMinute)
		}
	}
}

// silence takes the scrapes of a service away, or gives them back.
func (s *shop) silence(e event, over bool) {
	for _, in := range s.hit(e) {
		if over {
			in.begin(s.versions[e.service])
		} else {
			in.metrics.Store(nil)
		}
	}
}

// restart stops an instance's scrapes, and starts its life anew.
func (s *shop) restart(e event, over bool) { s.silence(e, over) }

// rolloutStep is how far apart the instances of a rollout are.
const rolloutStep = 3 * time.Minute

// deploy brings a new version to one instance after the other, and at the end
// the old one back.
func (s *shop) deploy(ctx context.Context, e event, over bool) {
	version, to := "v2", condition{slower: e.size, fails: 0.06}
	if over {
		version, to = "v1", condition{}
	}
	s.versions[e.service] = version
	at := e.from
	if over {
		at = e.to
	}
	for _, in := range s.hit(e) {
		if !s.until(ctx, at) {
			return
		}
		in.begin(version)
		in.state.Store(&to)
		at += rolloutStep
	}
}
