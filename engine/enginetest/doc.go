// Package enginetest is the scenario language: made-up series, what people do,
// and what must come of it, run through the engine as a live server would run
// it.
//
// A scenario is a text of lines; # begins a comment.
//
//	seed 7                          the noise; default 1
//	start 2026-03-02T00:00:00Z      when it begins; this is the default, a Monday
//	zone Europe/Berlin              where the days are; default UTC
//	tick 15s                        how often the clock says the time; default 15s
//	end 4d                          how long it lasts; default: a minute after the last sample
//	config silent_after 10m         a setting of the engine
//	deep api_latency{svc="a"}       series that the deep tier looks at too
//	floor api_latency{svc="a"} below 5 relative 0.02   deviations that are ignored
//	sender a                        who sends the series that follow
//
// A series is written in Prometheus' notation, with generators for values:
//
//	series api_latency{svc="a"} every 30s normal(100,5)x200 spike(400)x6 normal(100,5)x50
//	series up{job="api"} every 30s from 2m 1x100 _x20 1x10 stale
//	for pod in 1..200 series cpu{app="api",pod="api-$pod"} every 30s from ${pod}s normal(1,.1)x2h
//
// xN says how many values, or for how long: x6, x3d. After a plain number N
// counts those that follow it, as in Prometheus' tests: 1x2 is 1 1 1 and 1+2x2
// is 1 3 5. A count of a generator, or of _, is just that many.
//
//	5 5xN 5+1xN        a number, a constant, a line
//	_xN                nothing is sent; what counts goes on counting
//	stale              a stale marker, in the place of one value
//	const(v) normal(mean,sd) student(mean,scale) lognormal(median,sigma) poisson(mean) walk(from,sd)
//	season(mean,amplitude,sd)   a day: lowest at 03:00, highest at 15:00 of the zone
//	office(night,day,sd)        a day: one value at night, one from 08:00 to 18:00, an hour between
//	spike(v[,sd])      like normal, for the reader's eye
//	ramp(from,to[,sd]) from one value to another
//	counter(rate[,amplitude])   a counter that gains a Poisson number; rate per second, with a day if you like
//	histogram(rate,median,sigma)  _bucket, _count and _sum of log-normal observations, rate per second
//	ratio(requests,share)       two counters, code="200" and code="500"; requests an interval
//
// What follows changes all later values of a gauge, or the rate of a counter:
//
//	step(by) scale(factor) leak(per_hour)
//	reset              a counter, histogram or ratio starts again from 0
//
// People and machines act at a time since the beginning:
//
//	at 3d label last false-alarm of api_latency by ann
//	at 4d undo by ann
//	at 5d restart
//
// What must come of it is looked at when all is over:
//
//	expect anomaly kind=spike series=api_latency{svc="a"} within 2m of 1h40m count=1
//	expect no anomaly after 2h
//	expect incident workload~api members>=2 state=closed
//	expect no incident
//	expect threshold up
//	expect data_fault count=1 within 10m of 3h
//	expect outcome verdict=false_alarm by=ann
//	expect decision verb=act
//	expect samples rejected=0 reset=1
//
// Noise comes from seeded generators, one a series, so that a scenario is the
// same on every run, and a further series changes no other.
package enginetest
