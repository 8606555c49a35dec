package store

import (
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
)

var rewrite = flag.Bool("rewrite", false, "make testdata/format-v1 and its description anew")

const (
	fixture     = "testdata/format-v1"
	fixtureTold = "testdata/format-v1.txt"
)

// makeFixture writes a small store: a log of several segments, labels beyond it,
// pages in two versions with every part that a slot or a group has, a settle
// record, and a recording beside.
func makeFixture(t *testing.T, dir string) {
	s, err := Open(dir, Config{SegmentBytes: 2 << 10, MinFreeBytes: 1, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	e := fixtureEngine(t)
	if _, err := s.Restore(e); err != nil {
		t.Fatal(err)
	}
	drive(t, s, e, 0, 150, true)
	if _, err := s.Append([]engine.Record{
		engine.Label{RequestID: "one", Anomaly: 7, Series: 8, Partition: 9, Judgement: engine.JudgedFalse, By: "ann", Note: "a deployment", At: 1_700_000_000_000},
		engine.Undo{RequestID: "two", Label: "one", By: "ann", At: 1_700_000_001_000},
		engine.Performed{Action: 5, Result: engine.ResultDone, Detail: "sent", At: 1_700_000_002_000},
	}); err != nil {
		t.Fatal(err)
	}
	drive(t, s, e, 150, 500, true)
	drive(t, s, e, 500, 600, true)
	driveKinds(t, s, e)
	if rep, err := s.Retire(Retention{Bytes: 6 << 10}); err != nil || rep.Segments == 0 || rep.Labels == 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if err := s.EndInOrder(); err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	record(t, osDisk{}, filepath.Join(dir, "inputs.rec"), inputs(5))
	// Badger makes these anew, and one is a megabyte of zeros.
	for _, name := range []string{"LOCK", "pages/LOCK", "pages/DISCARD"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

// kindsAt is when driveKinds begins, ms; a page of it holds what three days teach.
const kindsAt = 1_700_000_000_000 + 6*3600*1000

// kinds are the labels of what driveKinds sends.
var kinds = struct{ day, ok, failed, bucket, native labels.Labels }{
	day:    labels.FromStrings("__name__", "sessions", "job", "shop"),
	ok:     labels.FromStrings("__name__", "http_requests_total", "code", "200", "job", "shop"),
	failed: labels.FromStrings("__name__", "http_requests_total", "code", "500", "job", "shop"),
	bucket: labels.FromStrings("__name__", "http_seconds_bucket", "job", "shop"),
	native: labels.FromStrings("__name__", "rpc_seconds", "job", "shop"),
}

// measured are the series that something is learnt of, made from kinds.
var measured = []labels.Labels{
	kinds.day, kinds.ok, kinds.failed,
	labels.FromStrings("__name__", "http_requests_total:error_ratio", "job", "shop"),
	labels.FromStrings("__name__", "http_seconds:p50", "job", "shop"),
	labels.FromStrings("__name__", "http_seconds:p99", "job", "shop"),
	labels.FromStrings("__name__", "rpc_seconds:rate", "job", "shop"),
	labels.FromStrings("__name__", "rpc_seconds:p50", "job", "shop"),
	labels.FromStrings("__name__", "rpc_seconds:p99", "job", "shop"),
	labels.FromStrings("__name__", "depth", "job", "api"),
}

// driveKinds sends three days, each five minutes, of everything that is measured
// in a way of its own: a gauge with a day, counters by code, a classic histogram
// and a native one. A spike opens an anomaly, a label moves its threshold, an undo
// and a label more are kept, and at the end an episode is open.
func driveKinds(t *testing.T, s *Store, e *engine.Engine) {
	t.Helper()
	var opened engine.Anomaly
	d := loop.NewDriver(loop.Config{Sinks: []loop.Sink{sinkFunc(func(records []engine.Record) {
		for _, r := range records {
			if a, ok := r.(*engine.Anomaly); ok && a.Revision == engine.Opened && a.Series.Labels.Get("__name__") == "sessions" {
				opened = *a
			}
		}
	})}}, e, s)
	defer d.Close()
	take := func(ev engine.Event) {
		if _, err := d.Take(ev); err != nil {
			t.Fatal(err)
		}
	}
	series := func(ls labels.Labels, more ...string) *engine.Series {
		b := labels.NewBuilder(ls)
		for i := 0; i < len(more); i += 2 {
			b.Set(more[i], more[i+1])
		}
		return e.Naming().NewSeries(b.Labels(), engine.TypeUnknown)
	}
	total := map[string]float64{}
	const turns = 3 * 24 * 12
	for n := range turns {
		at := int64(kindsAt + n*300_000)
		wobble := float64(n * 7919 % 13)
		b := &engine.Batch{Sender: "fixture"}
		add := func(s *engine.Series, v float64) {
			b.Samples = append(b.Samples, engine.Sample{Series: s, Partition: s.Partition, At: at, Value: v})
		}
		count := func(s *engine.Series, by float64) {
			total[s.Labels.String()] += by
			add(s, total[s.Labels.String()])
		}
		day := 1000 + 40*wobble + 400*math.Sin(2*math.Pi*float64(n%288)/288)
		if n == 700 || n >= turns-3 {
			day += 4000
		}
		add(series(kinds.day), day)
		count(series(kinds.ok), 3000+10*wobble)
		count(series(kinds.failed), 5+float64(n%3))
		for i, le := range []string{"0.1", "0.5", "1", "+Inf"} {
			count(series(kinds.bucket, "le", le), []float64{100 + wobble, 190, 198, 200}[i])
		}
		native := series(kinds.native)
		b.Histograms = append(b.Histograms, engine.HistogramSample{
			Series: native, At: at, Count: float64(100 * (n + 1)), Sum: float64(20 * (n + 1)),
			Buckets: []engine.Bucket{{Lower: 0.1, Upper: 0.2, Count: float64(60 * (n + 1))}, {Lower: 0.2, Upper: 0.4, Count: float64(40 * (n + 1))}},
		})
		take(b)
		take(engine.Tick{Now: at + 20_000})
		switch n {
		case 710:
			if opened.ID == 0 {
				t.Fatal("the spike opened nothing")
			}
			take(engine.Label{RequestID: "three", Anomaly: opened.ID, Series: opened.Series.ID, Partition: opened.Series.Partition, Judgement: engine.JudgedFalse, By: "ben", At: at})
		case 720:
			take(engine.Label{RequestID: "four", Anomaly: 1, Series: opened.Series.ID, Partition: opened.Series.Partition, Judgement: engine.JudgedTrue, By: "ben", At: at})
			take(engine.Undo{RequestID: "five", Label: "four", By: "ben", At: at})
		}
		if n == turns/2 || n == turns-1 {
			if err := d.Sweep(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

type sinkFunc func([]engine.Record)

func (f sinkFunc) Deliver(_ uint64, records []engine.Record) { f(records) }

// learnt says what an engine knows of each measured series, so that a part which
// is no longer read does not pass for one that is.
func learnt(t *testing.T, e *engine.Engine) string {
	t.Helper()
	var b strings.Builder
	for _, ls := range measured {
		base, ok := e.Baseline(e.Naming().NewSeries(ls, engine.TypeUnknown).ID)
		if !ok {
			t.Errorf("nothing is known of %s", ls)
			continue
		}
		fmt.Fprintf(&b, "baseline %s points %d warm %v season %v alarm %v interval %d expected %.6g in [%.6g, %.6g] threshold %d version %d by %s deep %d\n",
			ls, base.Points, base.Warm, base.Season, base.Alarm, base.IntervalMS, base.Expected, base.Lower, base.Upper,
			base.Threshold.Open, base.Threshold.Version, base.Threshold.Cause, base.Deep)
	}
	return b.String()
}

// fixtureEngine is an engine whose deep tier looks at one series.
func fixtureEngine(t *testing.T) *engine.Engine {
	t.Helper()
	e, err := engine.New(engine.Config{Deep: engine.Deep{Match: func(ls labels.Labels) bool { return ls.Get("__name__") == "depth" }}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// tell describes a store to the byte, but for what Badger calls its files.
func tell(t *testing.T, dir string) string {
	var b strings.Builder
	rep, err := Inspect(dir)
	if err != nil || !rep.Sound() {
		t.Fatalf("%v: %+v", err, rep)
	}
	for _, l := range []LogReport{rep.Log, rep.Labels} {
		fmt.Fprintln(&b, l.First, l.Last, l.Tip, l.Kinds)
		for _, s := range l.Segments {
			fmt.Fprintln(&b, s.Name, s.Bytes, s.Records)
		}
	}
	s, err := Open(dir, Config{MinFreeBytes: 1, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.log.scan(0, func(seq uint64, p []byte) error {
		_, err := fmt.Fprintf(&b, "record %d %08x\n", seq, crc32.ChecksumIEEE(p))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range [][]byte{pagePrefix, settlePrefix, orderPrefix} {
		if err := eachStored(s.pages.db, prefix, func(p stored) error {
			for _, v := range p.versions {
				fmt.Fprintf(&b, "value %d %d %d turn %d as of %d swept %d %08x\n", v.kind, v.id.Partition, v.id.Number, v.turn, v.asOf, v.swept, crc32.ChecksumIEEE(v.bytes))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Labels(func(seq uint64, r engine.Record) error {
		_, err := fmt.Fprintf(&b, "said %d %+v\n", seq, r)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	p, err := OpenRecording(filepath.Join(dir, "inputs.rec"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got, err := play(p)
	fmt.Fprintln(&b, "inputs", len(got), err)
	if err != io.EOF {
		t.Fatal(err)
	}
	return b.String()
}

// A store that this format's first version wrote opens, holds what it held, and
// restores an engine.
func TestFormatVersion1Opens(t *testing.T) {
	if *rewrite {
		if err := os.RemoveAll(fixture); err != nil {
			t.Fatal(err)
		}
		makeFixture(t, fixture)
	}
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(dir, os.DirFS(fixture)); err != nil {
		t.Fatal(err)
	}
	told := tell(t, dir)
	s := open(t, dir, Config{})
	defer s.Close()
	e := fixtureEngine(t)
	rep, err := s.Restore(e)
	if err != nil {
		t.Fatal(err)
	}
	told += learnt(t, e)
	if *rewrite {
		if err := os.WriteFile(fixtureTold, []byte(told), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(fixtureTold)
	if err != nil {
		t.Fatal(err)
	}
	if told != string(want) {
		t.Fatalf("the store holds\n%s\nand should hold\n%s", told, want)
	}
	if !rep.Clean || rep.Pages == 0 || len(rep.Lost) != 0 || rep.Gone != 0 {
		t.Fatalf("%+v", rep)
	}
	if series, measurements := e.Size(); series != 15 || measurements != len(measured) {
		t.Fatalf("%d series and %d measurements came back", series, measurements)
	}
}

func TestANewerStoreIsRefused(t *testing.T) {
	dir := t.TempDir()
	closed(t, open(t, dir, Config{}))
	for text, want := range map[string]error{"homeostat store 2\n": ErrNewer, "homeostat store x\n": ErrDamaged, "": ErrDamaged} {
		if err := os.WriteFile(filepath.Join(dir, versionName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Config{}); err == nil || !strings.Contains(err.Error(), want.Error()) {
			t.Fatalf("VERSION %q: %v", text, err)
		}
	}
}
