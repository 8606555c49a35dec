// Package remotewrite receives Prometheus remote write, 1.0 and 2.0.
//
// # The way of a request
//
// The headers are looked at before the body. The body is read and decompressed
// into pooled buffers within the limits; the lengths are known, and refused,
// before anything is allocated for them. A hand-written walk goes over the
// message and collects samples, and for each series a 128-bit hash of its label
// bytes (1.0) or of the hashes of its symbols (2.0). All hashes are then looked
// up at once in a cache of the series seen before, so that the labels of a known
// series are never parsed again and a steady request allocates nothing a sample.
// What is not found is parsed, checked against the limits and remembered. The
// request becomes one engine.Batch, whole and in its own order.
//
// # What is answered
//
//   - 204: everything in the request was scored, or absorbed for a reason that
//     Stats counts.
//   - 400: some of it was not written; the body says how much and why. The rest
//     was taken. A message that can't be read at all is 400 with nothing taken.
//   - 405, 408, 413, 415: nothing was taken.
//   - 503 with Retry-After: nothing was taken and the sender should send the same
//     again. One case is weaker: when the loop dies of its journal, what it held
//     may have been scored by an engine whose state is then lost or older than
//     that; sending it again loses nothing, because repeats are absorbed.
//
// To a 2.0 sender the three X-Prometheus-Remote-Write-*-Written headers go with
// every answer. What was absorbed counts as written.
//
// # What is more lenient than the letter
//
// Labels out of order are sorted and counted, not refused, because Prometheus
// takes them. A label with an empty value is as good as absent. A request
// without Content-Type is 1.0 and one without Content-Encoding is Snappy, as
// with Prometheus. A 2.0 series that carries metadata alone is taken.
//
// # The accounting identity
//
// For each protocol Received = Scored + the sum over Reasons + the sum over
// Rejected + Replica, in samples and histograms, where Reasons are the engine's
// and Rejected the handler's. What was answered by 503 is not received: it is
// counted in Deferred, and comes again.
package remotewrite
