package loop

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/homeostat/homeostat/engine"
)

// drive takes the events in by rounds of the sizes that cut gives, and returns
// the log and the sum of the receipts.
func drive(t *testing.T, events []engine.Event, shards int, cut func() int) ([]string, engine.Receipt) {
	t.Helper()
	var j memory
	var sink kept
	d := NewDriver(Config{Sinks: []Sink{&sink}}, newEngine(t, shards), &j)
	defer d.Close()
	var sum engine.Receipt
	for len(events) > 0 {
		n := min(len(events), cut())
		receipts, err := d.TakeAll(events[:n])
		if err != nil {
			t.Fatal(err)
		}
		for i := range receipts {
			sum.Add(&receipts[i])
		}
		events = events[n:]
	}
	if j.empty > 0 {
		t.Errorf("%d appends of nothing", j.empty)
	}
	for i, seq := range sink.seqs {
		if seq != uint64(i)+1 {
			t.Fatalf("the sink's record %d came with sequence %d", i+1, seq)
		}
	}
	if diff := cmp.Diff(text(j.log), text(sink.records)); diff != "" {
		t.Errorf("what the sink got is not what was journaled (-journal +sink):\n%s", diff)
	}
	return text(j.log), sum
}

// The log, its numbering included, depends on the order of the inputs and on
// nothing else: not on how rounds are cut and not on the shards.
func TestLogIndependentOfRoundsAndShards(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		events := story(seed, 40, 300)
		want, sum := drive(t, events, 1, func() int { return 1 })
		kinds := map[string]int{}
		for _, line := range want {
			var n int
			var kind string
			fmt.Sscan(line, &n, &kind)
			kinds[kind]++
		}
		for _, kind := range []string{"anomaly", "incident", "engine.Label", "engine.Undo", "engine.Performed", "engine.Tick"} {
			if kinds[kind] == 0 {
				t.Errorf("seed %d: the story makes no %s, so that it shows little: %v", seed, kind, kinds)
			}
		}
		rng := rand.New(rand.NewPCG(seed, 2))
		for _, c := range []struct {
			shards, most int
		}{{1, 1000}, {2, 1}, {2, 17}, {7, 5}, {7, 300}} {
			got, gotSum := drive(t, events, c.shards, func() int { return 1 + rng.IntN(c.most) })
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("seed %d, %d shards, rounds of up to %d: the log differs (-one by one +this):\n%.2000s", seed, c.shards, c.most, diff)
			}
			if sum != gotSum {
				t.Errorf("seed %d, %d shards: receipts add up to %+v, want %+v", seed, c.shards, gotSum, sum)
			}
		}
	}
}

// How requests were cut changes nothing: the same samples between the same
// ticks make the same log.
func TestLogIndependentOfRequests(t *testing.T) {
	events := story(3, 40, 300)
	oneByOne := func() int { return 1 }
	want, sum := drive(t, events, 2, oneByOne)
	rng := rand.New(rand.NewPCG(3, 3))
	var cut []engine.Event
	for _, ev := range events {
		b, ok := ev.(*engine.Batch)
		if !ok {
			cut = append(cut, ev)
			continue
		}
		for rest := b.Samples; len(rest) > 0; {
			n := 1 + rng.IntN(len(rest))
			cut = append(cut, &engine.Batch{Sender: b.Sender, Samples: rest[:n:n]})
			rest = rest[n:]
		}
	}
	got, gotSum := drive(t, cut, 2, oneByOne)
	// Within one event the order is canonical, so that over several it is the
	// same as a set between two ticks.
	if diff := cmp.Diff(unnumbered(want), unnumbered(got)); diff != "" {
		t.Errorf("the log differs (-whole +cut):\n%.2000s", diff)
	}
	if sum != gotSum {
		t.Errorf("receipts add up to %+v, want %+v", gotSum, sum)
	}
}

// unnumbered is the log as a sorted set, without its sequence numbers.
func unnumbered(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		for k := range line {
			if line[k] == ' ' {
				out[i] = line[k:]
				break
			}
		}
	}
	slices.Sort(out)
	return out
}

