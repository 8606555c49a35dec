package lean

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/modeltest"
)

const minute = modeltest.Minute

// follow runs a baseline over n values at a step in ms and returns how many
// alarms it opened.
func follow(b *Baseline, alarm *models.Alarm, at *int64, step int64, n int, next func() float64) (opened int) {
	var r models.Reading
	for range n {
		*at += step
		x := next()
		b.Score(*at, x, &r)
		if alarm.Step(r.Score, open, open/2) == models.Opened {
			opened++
		}
		b.Learn(*at, x, &r, models.WeightOf(r.Score))
	}
	return opened
}

// newYork is the zone around the two changes of 2024.
var newYork = []models.Transition{
	{At: time.Date(2023, 11, 5, 6, 0, 0, 0, time.UTC).UnixMilli(), OffsetSeconds: -5 * 3600},
	{At: time.Date(2024, 3, 10, 7, 0, 0, 0, time.UTC).UnixMilli(), OffsetSeconds: -4 * 3600},
	{At: time.Date(2024, 11, 3, 6, 0, 0, 0, time.UTC).UnixMilli(), OffsetSeconds: -5 * 3600},
}

// localSeason is a sharp-edged working day by the wall clock of a zone.
func localSeason(zone models.Zone, at *int64, step int64, noise func() float64) func() float64 {
	return func() float64 {
		hour := float64((zone.Local(*at+step)%(24*3600*1000)+24*3600*1000)%(24*3600*1000)) / 3600_000
		day := 100 / (1 + math.Exp(-(hour-8.5)*8)) / (1 + math.Exp((hour-18)*8))
		return 200 + day + (noise()-100)/5
	}
}

func TestClockChangeRaisesNothing(t *testing.T) {
	for _, change := range newYork[1:] {
		m := shipped(t, Config{Zone: newYork})
		b, alarm := NewBaseline(m), models.Alarm{}
		at := change.At - 20*24*3600*1000
		next := localSeason(newYork, &at, minute, modeltest.White.Start(3))
		follow(b, &alarm, &at, minute, 19*24*60, next)
		if b.Season() == nil {
			t.Fatal("a sharp working day makes no season")
		}
		if n := follow(b, &alarm, &at, minute, 4*24*60, next); n != 0 {
			t.Errorf("the change of %v: %d alarms around it", time.UnixMilli(change.At).UTC(), n)
		}
	}
}

func TestSeasonIsMadeOnEvidenceOnly(t *testing.T) {
	for _, c := range []struct {
		noise modeltest.Noise
		want  bool
	}{
		{modeltest.Seasonal, true},
		{modeltest.White, false},
		{modeltest.StudentT3, false},
		{modeltest.RandomWalk, false},
		{modeltest.Counts, false},
	} {
		made := 0
		for seed := range uint64(10) {
			b, at := NewBaseline(shipped(t, Config{})), int64(0)
			follow(b, new(models.Alarm), &at, minute, 14*24*60, c.noise.Start(seed))
			if b.Season() != nil {
				made++
			}
		}
		t.Logf("%s: %d of 10", c.noise.Name, made)
		if c.want && made < 10 || !c.want && made > 2 {
			t.Errorf("%s: %d of 10 series made a season", c.noise.Name, made)
		}
	}
}

func TestSeasonBettersTheForecast(t *testing.T) {
	b, at := NewBaseline(shipped(t, Config{})), int64(0)
	next := localSeason(nil, &at, minute, modeltest.White.Start(4))
	follow(b, new(models.Alarm), &at, minute, 14*24*60, next)
	s := b.Season()
	if s == nil {
		t.Fatal("no season")
	}
	if s.Error(at) > 0.8*float64(b.core.run) {
		t.Errorf("the season errs by %v, the plain level by %v", s.Error(at), b.core.run)
	}
}

// TestWeekIsUsedOnEvidence: on Sundays nobody works.
func TestWeekIsUsedOnEvidence(t *testing.T) {
	weekday := func(free bool) float64 {
		b, at := NewBaseline(shipped(t, Config{})), int64(0)
		day := localSeason(nil, &at, minute, modeltest.White.Start(5))
		follow(b, new(models.Alarm), &at, minute, 8*7*24*60, func() float64 {
			x := day()
			if free && (at+minute)/(24*3600*1000)%7 == 3 {
				x = 200 + math.Mod(x, 1)
			}
			return x
		})
		return float64(b.Season().WeekRun) / float64(b.Season().Run)
	}
	if r := weekday(true); r > 0.9 {
		t.Errorf("with a free day the week errs %.2f times what the day does", r)
	}
	if r := weekday(false); r < 0.9 {
		t.Errorf("with all days the same the week errs %.2f times what the day does", r)
	}
}

