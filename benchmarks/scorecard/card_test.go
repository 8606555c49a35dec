package scorecard

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }

// day is a recording of ten hours, two of them for learning, with two faults.
func day() Truth {
	return Truth{
		Name: "day", Seed: 1, Compression: 60, ScrapeSeconds: 60, Start: at(0), ScoredFrom: at(120), End: at(600),
		Faults: []Fault{
			{Kind: Latency, Start: at(200), End: at(230), Workload: "shop/payment", Words: "slow"},
			{Kind: Drop, Start: at(400), End: at(420), Workload: "shop/front", Words: "no one comes"},
		},
		Nuisances: []Fault{{Kind: "restart", Start: at(500), End: at(501), Workload: "shop/cart", Words: "restarted"}},
	}
}

func TestAnAlarmCountsOnceAndOnlyInItsTime(t *testing.T) {
	truth := day()
	card := Judge(&truth, []Alarm{
		{At: at(501), Workload: "shop/cart"},    // a nuisance excuses nothing
		{At: at(100), Workload: "shop/cart"},    // while learning
		{At: at(199), Workload: "shop/payment"}, // before the fault
		{At: at(203), Workload: "shop/cart"},    // finds it, and names another
		{At: at(210), Workload: "shop/payment"}, // names it
		{At: at(250), Workload: "shop/payment"}, // its echo
		{At: at(262), Workload: "shop/payment"}, // too late for an echo
		{At: at(421), Workload: "shop/front"},   // one scrape after the end
	})
	want := []Verdict{Learning, False, Found, Repeat, Repeat, False, Found, False}
	for i, j := range card.Alarms {
		if j.Verdict != want[i] {
			t.Errorf("alarm at minute %v: verdict %d, want %d", j.At.Sub(start).Minutes(), j.Verdict, want[i])
		}
	}
	if card.False != 3 {
		t.Errorf("%d false alarms, want 3", card.False)
	}
	first := card.Lines[0]
	if !first.Found || first.Delay != 3*time.Minute || !first.Named {
		t.Errorf("the first fault: %+v", first)
	}
	var sum Sum
	sum.Add(&card)
	if sum.Found != 2 || sum.Named != 2 || sum.MedianDelay() != 12*time.Minute {
		t.Errorf("the sum: %+v, median delay %v", sum, sum.MedianDelay())
	}
}

// An echo finds nothing: an alarm must start while the fault lasts.
func TestAnEchoFindsNothing(t *testing.T) {
	truth := day()
	card := Judge(&truth, []Alarm{{At: at(232), Workload: "shop/payment"}})
	if card.Lines[0].Found || card.Lines[0].Named || card.False != 0 {
		t.Errorf("%+v", card)
	}
}

// Nobody planned that the machine stood still: what it did to the shop is real,
// and no false alarm. It finds no fault either.
func TestAStallExcusesWhatItCaused(t *testing.T) {
	truth := day()
	truth.Stalls = []Stall{{Start: at(300), End: at(302), Longest: 80}, {Start: at(225), End: at(226), Longest: 50}}
	card := Judge(&truth, []Alarm{{At: at(299)}, {At: at(301)}, {At: at(312)}, {At: at(313)}})
	want := []Verdict{False, Stalled, Stalled, False}
	for i, j := range card.Alarms {
		if j.Verdict != want[i] {
			t.Errorf("alarm %d: verdict %d, want %d", i, j.Verdict, want[i])
		}
	}
	if card.False != 2 || card.Lines[0].Found {
		t.Errorf("%+v", card)
	}
	if card := Judge(&truth, []Alarm{{At: at(225)}}); !card.Lines[0].Found {
		t.Error("a stall within a fault hides the fault")
	}
}

func TestTruthIsStrict(t *testing.T) {
	good := day()
	b, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(b); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Truth){
		"unknown": func(t *Truth) { t.Faults[0].Kind = "gremlins" },
		"length":  func(t *Truth) { t.Faults[0].End = t.Faults[0].Start },
		"scored":  func(t *Truth) { t.Faults[0].Start = at(10) },
		"outside": func(t *Truth) { t.Nuisances[0].Start = t.Start.Add(-time.Minute) },
		"names":   func(t *Truth) { t.Faults[1].Workload = "" },
		"want":    func(t *Truth) { t.ScoredFrom = t.End },
	} {
		bad := day()
		change(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	if _, err := Parse([]byte(`{"name":"x","colour":"red"}`)); err == nil {
		t.Error("an unknown key was taken")
	}
}