func TestReceiptsBalance(t *testing.T) {
	var j memory
	d := NewDriver(Config{}, newEngine(t, 3), &j)
	defer d.Close()
	fleet := gauges(50)
	rng := rand.New(rand.NewPCG(1, 1))
	if _, err := d.Take(engine.Tick{Now: start}); err != nil {
		t.Fatal(err)
	}
	var sent int
	for i := range 100 {
		at := start + int64(i)*15_000 - int64(rng.IntN(3))*15_000 // some repeat, some are out of order
		b := calm(fleet, at, rng)
		r, err := d.Take(b)
		if err != nil {
			t.Fatal(err)
		}
		sent += len(b.Samples)
		if r.Received != len(b.Samples) || !r.Balanced() {
			t.Fatalf("batch of %d: receipt %+v does not add up", len(b.Samples), r)
		}
		if _, err := d.Take(engine.Tick{Now: start + int64(i)*15_000}); err != nil {
			t.Fatal(err)
		}
	}
	s := d.Stats()
	if s.Receipts.Received != sent || !s.Receipts.Balanced() || s.Batches != 100 {
		t.Errorf("figures %+v over %d batches, want %d received, adding up", s.Receipts, s.Batches, sent)
	}
	if s.Receipts.Rejected() == 0 || s.Receipts.Scored == 0 {
		t.Errorf("rejected %d, scored %d: the test shows little", s.Receipts.Rejected(), s.Receipts.Scored)
	}
}

