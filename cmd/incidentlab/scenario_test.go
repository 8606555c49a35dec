package main

import (
	"cmp"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// eachSchedule calls f for the schedule of every scenario and many seeds.
func eachSchedule(t *testing.T, f func(t *testing.T, p plan)) {
	t.Helper()
	for _, name := range scenarioNames() {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(300) {
				p, err := schedule(name, seed)
				if err != nil {
					t.Fatal(err)
				}
				f(t, p)
				if t.Failed() {
					t.Fatalf("with seed %d: %+v", seed, p)
				}
			}
		})
	}
}

func TestAScheduleDependsOnScenarioAndSeedAlone(t *testing.T) {
	for _, name := range scenarioNames() {
		one, err := schedule(name, 7)
		if err != nil {
			t.Fatal(err)
		}
		if same, _ := schedule(name, 7); !reflect.DeepEqual(one, same) {
			t.Errorf("%s: one seed made two schedules:\n%+v\n%+v", name, one, same)
		}
		if other, _ := schedule(name, 8); reflect.DeepEqual(one, other) {
			t.Errorf("%s: two seeds made one schedule: %+v", name, one)
		}
	}
	if _, err := schedule("earthquake", 1); err == nil {
		t.Error("a scenario that there is not was scheduled")
	}
}

func TestEventsLieInsideTheirRecording(t *testing.T) {
	eachSchedule(t, func(t *testing.T, p plan) {
		if !slices.IsSortedFunc(p.events, func(a, b event) int { return cmp.Compare(a.from, b.from) }) {
			t.Error("the events are not in order of time")
		}
		for _, e := range p.events {
			if e.from < 30*time.Minute || e.to > p.length-30*time.Minute || e.from >= e.to {
				t.Errorf("%s lasts from %v to %v: want it half an hour from both ends", e.kind, e.from, e.to)
			}
			if !e.harmless && e.from < p.learning+30*time.Minute || e.harmless && e.from < p.learning && e.to > p.learning {
				t.Errorf("%s lasts from %v to %v: a fault lies after the learning stretch, a nuisance in it or after it", e.kind, e.from, e.to)
			}
			if e.instance >= instances[e.service] {
				t.Errorf("%s concerns instance %d of %s, which has %d", e.kind, e.instance, e.service, instances[e.service])
			}
		}
		truth := (&recorder{scenario: "any", name: "any", compression: usualCompression, scrape: usualScrape}).truth(p)
		if err := truth.Validate(); err != nil {
			t.Error(err)
		}
	})
}

// TestNoAlarmCanBeTheEchoOfTwo holds the margins: after a fault nothing else
// begins until its aftermath is over.
func TestNoAlarmCanBeTheEchoOfTwo(t *testing.T) {
	eachSchedule(t, func(t *testing.T, p plan) {
		for i, e := range p.events {
			for _, next := range p.events[i+1:] {
				gap, want := next.from-e.to, 90*time.Minute
				switch {
				case e.harmless:
					want = clearAfter
				case next.harmless:
					want = clearBefore
				}
				if gap < want {
					t.Errorf("%s ends %v before %s begins: want at least %v", e.kind, gap, next.kind, want)
				}
				if !e.harmless && gap <= scorecard.Aftermath {
					t.Errorf("%s begins in the aftermath of %s", next.kind, e.kind)
				}
			}
		}
	})
}

func TestEveryKindIsPlantedSomewhere(t *testing.T) {
	planted, culprits := map[scorecard.Kind]int{}, map[string]bool{}
	hours := map[int]bool{}
	for _, name := range scenarioNames() {
		for seed := range uint64(50) {
			p, err := schedule(name, seed)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(p.events) - nuisancesOf(p); got != len(scenarios[name].faults) {
				t.Errorf("%s with seed %d has %d faults: want %d", name, seed, got, len(scenarios[name].faults))
			}
			hours[p.start.Hour()] = true
			for _, e := range p.events {
				planted[e.kind]++
				if !e.harmless {
					culprits[e.service] = true
				}
			}
		}
	}
	for _, kind := range append(slices.Clone(scorecard.Kinds), batchJob, restart, noisyNeighbour) {
		if planted[kind] == 0 {
			t.Errorf("no schedule has a %s", kind)
		}
	}
	if len(hours) != 24 {
		t.Errorf("recordings begin at %d hours of the day", len(hours))
	}
	for _, service := range services {
		if !culprits[service] {
			t.Errorf("nothing ever happens to %s", service)
		}
	}
}

func nuisancesOf(p plan) (n int) {
	for _, e := range p.events {
		if e.harmless {
			n++
		}
	}
	return n
}

// TestEveryEventHasWords sees that a truth file can be read by a person.
func TestEveryEventHasWords(t *testing.T) {
	eachSchedule(t, func(t *testing.T, p plan) {
		for _, e := range p.events {
			if e.words() == string(e.kind) {
				t.Errorf("%s has no words", e.kind)
			}
		}
	})
}
