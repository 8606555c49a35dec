// Package serve is how people and tools reach a running homeostat: the gRPC
// service homeostat.v1, and the lists, pages and figures over HTTP. A guard lets
// in who holds a token.
//
// A subscriber has a place of its own in the durable log and is only woken by
// what is new. Who follows closely takes from a bounded ring of the newest
// records, which all share; who falls behind reads the log; what the log no
// longer holds is told as a gap with its count. So each event comes once and in
// order however slow the subscriber is, and ingest never waits for one: a
// subscriber that takes nothing for long is ended, and resumes.
package serve
