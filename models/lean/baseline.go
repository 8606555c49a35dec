package lean

import "github.com/homeostat/homeostat/models"

// Baseline is a Core with a Season of its own, for whoever has one series and
// not a million. It makes the season by itself when there is evidence of one.
type Baseline struct {
	model  *Model
	core   Core
	season *Season
}

var _ models.Model = (*Baseline)(nil)

// NewBaseline returns the baseline of a series of which nothing has been seen.
func NewBaseline(m *Model) *Baseline { return &Baseline{model: m} }

// Core returns the part of the state that every series has.
func (b *Baseline) Core() *Core { return &b.core }

// Season returns the seasonal part of the state, nil without evidence of one.
func (b *Baseline) Season() *Season { return b.season }

// Score fills r with what is to be said of a value, and changes nothing.
func (b *Baseline) Score(at int64, value float64, r *models.Reading) {
	b.model.Score(&b.core, b.season, at, value, r)
}

// Learn takes a value in, at a weight from 0 to 1.
func (b *Baseline) Learn(at int64, value float64, r *models.Reading, weight float64) {
	b.model.Learn(&b.core, b.season, at, value, r, weight)
	if b.season == nil && b.core.WantsSeason() {
		b.season = new(Season)
		b.model.MakeSeason(&b.core, b.season)
	}
}

// Bounds is Model.Bounds of this series.
func (b *Baseline) Bounds(at int64, theta models.Score) (lower, upper float64, ok bool) {
	return b.model.Bounds(&b.core, b.season, at, theta)
}

// AppendBinary appends the record of the state.
func (b *Baseline) AppendBinary(p []byte) ([]byte, error) {
	return Append(p, &b.core, b.season), nil
}

// UnmarshalBinary replaces the state by that of a record; see Read.
func (b *Baseline) UnmarshalBinary(p []byte) error {
	var s Season
	has, err := Read(p, &b.core, &s)
	if err != nil {
		return err
	}
	b.season = nil
	if has {
		b.season = &s
	}
	return nil
}
