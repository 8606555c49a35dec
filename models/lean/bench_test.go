package lean

import (
	"testing"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/modeltest"
)

// BenchmarkScoreLearn is one point of one series, looked at and learnt, with
// the season in use.
func BenchmarkScoreLearn(b *testing.B) {
	m := shipped(b, Config{})
	const days = 5 * 24 * 60
	values := make([]float64, days)
	for i, next := 0, modeltest.Seasonal.Start(1); i < days; i++ {
		values[i] = next()
	}
	base := NewBaseline(m)
	var r models.Reading
	at := int64(0)
	point := func(i int) {
		at += modeltest.Minute
		base.Score(at, values[i%days], &r)
		base.Learn(at, values[i%days], &r, models.WeightOf(r.Score))
	}
	for i := range days {
		point(i)
	}
	if base.Season() == nil {
		b.Fatal("no season")
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		point(i)
		i++
	}
}

// BenchmarkCalibration prints −log10 of how often 10^7 points of noise score 3
// and 4 or more. Run it with -benchtime 1x.
func BenchmarkCalibration(b *testing.B) {
	for _, kind := range modeltest.Noises {
		b.Run(kind.Name, func(b *testing.B) {
			for b.Loop() {
				got := subject(b).Frequency(kind, 17, 10_000_000, 3*models.ScoreUnit, 4*models.ScoreUnit)
				b.ReportMetric(got[0], "at-3")
				b.ReportMetric(got[1], "at-4")
			}
		})
	}
}
