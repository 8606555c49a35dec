package models

import "math"

// ScoreUnit is the number of steps in one unit of score.
const ScoreUnit = 64

// MaxScore is the largest score a model gives: a tail probability of 1e-30.
const MaxScore Score = 30 * ScoreUnit

// Score says how unlikely a value is: −log10 of its tail probability under
// what is normal, in steps of 1/64. A score of 3 (192 steps) is a value that
// one normal point in a thousand exceeds. Scores are quantised before any
// comparison, so that a difference in the last bits of a float never decides.
type Score int16

// ScoreOf quantises x, a −log10 probability. It rounds to the nearest step
// and clamps to [0, MaxScore]; NaN is 0, because the unknown never alarms.
func ScoreOf(x float64) Score {
	switch {
	case !(x > 0):
		return 0
	case x >= float64(MaxScore)/ScoreUnit:
		return MaxScore
	}
	return Score(math.Round(x * ScoreUnit))
}

// Float returns the score as −log10 of a probability.
func (s Score) Float() float64 { return float64(s) / ScoreUnit }
