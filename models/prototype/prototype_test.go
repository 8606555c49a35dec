package prototype

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

var units = Look{1, 1, 1, 1, 1, 1, 1, 1}

func at(v float32) *Look {
	var l Look
	for j := range l {
		l[j] = v
	}
	return &l
}

func learn(b *Bank, l *Look) {
	place, d := b.Nearest(l, &units)
	b.Learn(l, place, d)
}

func TestNearestIsTheMeanDistanceInUsualSizes(t *testing.T) {
	var b Bank
	if place, d := b.Nearest(at(1), &units); place != None || d < 1e30 {
		t.Errorf("of no prototype the nearest is %d at %v", place, d)
	}
	learn(&b, at(0))
	learn(&b, at(10))
	inverse := Look{2, 2, 2, 2, 0, 0, 0, 0}
	place, d := b.Nearest(at(7), &inverse)
	if place != 1 || math.Abs(d-3) > 1e-6 {
		t.Errorf("nearest is %d at %v, want 1 at 3", place, d)
	}
}

func TestALookWithinTheRadiusMovesItsPrototype(t *testing.T) {
	var b Bank
	learn(&b, at(0))
	learn(&b, at(0.4))
	if b.count != 1 || math.Abs(float64(b.looks[0][0])-0.02) > 1e-6 {
		t.Errorf("%d prototypes, the first at %v, want 1 at 0.02", b.count, b.looks[0][0])
	}
	learn(&b, at(2))
	if b.count != 2 {
		t.Errorf("%d prototypes after a look beyond the radius, want 2", b.count)
	}
}

// When there is no room, what is seen all the time stays and what was seen once
// long ago goes.
func TestTheIdlestMakesRoom(t *testing.T) {
	var b Bank
	for range 1000 {
		learn(&b, at(0))
	}
	for i := range 3 * Most {
		learn(&b, at(float32(10+2*i)))
		learn(&b, at(0))
	}
	if b.count != Most {
		t.Fatalf("%d prototypes, want %d", b.count, Most)
	}
	if _, d := b.Nearest(at(0), &units); d > 0.1 {
		t.Errorf("what came at every second look was forgotten: it is %v away", d)
	}
	if _, d := b.Nearest(at(10), &units); d < 0.5 {
		t.Error("what came once, before three banks full of looks, is still there")
	}
	if _, d := b.Nearest(at(10+2*(3*Most-1)), &units); d > 0.1 {
		t.Errorf("the newest look is %v away", d)
	}
}

func TestARecordIsTheBank(t *testing.T) {
	var b, c Bank
	r := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		learn(&b, at(float32(20*r.NormFloat64())))
	}
	record := b.Append(nil)
	if len(record) != Size || !c.Parse(record) || c != b {
		t.Fatalf("a record of %d bytes, want %d, is not the bank again", len(record), Size)
	}
	if !bytes.Equal(c.Append(nil), record) {
		t.Error("the record of what was read differs")
	}
	record[0], record[1] = 0xff, 0xff
	if c.Parse(record) {
		t.Error("a bank of 65535 prototypes was read")
	}
}
