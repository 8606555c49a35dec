package lean

import (
	"math"
	"testing"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/modeltest"
)

func shipped(t testing.TB, cfg Config) *Model {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// open is one false alarm a series per 14 days of one-minute points.
var open = models.ScoreOf(math.Log10(14 * 24 * 60))

func subject(t testing.TB) modeltest.Subject {
	m := shipped(t, Config{})
	return modeltest.Subject{
		New:   func() models.Model { return NewBaseline(m) },
		Bytes: MaxRecordSize,
		Open:  open,
		// Heavy tails and rare counts are not solved, see the package's doc. These
		// are bounds that hold, not goals.
		Above: map[string]float64{modeltest.StudentT3.Name: 10},
		Weekly: map[string]float64{
			modeltest.StudentT3.Name:  4,
			modeltest.Lognormal.Name:  2,
			modeltest.FewCounts.Name:  2,
			modeltest.MostlyZero.Name: 0.5,
		},
	}
}

func TestContract(t *testing.T) { modeltest.Run(t, subject(t)) }
