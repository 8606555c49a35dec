// Package history turns recorded series into the events of the engine: CSV and
// OpenMetrics files, the blocks of a Prometheus and its HTTP API. A source yields
// what a live server would have been given, from the data's own time, so that
// the same loop scores both.
//
// # Batches and ticks
//
// Samples of one second of event time make one batch, in the order (time,
// series). Before a batch comes a Tick at the start of its second, so that no
// gap in the data makes its samples look as if they were from the future. After
// it time goes on as it does live, but in larger steps: to the end of the second
// when more follows at once; else to where the grace of that second has passed,
// so that what was found there is acted upon in time; then at most
// Config.TickEvery at a step through the gap. The last Tick lies Config.Beyond
// after the last sample's second; of Quiet history it lies at its end, where live
// data goes on.
//
// # Names
//
// A CSV file is a workload of its own: its series are
//
//	<column>{job="replay", service="<file>"}
//
// where <file> is the file's name without .csv, .gz and .zst, or with its folders when
// two files share it, and <column> is the column's name made a metric name; a
// column called value carries the file's name instead and is a gauge, others are
// what their names say. The series of OpenMetrics and of Prometheus keep their
// labels.
package history
