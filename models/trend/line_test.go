package trend

import (
	"math"
	"math/rand/v2"
	"testing"
)

// leastSquares is the textbook line through eight values, one step on.
func leastSquares(y []float64) float64 {
	n, sx, sy, sxx, sxy := float64(len(y)), 0.0, 0.0, 0.0, 0.0
	for i, v := range y {
		x := float64(i)
		sx, sy, sxx, sxy = sx+x, sy+v, sxx+x*x, sxy+x*v
	}
	slope := (n*sxy - sx*sy) / (n*sxx - sx*sx)
	return (sy-slope*sx)/n + slope*n
}

func TestLineIsTheLeastSquaresLine(t *testing.T) {
	for _, mean := range []float64{0, 1e8} {
		r := rand.New(rand.NewPCG(1, 1))
		var l Line
		var ys []float64
		for i := range 100 {
			y := mean + r.NormFloat64()
			if i > 0 {
				l.Learn(y - ys[len(ys)-1])
			}
			if ys = append(ys, y); len(ys) < LinePoints {
				continue
			}
			last := make([]float64, LinePoints)
			for k := range last {
				last[k] = ys[len(ys)-LinePoints+k] - mean
			}
			want := leastSquares(last) - last[LinePoints-1]
			if got := l.Ahead(); math.Abs(got-want) > 1e-5 {
				t.Fatalf("mean %g, point %d: %v ahead, want %v", mean, i, got, want)
			}
		}
	}
}

func TestLineComesBackFromItsBytes(t *testing.T) {
	var l, got Line
	for i := range 10 {
		l.Learn(float64(i))
	}
	b := l.Append(nil)
	if len(b) != LineSize || !got.Parse(b) || got != l {
		t.Errorf("%+v comes back as %+v from %d bytes", l, got, len(b))
	}
	b[LineSize-1] = steps
	if got.Parse(b) {
		t.Error("a place beyond the ring is taken")
	}
	if l.Reset(); l.Ahead() != 0 {
		t.Error("a line that was reset leads somewhere")
	}
}
