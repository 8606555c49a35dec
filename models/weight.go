package models

// fullWeight is the score up to which a point is learnt at full weight.
const fullWeight = 2 * ScoreUnit

// WeightOf returns the weight at which a point of a given score is learnt: 1 up
// to a score of 2, and from there 2/score. So an incident does not become
// normal at once, and a true level shift is learnt in the end. It is for what
// is normal, location, scale and season; a model's calibrators learn every
// point fully, whether an anomaly is open or not, because with a falling weight
// their tails would shrink.
func WeightOf(s Score) float64 {
	if s <= fullWeight {
		return 1
	}
	return fullWeight / float64(s)
}
