package knn

import (
	"math"
	"testing"
)

func flat(v int16) *Window {
	var w Window
	for j := range w {
		w[j] = v
	}
	return &w
}

func TestDistanceIsToTheThreeNearest(t *testing.T) {
	var m Memory
	for _, v := range []int16{0, 10} {
		m.Learn(flat(v))
		if _, ok := m.Distance(flat(0)); ok {
			t.Fatal("there is a distance to fewer than three windows")
		}
	}
	for _, v := range []int16{100, 40, 1000} {
		m.Learn(flat(v))
	}
	for _, c := range []struct {
		v    int16
		want float64
	}{
		{0, Quantiles * (0 + 10 + 40) / 3.0},
		{100, Quantiles * (0 + 60 + 90) / 3.0},
		{math.MaxInt16, Quantiles * (3*math.MaxInt16 - 1000 - 100 - 40) / 3.0},
		{math.MinInt16, Quantiles * (-3*math.MinInt16 + 0 + 10 + 40) / 3.0},
	} {
		if got, ok := m.Distance(flat(c.v)); !ok || math.Abs(got-c.want) > 1e-6 {
			t.Errorf("the distance of %d is %v, want %v", c.v, got, c.want)
		}
	}
}

// A full memory forgets by lot: each new window takes the place of another, and
// after one more memory full of windows about 1/e of the old ones is left.
func TestAFullMemoryForgetsByLot(t *testing.T) {
	m := Memory{Seed: 5}
	for range Most {
		m.Learn(flat(1))
	}
	for range Most {
		m.Learn(flat(2))
	}
	old := 0
	for i := range m.rows {
		if m.rows[i] == *flat(1) {
			old++
		}
	}
	if share := float64(old) / Most; share < 0.3 || share > 0.44 {
		t.Errorf("a share of %.2f of the old windows is left, want about 1/e", share)
	}
	other := Memory{Seed: 6}
	for range Most {
		other.Learn(flat(1))
	}
	for range Most {
		other.Learn(flat(2))
	}
	if other.rows == m.rows {
		t.Error("another seed forgets the same windows")
	}
}

func TestARecordIsTheMemory(t *testing.T) {
	a, b := Memory{Seed: 7}, Memory{}
	for i := range 3 * Most {
		a.Learn(flat(int16(i - Most)))
	}
	record := a.Append(nil)
	if len(record) != Size {
		t.Fatalf("a record of %d bytes, want %d", len(record), Size)
	}
	if b.Parse(record); a != b {
		t.Fatal("what was read is not the memory")
	}
	a.Learn(flat(9))
	if b.Learn(flat(9)); a != b {
		t.Error("they forget different windows")
	}
}
