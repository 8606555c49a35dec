// Package loop drives an engine: source, round, persist, deliver. Goroutines
// and channels live here and above.
//
// One goroutine owns the engine. It takes what waits in a bounded queue, up to
// a bound, as a round; steps the shards at the same time over the round's
// batches; closes and settles at each tick; hands the records of the round to
// the journal in one append; and only when they are durable answers the
// writers with their receipts, delivers the records to the sinks and starts the
// actions. A round with no records writes nothing. Between rounds it stores a
// few dirty pages, so that a sweep over all of them takes Config.SweepEvery.
package loop
