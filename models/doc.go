// Package models holds what every detector agrees on: the scale of a score,
// what one look at a value says, and the contract of a model. The models
// themselves live in the folders below it, one folder each.
//
// A model is a pure state machine over the points of one measurement. It reads
// no clock, does no I/O, starts no goroutine and draws no number that is not
// seeded by its caller. It has two verbs: Score looks and changes nothing,
// Learn changes. A model never looks ahead: what it says at a point depends on
// the points before it only.
//
// State is a small value. It travels as a compact record in which each
// sub-record carries its length and its version, so that a reader that does
// not know a sub-record skips it and learns that part anew.
package models
