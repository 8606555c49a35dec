// Package lean is the baseline that every series gets: what is normal for one
// measurement, in a few hundred bytes and a fraction of a microsecond a point.
//
// Three residuals are looked at. The step from the last point finds jumps and
// spikes; the distance from the line through the last eight points finds turns;
// the mean of the last three distances from the expected level, which follows
// the time of the day where the series does, finds what lasts a little. Each is
// measured in its usual size at that hour, turned into a probability by the
// body of its own distribution, and the three scores s are combined into
//
//	S = sqrt((s1² + s2² + s3²)/3)
//
// The score that is compared with a threshold is 1.6 S − 0.4, one map for all
// series: on the points of real service series that nobody labelled a score of 3
// or more is as rare as it says, 10^−2.9 to 10^−3.0, and one of 4 or more is
// 10^−3.6 to 10^−3.9. On plain noise it is rarer than it says, 10^−4.3 to 10^−4.6
// for 3 on white, autoregressive and seasonal noise. Heavy tails are not solved:
// on Student t3 a score of 3 is four times as frequent as it says and one of 4
// eight times, about three false alarms a week of one-minute points; lognormal
// noise makes about one a week, most of them in its first days, and so do rare
// counts (Poisson 0.1). A map learnt from each series' own tail comes far closer
// on noise and loses a third to a half of F1 on real series, because it learns
// their frequent anomalies as normal.
//
// What is not learnt: shapes that repeat within two hours, and a week before two
// have passed.
//
// Score looks, Learn changes. A Model is what all series share and never
// changes; a Core is one series' state, a plain struct without pointers; a
// Season is the part of it that only a series with a daily rhythm has. An owner
// of many series keeps Cores and Seasons in slices of their own.
package lean
