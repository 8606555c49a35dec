package seasonal

import (
	"math"
	"math/rand/v2"
	"testing"
)

const minute = 60 * 1000

func shape(local int64) float64 {
	return 50 * math.Sin(2*math.Pi*float64(modulo(local, dayMillis))/dayMillis)
}

func TestEvidenceOfADay(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	e := NewEvidence()
	for at := int64(0); at < 3*dayMillis; at += minute {
		e.Learn(at, 1e8+shape(at)+5*r.NormFloat64())
		if e.Strong() && at < dayMillis {
			t.Fatal("there is evidence of a day before one has passed")
		}
	}
	if !e.Strong() {
		t.Error("three days of a season are no evidence")
	}
	e = NewEvidence()
	for at := int64(0); at < 3*dayMillis; at += minute {
		e.Learn(at, 7)
	}
	if e.Strong() {
		t.Error("a constant is evidence of a season")
	}
}

var gains = Gains{Level: 0.023, Run: 0.001, Visit: 0.28, Step: minute}

// run teaches a block some days and returns its mean error over the last one.
func run(b *Block, from int64, days int, usual float64, value func(at int64) float64) float64 {
	sum, n := 0.0, 0
	end := from + int64(days)*dayMillis
	for at := from; at < end; at += minute {
		x := value(at)
		if at >= end-dayMillis {
			sum, n = sum+math.Abs(x-b.Forecast(at, at)), n+1
		}
		b.Learn(at, at, x, usual, gains, 1)
	}
	return sum / float64(n)
}

func TestBlockLearnsADay(t *testing.T) {
	var b Block
	b.Make(0, 0, 1e8, 1, 1)
	if err := run(&b, 0, 7, 20, func(at int64) float64 { return 1e8 + shape(at) }); err > 1 {
		t.Errorf("after a week the block errs by %v on a day of ±50", err)
	}
}

func TestTableOutgrowsItsUnit(t *testing.T) {
	var b Block
	b.Make(0, 0, 0, 1e-6, 1)
	before := b.unit
	if err := run(&b, 0, 7, 20_000, func(at int64) float64 { return 1000 * shape(at) }); err > 2000 {
		t.Errorf("after a week the block errs by %v on a day of ±50000", err)
	}
	if b.unit <= before {
		t.Errorf("the unit stayed at %v", b.unit)
	}
}

func TestBlockComesBackFromItsBytes(t *testing.T) {
	var b, got Block
	b.Make(0, 0, 5, 1, 1)
	run(&b, 0, 3, 20, shape)
	p := b.Append(nil)
	if len(p) != BlockSize || !got.Parse(p) || got != b {
		t.Errorf("the block does not come back from %d bytes, want %d", len(p), BlockSize)
	}
	var e, back Evidence
	e = NewEvidence()
	for at := int64(0); at < 3*dayMillis; at += minute {
		e.Learn(at, shape(at))
	}
	p = e.Append(nil)
	if len(p) != EvidenceSize || !back.Parse(p) || back != e {
		t.Errorf("the evidence does not come back from %d bytes, want %d", len(p), EvidenceSize)
	}
	b.dayBin = dayBins
	if got.Parse(b.Append(nil)) {
		t.Error("a bin beyond the day is taken")
	}
	e.slot = slots
	if back.Parse(e.Append(nil)) {
		t.Error("a slot beyond the day is taken")
	}
}

func TestPlaceGoesRoundAndBeforeTheEpoch(t *testing.T) {
	for _, local := range []int64{0, dayWidth/2 - 1, dayWidth / 2, dayMillis - 1, -1, -dayMillis - 7} {
		bin, share := place(local, dayMillis, dayWidth, dayBins)
		if bin >= dayBins || share < 0 || share >= 1 {
			t.Errorf("%d lies in bin %d at %v", local, bin, share)
		}
		if h := Hour(local); h > 23 {
			t.Errorf("%d lies in hour %d", local, h)
		}
	}
	if bin, share := place(dayWidth/2, dayMillis, dayWidth, dayBins); bin != 0 || share != 0 {
		t.Errorf("the centre of the first bin lies in %d at %v", bin, share)
	}
}
