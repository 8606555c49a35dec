// Package demo shows what homeostat does, without a server and without the
// network: it replays recordings of incidents through the engine and the driver
// that serve uses, and holds what it finds against what is known of them.
//
// Run loads each recording, replays it once and judges its incidents by the
// rules of benchmarks/scorecard (recording.go, pass.go); replays the partitions
// of the worst series a second time to ask, before each of their points, what
// would be quiet (scene.go); and prints truth, alarms and a plot (tell.go,
// plot.go). Then it labels the weakest false alarm, replays that recording with
// the label in place, and says what became of every false alarm (lesson.go).
// Config.Report takes the same as a page (report.go).
//
// Nothing here decides: every figure comes out of a replay.
package demo
