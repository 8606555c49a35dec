// Package deep is the model for the series that matter: it finds values, shapes
// and mixes of values that the series has not shown before, in 14 KB a series and
// a few microseconds a point. The baseline of models/lean asks whether a point is
// far from where it should be; this one asks whether anything like it was ever
// there. It finds slow shifts and odd shapes that never leave the range, and it is
// no good for the spikes of a busy service, which are not new.
//
// Four members look at each value, each calibrated by the ranks of its own past:
//
//	look    the distance from 128 prototypes of (averages over 1, 4, 16 and 64
//	        points, and how much those move), models/prototype
//	window  the distance of the quantiles of the last 52 points from those of 250
//	        earlier windows, models/knn
//	range   the value is higher or lower than any in the last 32768 points; the
//	        score is how rarely that happened, at most 3
//	share   the entropy of the last 104 values relative to all before them
//	        (Kullback and Leibler, 1951; Wang et al., 2011)
//
// Window and share see values as z = asinh((x − mean)/dev), with slow estimates of
// both. The score is the mean M of the four members' −log10 p, less what a long
// life costs: with n points seen, at most 65536,
//
//	M = (look + window + range + share)/4 − 0.2 log10(n/2000)
//	S = 2.5 M + 0.625
//
// so that a series is not alarmed about the more often the longer it is known. The
// map from M to S is one for all series; on white noise a point in a thousand has a
// score of 3.
//
// News is told once. A score of 2.75 or more is held for 104 points, and while it
// is, only one that reaches the next of the marks 4, 5, 6 and so on counts in full;
// any other is kept just under 2.75. So what is new for hours is one alarm, and what
// grows into something far rarer is told again.
//
// Everything is counted in points and nothing in time: the model knows no season
// and no gap. All points are learnt in full, abnormal ones too, for what is new
// once is remembered and not averaged away; only a weight of 0 keeps one out.
package deep