func TestBoundsAreTheCounterfactual(t *testing.T) {
	for _, kind := range []modeltest.Noise{modeltest.White, modeltest.Seasonal, modeltest.RandomWalk, modeltest.StudentT3, modeltest.MostlyZero} {
		b, at := NewBaseline(shipped(t, Config{})), int64(0)
		next := kind.Start(6)
		if _, _, ok := b.Bounds(minute, open); ok {
			t.Error("a baseline that is not warm has bounds")
		}
		follow(b, new(models.Alarm), &at, minute, 3*24*60, next)
		found := 0
		for range 200 {
			follow(b, new(models.Alarm), &at, minute, 7, next)
			lower, upper, ok := b.Bounds(at+minute, open)
			if !ok {
				continue
			}
			found++
			score := func(x float64) models.Score {
				var r models.Reading
				b.Score(at+minute, x, &r)
				return r.Score
			}
			if lower > upper {
				t.Fatalf("%s: bounds %v to %v", kind.Name, lower, upper)
			}
			for _, x := range []float64{lower, upper} {
				if score(x) >= open {
					t.Fatalf("%s: bound %v itself scores %v", kind.Name, x, score(x).Float())
				}
			}
			if score(math.Nextafter(lower, math.Inf(-1))) < open || score(math.Nextafter(upper, math.Inf(1))) < open {
				t.Fatalf("%s: one step beyond %v to %v is quiet", kind.Name, lower, upper)
			}
		}
		if found < 180 {
			t.Errorf("%s: bounds at %d of 200 points", kind.Name, found)
		}
	}
}

func TestInheritedSizesSpareARollout(t *testing.T) {
	m := shipped(t, Config{})
	old, at := NewBaseline(m), int64(0)
	follow(old, new(models.Alarm), &at, minute, 5*24*60, modeltest.White.Start(7))
	alarms, caught := 0, 0
	for pod := range uint64(50) {
		b, a, now := NewBaseline(m), models.Alarm{}, at
		next := modeltest.White.Start(100 + pod)
		if b.core.Inherit(&old.core) {
			t.Fatal("a series without a point inherits")
		}
		follow(b, &a, &now, minute, 1, next)
		if !b.core.Inherit(&old.core) {
			t.Fatal("a new series does not inherit")
		}
		alarms += follow(b, &a, &now, minute, 20, next)
		if follow(b, &a, &now, minute, 2, func() float64 { return 200 }) == 1 {
			caught++
		}
	}
	if alarms > 0 || caught < 50 {
		t.Errorf("50 new pods: %d false alarms in 20 points, %d of 50 faults of 20 deviations found after them", alarms, caught)
	}
	if old.core.Inherit(&old.core) {
		t.Error("a warm series inherits")
	}
}

func TestOwnEvidenceBeatsWhatWasInherited(t *testing.T) {
	m := shipped(t, Config{})
	old, at := NewBaseline(m), int64(0)
	follow(old, new(models.Alarm), &at, minute, 5*24*60, modeltest.White.Start(8))
	// The new pod deviates a tenth as much.
	white := modeltest.White.Start(9)
	calm := func() float64 { return 100 + (white()-100)/10 }
	b := NewBaseline(m)
	follow(b, new(models.Alarm), &at, minute, 1, calm)
	b.core.Inherit(&old.core)
	follow(b, new(models.Alarm), &at, minute, 24*60, calm)
	var r models.Reading
	b.Score(at+minute, 108, &r)
	if r.Score < open {
		t.Errorf("16 of its own deviations, 1.6 of those inherited, score %v a day later", r.Score.Float())
	}
}

func TestIntervalIsEstimatedAcrossGaps(t *testing.T) {
	for _, step := range []int64{1000, 15_000, 60_000, 300_000} {
		b, at := NewBaseline(shipped(t, Config{})), int64(0)
		next := modeltest.White.Start(10)
		for i := range 500 {
			gap := step
			if i%10 == 0 { // starting with the first
				gap = 40 * step
			}
			follow(b, new(models.Alarm), &at, gap, 1, next)
		}
		if got := b.core.Step(); math.Abs(got-float64(step)) > 0.02*float64(step) {
			t.Errorf("step %d ms with a gap every ten points is estimated as %v", step, got)
		}
	}
}

