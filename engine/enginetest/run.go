package enginetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// Options say how a scenario is run. None of them may change what comes of it,
// but for Config; the zero value is usable.
type Options struct {
	// Shards of the engine. Default 1.
	Shards int
	// SplitSeed, when not 0, cuts what is sent into requests and rounds at
	// random.
	SplitSeed uint64
	// RestartAt, when not 0, writes the whole state at that time since the
	// beginning and goes on with a fresh engine that has read it.
	RestartAt time.Duration
	// Config is the engine's; the scenario's own settings are put over it.
	Config engine.Config
}

// Failure is one expectation that did not hold.
type Failure struct {
	Line int
	Text string
}

// Result is what came of a run.
type Result struct {
	Records  []engine.Record // in the order in which they came
	Receipt  engine.Receipt  // of all that was sent
	Scored   []engine.Scored // with Config.Trace only
	Failures []Failure
	start    int64
}

// tail is how long the clock goes on after the last sample, in milliseconds:
// until its epoch is closed, and not until its silence is noticed.
const tail = 60 * 1000

// Run runs the scenario. An error means that it could not be run, or that the
// engine broke a promise that needs no expectation: a receipt that does not add
// up, a state that cannot be read back.
func (s *Scenario) Run(o Options) (*Result, error) {
	cfg := o.Config
	for _, set := range s.config {
		set.apply(&cfg)
	}
	if match := s.matchesDeep(); match != nil {
		cfg.Deep.Match = match
	}
	// The zone as data reaches as far as any series may.
	cfg.Zone = s.zoneUntil(s.start + 2*maxDuration.Milliseconds())
	samples, err := s.samples(cfg.Naming, cfg.Zone)
	if err != nil {
		return nil, err
	}
	r, err := newRun(s, cfg, max(o.Shards, 1))
	if err != nil {
		return nil, err
	}
	if o.SplitSeed != 0 {
		r.split = rand.New(rand.NewPCG(o.SplitSeed, 1))
	}
	acts := slices.Clone(s.acts)
	if o.RestartAt > 0 {
		acts = append(acts, act{at: o.RestartAt.Milliseconds(), verb: actRestart})
	}
	slices.SortStableFunc(acts, func(a, b act) int { return int(min(max(a.at-b.at, -1), 1)) })
	if err := r.drive(samples, acts); err != nil {
		return nil, err
	}
	subs := append(subjects(r.result.Records, r.known), samplesSubject(&r.result.Receipt, r.now))
	for i := range s.expects {
		if wrong := s.expects[i].check(subs, s.start); wrong != "" {
			r.fail(s.expects[i].line, wrong)
		}
	}
	slices.SortStableFunc(r.result.Failures, func(a, b Failure) int { return a.Line - b.Line })
	return r.result, nil
}

// run drives one engine through one scenario, alone and in order: what loop
// does live, without its queue, journal and goroutines.
type run struct {
	scenario *Scenario
	cfg      engine.Config
	engine   *engine.Engine
	split    *rand.Rand
	pages    map[engine.PageID][]byte
	known    map[engine.SeriesID]*engine.Series
	parts    []*engine.Effects
	fx       engine.Effects
	now      int64
	labelled []string // request IDs of labels given
	result   *Result
}

func newRun(s *Scenario, cfg engine.Config, shards int) (*run, error) {
	r := &run{
		scenario: s, cfg: cfg, result: &Result{start: s.start},
		pages: map[engine.PageID][]byte{}, known: map[engine.SeriesID]*engine.Series{},
	}
	return r, r.begin(shards)
}

func (r *run) begin(shards int) (err error) {
	if r.engine, err = engine.New(r.cfg, shards); err != nil {
		return fmt.Errorf("%s: %w", r.scenario.Name, err)
	}
	r.parts = nil
	for range shards {
		r.parts = append(r.parts, &engine.Effects{})
	}
	return nil
}

func (r *run) fail(line int, text string) {
	r.result.Failures = append(r.result.Failures, Failure{line, text})
}

// drive goes through time: at each moment first the clock, then what people do,
// then what is sent.
func (r *run) drive(samples []timed, acts []act) error {
	s := r.scenario
	end := s.start + s.end
	if s.end == 0 && len(samples) > 0 {
		end = samples[len(samples)-1].At + tail
	}
	for tick := s.start; tick <= end; tick += s.tick {
		if err := r.tick(tick); err != nil {
			return err
		}
		for len(acts) > 0 && s.start+acts[0].at <= tick {
			if err := r.act(acts[0]); err != nil {
				return err
			}
			acts = acts[1:]
		}
		n := 0
		for n < len(samples) && samples[n].At < tick+s.tick {
			n++
		}
		if err := r.send(samples[:n]); err != nil {
			return err
		}
		samples = samples[n:]
	}
	for _, a := range acts {
		r.fail(a.line, fmt.Sprintf("the scenario ends at %s, before this happens", since(end-s.start)))
	}
	return nil
}

func (r *run) tick(now int64) error {
	r.now = now
	t := engine.Tick{Now: now}
	for i, sh := range r.engine.Shards() {
		r.parts[i].Reset()
		sh.Close(t, r.parts[i])
	}
	r.fx.Reset()
	r.engine.Merge(r.parts, &r.fx)
	r.engine.Settle(t, &r.fx)
	return r.took(0)
}

