package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/ingest/history"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/incidents anew")

const checkout = "../../testdata/incidents/checkout_latency.csv"

// checkoutFaults are what was planted into the recording.
var checkoutFaults = []struct {
	column   string
	from, to time.Duration // since the start
	factor   float64
	kinds    []engine.Kind // that name it well
}{
	{"latency_seconds", 38 * time.Hour, 38*time.Hour + 14*time.Minute, 6, []engine.Kind{engine.KindLatencyRise, engine.KindSpike, engine.KindLevelShift}},
	{"requests_per_second", 44 * time.Hour, 44*time.Hour + 12*time.Minute, 0.1, []engine.Kind{engine.KindTrafficDrop, engine.KindDip, engine.KindLevelShift}},
}

// TestCheckoutRecording sees that the recording is what its maker makes, and that
// a replay of it finds the faults and nothing else.
func TestCheckoutRecording(t *testing.T) {
	made := makeCheckout()
	if *rewrite {
		if err := os.WriteFile(checkout, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(checkout)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, made) {
		t.Errorf("%s isn't what makeCheckout makes: run go test -run %s -rewrite", filepath.Base(checkout), t.Name())
	}
	var opened []*engine.Anomaly
	for _, r := range replayed(t, checkout) {
		if a, ok := r.(*engine.Anomaly); ok && a.Revision == engine.Opened {
			opened = append(opened, a)
		}
	}
	for _, f := range checkoutFaults {
		from, to := checkoutStart.Add(f.from).UnixMilli(), checkoutStart.Add(f.to).UnixMilli()
		i := slices.IndexFunc(opened, func(a *engine.Anomaly) bool {
			return a.Series.Labels.Get("__name__") == f.column && a.OpenedAt >= from && a.OpenedAt <= to
		})
		if i < 0 {
			t.Errorf("nothing opened on %s between %v and %v", f.column, f.from, f.to)
			continue
		}
		if a := opened[i]; !slices.Contains(f.kinds, a.Kind) {
			t.Errorf("the fault of %s counts as %s, want one of %v", f.column, a.Kind, f.kinds)
		}
		opened = slices.Delete(opened, i, i+1)
	}
	for _, a := range opened {
		t.Errorf("a false alarm: %s on %s at %v, %.4g instead of %.4g", a.Kind, a.Series.Labels, time.UnixMilli(a.OpenedAt).UTC(), a.Value, a.Expected)
	}
}

var checkoutStart = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// makeCheckout makes two days of a checkout service at one point a minute: the
// p99 of its latency and its traffic, which follows the day. The last column says
// where a fault was planted.
func makeCheckout() []byte {
	r := rand.New(rand.NewPCG(2026, 3))
	var b bytes.Buffer
	fmt.Fprintln(&b, "timestamp,latency_seconds,requests_per_second,label")
	for minute := range 2 * 24 * 60 {
		since := time.Duration(minute) * time.Minute
		day := 1 - math.Cos(2*math.Pi*since.Hours()/24)
		values := map[string]float64{
			"latency_seconds":     0.080 * (1 + 0.15*day) * math.Exp(0.06*r.NormFloat64()),
			"requests_per_second": 40 + 60*day + 3*r.NormFloat64(),
		}
		label := 0
		for _, f := range checkoutFaults {
			if since >= f.from && since < f.to {
				values[f.column] *= f.factor
				label = 1
			}
		}
		fmt.Fprintf(&b, "%s,%.4f,%.2f,%d\n", checkoutStart.Add(since).Format("2006-01-02T15:04:05Z"), values["latency_seconds"], values["requests_per_second"], label)
	}
	return b.Bytes()
}

// replayed is what a file comes to with the shipped configuration.
func replayed(t *testing.T, path string) []engine.Record {
	t.Helper()
	e, err := engine.New(engine.Config{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	source, err := history.Open(history.Config{Naming: e.Naming()}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	seen := &collector{}
	d := loop.NewDriver(loop.Config{Sinks: []loop.Sink{seen}}, e, &loop.Numbers{})
	defer d.Close()
	for {
		ev, err := source.Next()
		if errors.Is(err, io.EOF) {
			return seen.records
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Take(ev); err != nil {
			t.Fatal(err)
		}
	}
}