func TestRecordSkipsWhatItDoesNotKnow(t *testing.T) {
	b, at := NewBaseline(shipped(t, Config{})), int64(0)
	follow(b, new(models.Alarm), &at, minute, 5*24*60, modeltest.Seasonal.Start(11))
	good := Append(nil, &b.core, b.season)

	// A kind of tomorrow at the end changes nothing.
	var c Core
	var s Season
	has, err := Read(append(bytes.Clone(good), 9, 1, 2, 0, 'x', 'y'), &c, &s)
	if err != nil || !has || c != b.core || s != *b.season {
		t.Fatalf("a record with an unknown kind: season %v, %v", has, err)
	}
	for kind := placeKind; kind <= seasonKind; kind++ {
		r := bytes.Clone(good)
		r[offsetOf(t, r, kind)+1] = 99
		has, err := Read(r, &c, &s)
		if err != nil {
			t.Fatalf("kind %d of an unknown version: %v", kind, err)
		}
		if has != (kind != seasonKind && kind != placeKind) {
			t.Errorf("kind %d of an unknown version: season %v", kind, has)
		}
		// It is learnt again: a day later a fault is found.
		n := &Baseline{model: b.model, core: c}
		now := at
		var a models.Alarm
		next := modeltest.White.Start(12)
		follow(n, &a, &now, minute, 24*60, next)
		if a.Open || follow(n, &a, &now, minute, 2, func() float64 { return 200 }) != 1 {
			t.Errorf("kind %d of an unknown version: a fault a day later is not found", kind)
		}
	}
}

// offsetOf returns where the sub-record of a kind begins.
func offsetOf(t *testing.T, record []byte, kind int) int {
	for i := 0; i < len(record); {
		if int(record[i]) == kind {
			return i
		}
		i += headerSize + int(record[i+2]) + int(record[i+3])<<8
	}
	t.Fatalf("no kind %d", kind)
	return 0
}

func TestCorruptRecordIsRefused(t *testing.T) {
	b, at := NewBaseline(shipped(t, Config{})), int64(0)
	follow(b, new(models.Alarm), &at, minute, 5*24*60, modeltest.Seasonal.Start(13))
	good := Append(nil, &b.core, b.season)
	place := offsetOf(t, good, placeKind) + headerSize
	for name, damage := range map[string]func(r []byte) []byte{
		"torn header": func(r []byte) []byte { return append(r, 9) },
		"torn body":   func(r []byte) []byte { return r[:len(r)-1] },
		"wrong order": func(r []byte) []byte { return append(r, r[:headerSize+placeSize]...) },
		"wrong length": func(r []byte) []byte {
			r[2]--
			return r
		},
		"NaN level": func(r []byte) []byte {
			copy(r[place+16:], []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x7f})
			return r
		},
		"hour 99": func(r []byte) []byte {
			r[place+44] = 99
			return r
		},
	} {
		c, s := b.core, *b.season
		if _, err := Read(damage(bytes.Clone(good)), &c, &s); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v, want ErrRecord", name, err)
		}
		if c != b.core || s != *b.season {
			t.Errorf("%s: the state was changed", name)
		}
	}
}

func FuzzRead(f *testing.F) {
	b, at := NewBaseline(shipped(f, Config{})), int64(0)
	f.Add([]byte{})
	for range 5 {
		follow(b, new(models.Alarm), &at, minute, 24*60, modeltest.Seasonal.Start(14))
		f.Add(Append(nil, &b.core, b.season))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		var c Core
		var s Season
		has, err := Read(record, &c, &s)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatal(err)
			}
			return
		}
		season := &s
		if !has {
			season = nil
		}
		// What was read is written and read the same, and can be used.
		again := Append(nil, &c, season)
		var d Core
		var e Season
		if _, err := Read(again, &d, &e); err != nil || d != c || e != s {
			t.Fatalf("read again: %v", err)
		}
		loaded := &Baseline{model: b.model, core: c, season: season}
		now := at + 100*24*60*minute
		follow(loaded, new(models.Alarm), &now, minute, 5, func() float64 { return 1 })
	})
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"Level":    {Level: time.Second},
		"Scale":    {Scale: time.Minute},
		"Floor":    {Floor: time.Hour},
		"Hour":     {Hour: time.Hour},
		"Season":   {Season: 100 * 365 * 24 * time.Hour},
		"Coarsest": {Coarsest: -1},
		"Zone":     {Zone: models.Zone{{At: 2}, {At: 1}}},
	} {
		_, err := New(c)
		if !errors.Is(err, ErrConfig) || !bytes.Contains([]byte(err.Error()), []byte(name)) {
			t.Errorf("a bad %s: %v", name, err)
		}
	}
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}
