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
// Score looks, Learn changes. A Model is what all series share and never
// changes; a Core is one series' state, a plain struct without pointers; a
// Season is the part of it that only a series with a daily rhythm has. An owner
// of many series keeps Cores and Seasons in slices of their own.
package lean
