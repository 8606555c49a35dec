package engine

import (
	"fmt"
	"math"

	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/spread"
)

// How restless a series is. What is told is the movement from one value to the
// next, now and usually, and not the value.

// scoreSpread asks, at the end of a block, whether the series moves as it used to.
func (s *Shard) scoreSpread(p *partition, i uint32, at int64, c *cause) {
	m := p.measureOf(i)
	change := m.spread.Score()
	usual := s.engine.model.UsualStep(&m.core, at)
	s.reading = models.Reading{
		NumParts: 1, Score: change.Score, Warm: true, Expected: usual,
		Scale: max(usual, math.SmallestNonzeroFloat64), Residual: usual * (change.Factor - 1),
	}
	s.reading.Parts[0] = change.Score
	x := point{part: p, slot: i, channel: channelSpread, at: at, value: usual * change.Factor, reading: &s.reading, spread: change}
	s.compare(&x, m, c)
}

// spreadText says how much a series moves.
func (s *Shard) spreadText(x *point, m *measure) string {
	u := unitOf(x.part.slots[x.slot].series)
	now, usual := u.both(x.value, x.reading.Expected)
	since := s.engine.clock(x.at - int64(x.spread.Blocks)*blockMillis(m))
	switch {
	case x.spread.Score == 0:
		return fmt.Sprintf("moves by %s from one value to the next, usual is %s", now, usual)
	case x.spread.Factor < 1:
		return fmt.Sprintf("hardly moves since %s; usual is %s from one value to the next", since, usual)
	}
	return fmt.Sprintf("moves by %s from one value to the next since %s, %s times the usual %s", now, since, inNumbers.plain(x.spread.Factor), usual)
}

// blockMillis is how long the blocks of a measurement are.
func blockMillis(m *measure) int64 {
	return int64(math.Ceil(spread.LeastCount*m.core.Step()/hourMillis)) * hourMillis
}

// quietSpread says how little a series may have moved.
func (s *Shard) quietSpread(x *point) Counterfactual {
	u := unitOf(x.part.slots[x.slot].series)
	if x.spread.Factor < 1 {
		return Counterfactual{Text: "quiet if it had moved within the last day"}
	}
	usual := x.reading.Expected
	opens := func(v float64) bool {
		z := x.spread.Z * math.Log(v/usual) / math.Log(x.spread.Factor)
		return v >= spread.More*usual && spread.ScoreOf(z) >= x.standing.Open
	}
	st := u.state(edgeOf(usual, x.value, opens), x.value, false, opens)
	_, was := u.both(st.value, x.value)
	return Counterfactual{Text: fmt.Sprintf("quiet if it moved by ≤ %s (was %s)", st.text, was)}
}

func (m *measure) appendSpread() func([]byte) []byte {
	if m.spread == (spread.Core{}) {
		return nil
	}
	return func(b []byte) []byte { return mustAppend(m.spread.AppendBinary(b)) }
}

func (l *loadedSlot) readSpread(r reader) error { return l.spread.UnmarshalBinary(r.b) }