// A quiet fleet writes nothing; the first record after a tick brings the tick.
func TestTickIsJournaledBeforeTheFirstRecord(t *testing.T) {
	var j memory
	d := NewDriver(Config{}, newEngine(t, 1), &j)
	defer d.Close()
	take := func(ev engine.Event) {
		t.Helper()
		if _, err := d.Take(ev); err != nil {
			t.Fatal(err)
		}
	}
	undo := func(id string) engine.Undo { return engine.Undo{RequestID: id} }
	take(undo("before the first tick"))
	take(engine.Tick{Now: start})
	take(engine.Tick{Now: start + 1000})
	if j.appends != 1 {
		t.Fatalf("%d appends after ticks that cause nothing, want the one of the undo", j.appends)
	}
	take(undo("a"))
	take(undo("b"))
	take(engine.Tick{Now: start + 500}) // backwards: changes nothing
	take(undo("c"))
	take(engine.Tick{Now: start + 2000})
	take(undo("d"))
	want := []engine.Record{
		undo("before the first tick"),
		engine.Tick{Now: start + 1000},
		undo("a"), undo("b"), undo("c"),
		engine.Tick{Now: start + 2000},
		undo("d"),
	}
	if diff := cmp.Diff(want, j.log); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// The recorder gets every input, in order, before it is taken in; what it kept
// replays to the same log.
func TestRecordingReplays(t *testing.T) {
	events := story(4, 30, 200)
	var recorded tape
	var j memory
	d := NewDriver(Config{Recorder: &recorded}, newEngine(t, 2), &j)
	defer d.Close()
	for rest := events; len(rest) > 0; {
		n := min(9, len(rest))
		if _, err := d.TakeAll(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if len(recorded.events) != len(events) {
		t.Fatalf("%d inputs recorded of %d", len(recorded.events), len(events))
	}
	got, _ := drive(t, recorded.events, 1, func() int { return 1 })
	if diff := cmp.Diff(text(j.log), got); diff != "" {
		t.Errorf("the replay differs (-live +replay):\n%.2000s", diff)
	}
}

func TestDriverStopsForGood(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		j    *memory
	}{
		{"journal", Config{}, &memory{onAppend: func([]engine.Record) error { return errDisk }}},
		{"recorder", Config{Recorder: &tape{onRecord: func(engine.Event) error { return errDisk }}}, &memory{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sink kept
			c.cfg.Sinks = []Sink{&sink}
			d := NewDriver(c.cfg, newEngine(t, 2), c.j)
			defer d.Close()
			for range 2 {
				_, err := d.Take(engine.Undo{RequestID: "x"})
				if !errors.Is(err, ErrStopped) || !errors.Is(err, errDisk) {
					t.Errorf("got %v, want ErrStopped with the cause", err)
				}
			}
			if err := d.Sweep(); !errors.Is(err, errDisk) {
				t.Errorf("sweep after the end: %v", err)
			}
			if len(sink.records) > 0 || len(c.j.pages) > 0 {
				t.Error("something was delivered or stored that is not durable")
			}
		})
	}
}

// The dry run of a replay: the driver performs at once and takes the answers in
// at the tick's time, as the next round.
func TestDriverPerforms(t *testing.T) {
	var j memory
	asked := map[engine.ActionID]int{}
	act := actuator(func(a engine.Action) (engine.Result, string, error) {
		asked[a.ID]++
		return engine.ResultDone, "told", nil
	})
	d := NewDriver(Config{Actuator: act}, newEngine(t, 2), &j)
	defer d.Close()
	decided := spikes(t, func(ev engine.Event) {
		if _, err := d.Take(ev); err != nil {
			t.Fatal(err)
		}
	}, &j)
	if len(decided) == 0 {
		t.Fatal("the spikes lead to no action, so that the test shows nothing")
	}
	answered := 0
	var tick int64
	for _, r := range j.log {
		switch r := r.(type) {
		case engine.Tick:
			tick = r.Now
		case engine.Performed:
			answered++
			if asked[r.Action] != 1 || r.At != tick || r.Result != engine.ResultDone {
				t.Errorf("answer %+v at tick %d, asked %d times", r, tick, asked[r.Action])
			}
		}
	}
	if answered != len(decided) || len(asked) != len(decided) {
		t.Errorf("%d decided, %d asked, %d answered", len(decided), len(asked), answered)
	}
	if s := d.Stats(); s.ActionsDone != uint64(answered) {
		t.Errorf("figures count %d done, want %d", s.ActionsDone, answered)
	}
}

// Sweep stores every page that is dirty, as of what is durable.
func TestDriverSweeps(t *testing.T) {
	var j memory
	e := newEngine(t, 2)
	d := NewDriver(Config{SweepBytes: 1}, e, &j)
	defer d.Close()
	spikes(t, func(ev engine.Event) {
		if _, err := d.Take(ev); err != nil {
			t.Fatal(err)
		}
	}, &j)
	dirty := e.DirtyPages()
	if err := d.Sweep(); err != nil {
		t.Fatal(err)
	}
	if len(dirty) == 0 || len(j.pages) != len(dirty) || len(e.DirtyPages()) != 0 || j.settles != 1 || j.early != 0 {
		t.Errorf("%d pages dirty, %d stored, %d still dirty, %d settle records, %d too early",
			len(dirty), len(j.pages), len(e.DirtyPages()), j.settles, j.early)
	}
	if s := d.Stats(); s.Pages != uint64(len(dirty)) || s.Sweeps != 1 || s.PageBytes == 0 {
		t.Errorf("figures %+v", s)
	}
}

// What a sweep stores is what a new life needs: from the pages and the settle
// record an engine goes on as the one that wrote them. Only the tick in force is
// written once more, because a new life cannot know that it was.
func TestStoredPagesRestore(t *testing.T) {
	events := story(6, 40, 300)
	half := len(events) / 2
	var j memory
	d := NewDriver(Config{}, newEngine(t, 2), &j)
	defer d.Close()
	if _, err := d.TakeAll(events[:half]); err != nil {
		t.Fatal(err)
	}
	if err := d.Sweep(); err != nil {
		t.Fatal(err)
	}
	if len(j.steps) >= len(j.pages) {
		t.Fatalf("%d pages in %d steps: no step holds two, so that their cut is not tested", len(j.pages), len(j.steps))
	}
	e := newEngine(t, 7)
	for id, b := range j.bytes {
		if err := e.LoadPage(id, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.LoadSettle(j.settle); err != nil {
		t.Fatal(err)
	}
	before := len(j.log)
	if _, err := d.TakeAll(events[half:]); err != nil {
		t.Fatal(err)
	}
	var j2 memory
	d2 := NewDriver(Config{}, e, &j2)
	defer d2.Close()
	if _, err := d2.TakeAll(events[half:]); err != nil {
		t.Fatal(err)
	}
	withoutTicks := func(records []engine.Record) []string {
		return text(slices.DeleteFunc(slices.Clone(records), func(r engine.Record) bool { _, ok := r.(engine.Tick); return ok }))
	}
	want, got := withoutTicks(j.log[before:]), withoutTicks(j2.log)
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 20 {
		t.Errorf("%d records; the new life differs (-old +new):\n%.2000s", len(want), diff)
	}
}

// An input stands in the log before what it caused, after the tick in force.
func TestInputBeforeItsEffects(t *testing.T) {
	r := newRound(Config{}.withDefaults(), newEngine(t, 1), &Numbers{}, newCounts(1))
	r.tick = start
	r.fx.Records = []engine.Record{engine.Outcome{Why: "caused"}}
	r.collect(engine.Undo{RequestID: "cause"})
	want := []engine.Record{engine.Tick{Now: start}, engine.Undo{RequestID: "cause"}, engine.Outcome{Why: "caused"}}
	if diff := cmp.Diff(want, r.records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// A calm round makes no garbage for a sample: what a round allocates does not
// grow with its samples.
func TestNoAllocationForASample(t *testing.T) {
	measure := func(series int) float64 {
		var j memory
		d := NewDriver(Config{}, newEngine(t, 2), &j)
		defer d.Close()
		rng := rand.New(rand.NewPCG(5, 5))
		b := calm(gauges(series), start, rng)
		next := func() {
			for i := range b.Samples {
				b.Samples[i].At += 15_000
				b.Samples[i].Value = 100 + float64(rng.IntN(3))
			}
			if _, err := d.Take(b); err != nil {
				t.Fatal(err)
			}
		}
		for range 50 {
			next()
		}
		return testing.AllocsPerRun(100, next)
	}
	few, many := measure(50), measure(1000)
	if many-few > 20 {
		t.Errorf("a round of 50 samples allocates %v times, one of 1,000 %v times", few, many)
	}
}
