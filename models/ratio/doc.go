// Package ratio watches a share of failures: errors out of requests, counted
// per interval, where the counts may be small.
//
// What is normal is a beta distribution of the share, learnt from discounted
// sums of errors and requests. The errors of an interval are compared with its
// predictive distribution, the beta-binomial, and so are those of a short pool
// of intervals, in which few requests an interval add up to enough. The
// strength of the beta is bounded by the overdispersion that the series itself
// shows, so that a share that wanders a little from interval to interval does
// not alarm.
//
// Only a rise scores. One error never alarms, however rare errors are: each
// counts for at most one and a half units of score, because errors come in
// clusters (one client that retries is one cause).
//
// A share of errors never normalises itself away: what scores above
// quietScore is learnt less, what scores above deafScore not at all.
package ratio
