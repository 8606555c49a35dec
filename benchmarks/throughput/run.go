package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/homeostat/homeostat/benchmarks/throughput/load"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

const (
	magazineBytes  = 1 << 30 // of requests encoded ahead
	steadyRounds   = 2000    // at most, and
	latencyRounds  = 500     // so that the data stays within half a day
	latencyFor     = 12 * time.Second
	latencySpikes  = 500
	settle         = 2 * time.Second // work that an answer left behind counts too
	heardWithin    = 30 * time.Second
	heardShare     = 0.99 // of the spikes; a few fall on gauges whose noise was an anomaly already
	encodedPer     = 48   // bytes a sample to reckon with
	warmUnderrates = 1.3  // how much faster it may go than while requests are encoded beside it
)

// bench is one run.
type bench struct {
	o      *options
	w      io.Writer
	target *target
	loader *loader
	sender *sender
}

// run measures one target under one load.
func run(ctx context.Context, o *options, w io.Writer) (s *summary, err error) {
	loader, err := newLoader(o, beginning(time.Now(), o))
	if err != nil {
		return nil, err
	}
	t, err := startTarget(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if err := t.check(); err != nil {
		return nil, err
	}
	b := &bench{o: o, w: w, target: t, loader: loader, sender: newSender(t, o)}
	s = &summary{Target: o.target, Series: o.series, Protocol: o.protocol, Mix: o.mix}
	for _, part := range []func(context.Context, *summary) error{b.fresh, b.steady, b.latency} {
		if err := part(ctx, s); err != nil {
			return nil, err
		}
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	if _, err := t.account(ctx, b.sender.samples.Load()); err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "%s: all %d samples sent are accounted for; %d requests were put off by a 503\n", o.target, b.sender.samples.Load(), b.sender.retries.Load())
	return s, nil
}

// beginning is the time of the first round, in milliseconds: so far back that
// the last round isn't in the future, and on the day of the last one, for a day's
// first samples cost VictoriaMetrics an index of that day.
func beginning(now time.Time, o *options) int64 {
	rounds := int64(1 + o.warm + o.maxRounds(steadyRounds) + o.maxRounds(latencyRounds))
	end := now.UTC()
	if begin := end.Add(-time.Duration(rounds*load.Step) * time.Millisecond); begin.Day() != end.Day() {
		end = end.Truncate(24 * time.Hour)
	}
	ms := end.UnixMilli() - rounds*load.Step
	return ms - ms%load.Step
}

// maxRounds is how many rounds of requests fit in memory, and at most so many.
func (o *options) maxRounds(most int) int {
	return max(4, min(most, magazineBytes/(encodedPer*o.series)))
}

// fresh sends the first round, whose series are all new, and then the rounds
// that warm.
func (b *bench) fresh(ctx context.Context, s *summary) error {
	first, err := b.loader.round(nil)
	if err != nil {
		return err
	}
	before, err := b.target.usage()
	if err != nil {
		return err
	}
	if err := b.sender.fire(ctx, first, &pace{}); err != nil {
		return err
	}
	after, err := b.target.usage()
	if err != nil {
		return err
	}
	s.CPUPerNewSeries = micros(after.cpu-before.cpu, int64(b.o.series))
	fmt.Fprintf(b.w, "%s: %d new series, %.1f us CPU each\n", b.o.target, b.o.series, s.CPUPerNewSeries)
	began := time.Now()
	for range b.o.warm {
		round, err := b.loader.round(nil)
		if err != nil {
			return err
		}
		if err := b.sender.fire(ctx, round, &pace{}); err != nil {
			return err
		}
	}
	s.SamplesPerS = float64(b.o.warm*b.o.series) / time.Since(began).Seconds()
	fmt.Fprintf(b.w, "%s: warm after %d rounds, %.0f samples/s while their requests were encoded\n", b.o.target, b.o.warm, s.SamplesPerS)
	return nil
}

// magazine encodes rounds ahead, so that the encoding takes no core from the
// target while it is measured. spikes holds the gauges that jump in each round.
func (b *bench) magazine(rounds int, spikes [][]int) ([][]body, error) {
	out := make([][]body, rounds)
	var err error
	for i := range out {
		var jump []int
		if i < len(spikes) {
			jump = spikes[i]
		}
		if out[i], err = b.loader.round(jump); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// roundsFor is how many rounds take so long at a rate, within bounds.
func (b *bench) roundsFor(d time.Duration, rate float64, most int) int {
	return min(b.o.maxRounds(most), max(4, int(d.Seconds()*rate)/b.o.series))
}

// steady sends rounds of known series for about the duration and takes the marks
// around them. All that was encoded is sent: the data has no gap.
func (b *bench) steady(ctx context.Context, s *summary) error {
	rate := s.SamplesPerS * warmUnderrates
	if b.o.rate > 0 {
		rate = b.o.rate
	}
	rounds, err := b.magazine(b.roundsFor(b.o.duration, rate, steadyRounds), nil)
	if err != nil {
		return err
	}
	counted, err := b.target.account(ctx, b.sender.samples.Load())
	if err != nil {
		return err
	}
	stop, err := b.beside(ctx)
	if err != nil {
		return err
	}
	sent, answers := b.sender.samples.Load(), len(b.sender.answers)
	before, err := b.target.usage()
	if err != nil {
		return err
	}
	began := time.Now()
	p := &pace{rate: b.o.rate, begin: began}
	for _, round := range rounds {
		if err := b.sender.fire(ctx, round, p); err != nil {
			return err
		}
	}
	took := time.Since(began)
	if err := wait(ctx, settle); err != nil {
		return err
	}
	after, err := b.target.usage()
	if err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	s.Samples = b.sender.samples.Load() - sent
	s.CPUPerSample = micros(after.cpu-before.cpu, s.Samples)
	s.SamplesPerS = float64(s.Samples) / took.Seconds()
	s.BytesPerSeries = float64(after.anonymous) / float64(b.o.series)
	if err := b.perScored(ctx, s, counted, after.cpu-before.cpu); err != nil {
		return err
	}
	fmt.Fprintf(b.w, "%s: %d samples in %.1f s, %.0f samples/s, %.2f us CPU a sample, %.0f bytes a series, answers p50 %.1f ms p99 %.1f ms\n",
		b.o.target, s.Samples, took.Seconds(), s.SamplesPerS, s.CPUPerSample, s.BytesPerSeries,
		millis(quantile(b.sender.answers[answers:], 0.5)), millis(quantile(b.sender.answers[answers:], 0.99)))
	return nil
}

// perScored sets what a scored measurement cost, where measurements are scored.
func (b *bench) perScored(ctx context.Context, s *summary, before counters, cpu time.Duration) error {
	after, err := b.target.account(ctx, b.sender.samples.Load())
	if err != nil || b.o.target != homeostat {
		return err
	}
	n := after.scored() - before.scored()
	if n <= 0 {
		return fmt.Errorf("%w: nothing was scored", errAccounts)
	}
	each := micros(cpu, n)
	s.CPUPerScored = &each
	fmt.Fprintf(b.w, "%s: %d measurements scored; so far absorbed as late joins %d, anomalies' batches %d\n", b.o.target, n,
		after.sum("homeostat_ingest_absorbed_total", "reason", "late_join"), after.histogramCount("homeostat_detection_latency_seconds"))
	return nil
}

// latency sends at half the rate of the steady part, with spikes, and times
// their anomalies. Only homeostat has any.
func (b *bench) latency(ctx context.Context, s *summary) error {
	if b.o.target != homeostat || b.o.churn > 0 {
		return nil
	}
	rate := s.SamplesPerS / 2
	n := b.roundsFor(latencyFor, rate, latencyRounds)
	chosen := plan(b.loader.fleet, n, min(latencySpikes, b.o.series/50), b.o.seed)
	spikes := newSpikes(b.loader.fleet)
	planted := 0
	for k, gauges := range chosen {
		spikes.plant(b.loader.rounds+int64(k), gauges, b.o.requests)
		planted += len(gauges)
	}
	spikes.planted()
	rounds, err := b.magazine(n, chosen)
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	ended, err := watch(watching, b.target.grpc, spikes.hear)
	if err != nil {
		return err
	}
	b.sender.left = spikes.leave
	p := &pace{rate: rate, begin: time.Now()}
	for _, round := range rounds {
		if err := b.sender.fire(ctx, round, p); err != nil {
			return err
		}
	}
	patience := time.NewTimer(heardWithin)
	defer patience.Stop()
	select {
	case <-spikes.done:
	case <-patience.C:
	case err := <-ended:
		return errors.Join(errors.New("the stream of events ended"), err)
	case <-ctx.Done():
		return ctx.Err()
	}
	stop()
	if err := <-ended; err != nil {
		return err
	}
	heard := len(spikes.times)
	fmt.Fprintf(b.w, "%s: %d of %d spikes heard of at %.0f samples/s\n", b.o.target, heard, planted, rate)
	if planted == 0 || float64(heard) < heardShare*float64(planted) {
		return fmt.Errorf("only %d of %d spikes were heard of within %v", heard, planted, heardWithin)
	}
	p50, p99 := millis(quantile(spikes.times, 0.5)), millis(quantile(spikes.times, 0.99))
	s.Latency = latency{&p50, &p99}
	fmt.Fprintf(b.w, "%s: from a request on its way to its anomaly at a subscriber p50 %.1f ms, p99 %.1f ms\n", b.o.target, p50, p99)
	return nil
}

// beside starts what goes on during the steady part besides the load: a reader
// and a profile. stop ends it.
func (b *bench) beside(ctx context.Context) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	read := make(chan error, 1)
	read <- nil
	if b.o.reader {
		<-read
		if read, err = b.read(ctx); err != nil {
			cancel()
			return nil, err
		}
	}
	profile := make(chan error, 1)
	if b.o.profile {
		go func() { profile <- b.writeProfile(ctx) }()
	} else {
		profile <- nil
	}
	return func() error {
		err := <-profile
		cancel()
		return errors.Join(err, <-read)
	}, nil
}

// read starts the reader: a subscriber of homeostat's anomalies, or a query a
// second of a peer.
func (b *bench) read(ctx context.Context) (chan error, error) {
	read := make(chan error, 1)
	if b.target.grpc != "" {
		ended, err := watch(ctx, b.target.grpc, func(*homeostatv1.Anomaly, time.Time) {})
		if err != nil {
			return nil, err
		}
		go func() { read <- <-ended }()
		return read, nil
	}
	if b.target.web == "" {
		return nil, errors.New("-reader: nobody knows how to read from a URL")
	}
	go func() {
		for wait(ctx, time.Second) == nil {
			if _, err := fetch(ctx, b.target.web+"/api/v1/query?query=count(http_server_active_bytes)"); err != nil && ctx.Err() == nil {
				read <- err
				return
			}
		}
		read <- nil
	}()
	return read, nil
}

// writeProfile profiles the target for about the steady part.
func (b *bench) writeProfile(ctx context.Context) error {
	if b.target.web == "" {
		return errors.New("-profile: nobody knows where a URL's profile is")
	}
	text, err := fetch(ctx, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", b.target.web, int(b.o.duration.Seconds())))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.o.out, 0o777); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.o.out, "steady.pprof"), text, 0o666)
}

func micros(d time.Duration, n int64) float64 { return float64(d.Microseconds()) / float64(n) }

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// quantile is the value that a share q of the others is not above.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
