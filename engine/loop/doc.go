// Package loop drives an engine: source, round, persist, deliver. Goroutines
// and channels live here and above.
//
// # A round
//
// One goroutine owns the engine. It takes what waits in a bounded queue, up to
// a bound, as a round; steps the shards at the same time over each run of
// consecutive batches; closes and settles at each tick; hands the records of
// the round to the journal in one append; and only when they are durable
// answers the senders with their receipts, delivers the records to the sinks
// and starts the actions. A round with no records writes nothing.
//
// A round is an I/O batch and nothing else. Which records there are and in
// which order depends on the order of the inputs only: a Driver that is given
// the recorded inputs one by one makes the same log, sequence numbers included,
// because Loop and Driver share the code of a round.
//
// # What is journaled
//
// The records that the engine made, and the inputs that are not samples:
// labels, undos and the answers of actuators stand in the log before what they
// caused. A tick alone writes nothing, so that a quiet fleet costs no I/O; the
// tick in force is written once, before the first record made under it, so that
// recovery knows the time.
//
// # Between rounds
//
// A few dirty pages are stored between rounds and while nothing waits, so that
// a sweep over all of them takes Config.SweepEvery of the ticks' time. Queries
// read the engine there too.
//
// # When something fails
//
// A full queue refuses at once and takes nothing. An error of the journal or of
// the recorder ends the loop: nothing is scored without a journal, and an
// incomplete recording is worse than none. Everybody who waits then gets
// ErrStopped with the cause.
package loop
