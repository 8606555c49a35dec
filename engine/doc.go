// Package engine holds the vocabulary of homeostat and its state machines. It
// is pure: no clock, no I/O, no goroutine, no lock. Time arrives in events, and
// everything that must happen outside is returned as a value.
//
// # The way of a sample
//
// A writer's request becomes a Batch. Shard.Step takes the batches of a round:
// for each sample it derives what is measured, scores it, compares the score
// with the threshold in force at its epoch and then learns it. Shards own
// disjoint partitions, so they may step at the same time. What must be seen
// together (a histogram's buckets, the requests and errors of a ratio, the pods
// of a workload) is in one partition, because a partition is a hash of the
// workload.
//
// A Tick closes epochs. Shard.Close closes the joins of the shard's partitions
// and reports what fell silent; Engine.Settle then does, alone, everything that
// crosses series: data faults, incidents, decisions, outcomes, thresholds. What
// Settle changes holds for points later than the tick that closed the epoch.
//
// # What may depend on what
//
// What happens to a series depends on its own samples in their order, on the
// position of the ticks between them, and on the thresholds in force; on
// nothing else. How requests were cut, how many shards there are and how a
// round was formed change no result. Effects carry a canonical order (epoch,
// at, series, kind) within the event that caused them.
//
// # Recovery
//
// The state is the pages (Shard.AppendPage), the settle record
// (Engine.AppendSettle) and the log of effects after them. Engine.Redo applies
// one logged record to a state that does not contain it yet; applying one that
// it contains already changes nothing.
package engine
