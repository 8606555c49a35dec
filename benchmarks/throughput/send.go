package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/homeostat/homeostat/benchmarks/throughput/load"
)

// body is one encoded request.
type body struct {
	data    []byte
	samples int
	planted bool // it holds a spike: when it leaves is noted
	round   int64
	first   int // its first series
}

// loader encodes rounds.
type loader struct {
	fleet     *load.Fleet
	protocol  load.Protocol
	perBody   int
	churn     float64 // share of the series replaced in each round
	templates []*load.Template
	rng       *rand.Rand // shuffles the requests of a round
	at        int64      // time of the next round, ms
	rounds    int64      // made so far
	owed      float64    // of a replacement
}

func newLoader(o *options, start int64) (*loader, error) {
	l := &loader{
		fleet:    load.New(load.Shape{Series: o.series, Mix: o.mix, Seed: o.seed}),
		protocol: o.protocol, perBody: o.requests, churn: o.churn,
		rng: rand.New(rand.NewPCG(o.seed, 2)), at: start,
	}
	l.templates = make([]*load.Template, (o.series+o.requests-1)/o.requests)
	return l, l.rebuild(0, o.series)
}

// rebuild encodes anew the requests that hold the count series from a place on.
// The places may run over the end.
func (l *loader) rebuild(from, count int) error {
	g := errgroup.Group{}
	for k := range l.templates {
		first := k * l.perBody
		n := min(l.perBody, l.fleet.Len()-first)
		touched := from < first+n && from+count > first || from+count-l.fleet.Len() > first
		if !touched {
			continue
		}
		g.Go(func() (err error) {
			l.templates[k], err = load.NewTemplate(l.fleet, l.protocol, first, n)
			return err
		})
	}
	return g.Wait()
}

// round encodes the next round, its requests in shuffled order. Spikes are the
// gauges that this once are far from normal.
func (l *loader) round(spikes []int) ([]body, error) {
	if l.rounds > 0 {
		l.owed += l.churn * float64(l.fleet.Len())
	}
	if l.owed >= 1 {
		from, n := l.fleet.Replace(int(l.owed))
		l.owed = 0
		if err := l.rebuild(from, n); err != nil {
			return nil, err
		}
	}
	values := l.fleet.Next()
	planted := make(map[int]bool, len(spikes))
	for _, i := range spikes {
		values[i] = l.fleet.Spike(i)
		planted[i/l.perBody] = true
	}
	bodies := make([]body, len(l.templates))
	order := l.rng.Perm(len(l.templates))
	var next atomic.Int64
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(order)); n = next.Add(1) - 1 {
				t := l.templates[order[n]]
				bodies[n] = body{data: t.Encode(l.at, values), samples: t.Count, planted: planted[order[n]], round: l.rounds, first: t.First}
			}
		})
	}
	all.Wait()
	l.at += load.Step
	l.rounds++
	return bodies, nil
}

// sender posts rounds. The requests of a round go out on several connections at
// once, and a round begins when the one before it was answered: the samples of a
// series keep their order.
type sender struct {
	url     string
	headers map[string]string
	v2      bool
	client  *http.Client
	senders int
	left    func(*body, time.Time) // told when a planted request leaves; may be nil

	samples atomic.Int64 // answered by a 2xx
	retries atomic.Int64 // requests sent again after a 503

	mu      sync.Mutex
	answers []time.Duration // how long the answers took
}

func newSender(t *target, o *options) *sender {
	transport := &http.Transport{MaxIdleConnsPerHost: o.senders, DisableCompression: true}
	return &sender{
		url: t.write, headers: o.protocol.Headers(), v2: o.protocol == load.V2, senders: o.senders,
		client: &http.Client{Transport: transport, Timeout: time.Minute},
	}
}

// pace says when requests may leave: so many samples a second, 0 for as fast as
// they are answered.
type pace struct {
	rate  float64
	begin time.Time
	due   int64 // samples that were due before
}

// hold waits until the next n samples are due.
func (p *pace) hold(ctx context.Context, n int) error {
	if p.rate == 0 {
		return ctx.Err()
	}
	due := p.begin.Add(time.Duration(float64(p.due) / p.rate * float64(time.Second)))
	p.due += int64(n)
	return wait(ctx, time.Until(due))
}

// fire sends one round.
func (s *sender) fire(ctx context.Context, round []body, p *pace) error {
	g, ctx := errgroup.WithContext(ctx)
	due := make(chan *body)
	g.Go(func() error {
		defer close(due)
		for i := range round {
			if err := p.hold(ctx, round[i].samples); err != nil {
				return err
			}
			select {
			case due <- &round[i]:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range s.senders {
		g.Go(func() error {
			for b := range due {
				if err := s.post(ctx, b); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// post sends one request until it is taken. Only a 503 says to come again; all
// else that is not a 2xx ends the run, for what was refused costs nothing.
func (s *sender) post(ctx context.Context, b *body) error {
	for {
		began := time.Now()
		if b.planted && s.left != nil {
			s.left(b, began)
		}
		again, err := s.once(ctx, b)
		if err != nil {
			return err
		}
		if again == 0 {
			s.samples.Add(int64(b.samples))
			s.mu.Lock()
			s.answers = append(s.answers, time.Since(began))
			s.mu.Unlock()
			return nil
		}
		s.retries.Add(1)
		if err := wait(ctx, again); err != nil {
			return err
		}
	}
}

// once sends a request once and returns after what time to send it again, 0 when
// it was taken.
func (s *sender) once(ctx context.Context, b *body) (again time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(b.data))
	if err != nil {
		return 0, err
	}
	for name, value := range s.headers {
		r.Header.Set(name, value)
	}
	response, err := s.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	switch {
	case err != nil:
		return 0, fmt.Errorf("reading an answer: %w", err)
	case response.StatusCode == http.StatusServiceUnavailable:
		seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
		if err != nil || seconds < 1 {
			seconds = 1
		}
		return time.Duration(seconds) * time.Second, nil
	case response.StatusCode/100 != 2:
		return 0, fmt.Errorf("%s answered %s: %s", s.url, response.Status, text)
	case s.v2 && response.Header.Get("X-Prometheus-Remote-Write-Samples-Written") != strconv.Itoa(b.samples):
		return 0, fmt.Errorf("%s says that it wrote %q samples of %d", s.url, response.Header.Get("X-Prometheus-Remote-Write-Samples-Written"), b.samples)
	}
	return 0, nil
}