// took keeps the effects and performs the actions: a dry run, done at once.
func (r *run) took(sent int) error {
	res := r.result
	res.Records = append(res.Records, r.fx.Records...)
	res.Scored = append(res.Scored, r.fx.Scored...)
	received := 0
	for i := range r.fx.Receipts {
		if rec := &r.fx.Receipts[i]; !rec.Balanced() {
			return fmt.Errorf("%s: at %s a receipt does not add up: %+v", r.scenario.Name, since(r.now-res.start), *rec)
		}
		received += r.fx.Receipts[i].Received
		res.Receipt.Add(&r.fx.Receipts[i])
	}
	if received != sent {
		return fmt.Errorf("%s: at %s %d samples were sent and %d received", r.scenario.Name, since(r.now-res.start), sent, received)
	}
	actions := slices.Clone(r.fx.Actions)
	for _, a := range actions {
		if err := r.take(engine.Performed{Action: a.ID, Result: engine.ResultDone, Detail: "dry run", At: r.now}); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) take(ev engine.Event) error {
	if rec, ok := ev.(engine.Record); ok {
		r.result.Records = append(r.result.Records, rec)
	}
	r.fx.Reset()
	r.engine.Take(ev, &r.fx)
	return r.took(0)
}

// send sends the samples of one tick: one request for each sender and time, one
// round for each, or as SplitSeed cuts them.
func (r *run) send(samples []timed) error {
	var round []*engine.Batch
	for len(samples) > 0 {
		n := 1
		for n < len(samples) && samples[n].At == samples[0].At && samples[n].sender == samples[0].sender {
			n++
		}
		if r.split != nil {
			n = 1 + r.split.IntN(n)
		}
		b := &engine.Batch{Sender: samples[0].sender}
		for _, x := range samples[:n] {
			r.known[x.Series.ID] = x.Series
			b.Samples = append(b.Samples, x.Sample)
		}
		samples = samples[n:]
		round = append(round, b)
		if r.split == nil || r.split.IntN(3) == 0 || len(samples) == 0 {
			if err := r.step(round); err != nil {
				return err
			}
			round = nil
		}
	}
	return nil
}

func (r *run) step(round []*engine.Batch) error {
	sent := 0
	for _, b := range round {
		sent += len(b.Samples)
	}
	for i, sh := range r.engine.Shards() {
		r.parts[i].Reset()
		sh.Step(round, r.parts[i])
	}
	r.fx.Reset()
	r.engine.Merge(r.parts, &r.fx)
	return r.took(sent)
}

func (r *run) act(a act) error {
	switch a.verb {
	case actRestart:
		return r.restart()
	case actLabel:
		return r.label(a)
	}
	if len(r.labelled) == 0 {
		r.fail(a.line, "undo: no label was given yet")
		return nil
	}
	last := r.labelled[len(r.labelled)-1]
	r.labelled = r.labelled[:len(r.labelled)-1]
	return r.take(engine.Undo{RequestID: "undo-" + last, Label: last, By: a.by, At: r.now})
}

// label judges the first or last anomaly that opened so far.
func (r *run) label(a act) error {
	var of *engine.Anomaly
	for _, rec := range r.result.Records {
		an, ok := rec.(*engine.Anomaly)
		if !ok || an.Revision != engine.Opened || an.Kind == engine.KindDataFault || !a.of.fits(an.Series.Labels) {
			continue
		}
		if of == nil || (an.OpenedAt < of.OpenedAt) == a.first && an.OpenedAt != of.OpenedAt {
			of = an
		}
	}
	if of == nil {
		r.fail(a.line, "label: there is no anomaly to label yet")
		return nil
	}
	request := fmt.Sprintf("label-%d", a.line)
	r.labelled = append(r.labelled, request)
	r.known[of.Series.ID] = of.Series
	return r.take(engine.Label{
		RequestID: request, Anomaly: of.ID, Series: of.Series.ID, Partition: of.Series.Partition,
		Judgement: a.judgement, By: a.by, At: r.now,
	})
}

// restart writes the whole state and reads it into a fresh engine with one
// shard more.
func (r *run) restart() error {
	fail := func(err error) error {
		return fmt.Errorf("%s: restart at %s: %w", r.scenario.Name, since(r.now-r.result.start), err)
	}
	for _, id := range r.engine.DirtyPages() {
		b, err := r.engine.AppendPage(id, nil)
		if err != nil {
			return fail(err)
		}
		r.pages[id] = b
	}
	settled, err := r.engine.AppendSettle(nil)
	if err != nil {
		return fail(err)
	}
	if err := r.begin(len(r.parts)%engine.MaxShards + 1); err != nil {
		return err
	}
	ids := slices.SortedFunc(maps.Keys(r.pages), func(a, b engine.PageID) int {
		if a.Partition != b.Partition {
			return int(a.Partition) - int(b.Partition)
		}
		return int(min(max(int64(a.Number)-int64(b.Number), -1), 1))
	})
	for _, id := range ids {
		if err := r.engine.LoadPage(id, r.pages[id]); err != nil {
			return fail(err)
		}
	}
	if err := r.engine.LoadSettle(settled); err != nil {
		return fail(err)
	}
	return nil
}
