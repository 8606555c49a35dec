// Package serve is how people and tools reach a running homeostat: the gRPC
// service homeostat.v1, and the pages and figures over HTTP.
//
// A subscriber reads the durable log itself, from its own place in it, and is
// only woken by what is new. So each event comes once and in order however
// slow the subscriber is, and ingest never waits for one.
package serve
