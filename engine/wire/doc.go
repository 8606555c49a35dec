// Package wire turns the engine's types into messages of homeostat.v1 and back.
// encode.go goes out, decode.go comes in; input_encode.go and input_decode.go do
// the same for the inputs of a recording.
//
// What goes out is deterministic: one record gives the same bytes each time.
// Text that is not UTF-8 goes out with U+FFFD in place of what is wrong, because
// a journal must not fail for what a stranger typed; in the batches of a
// recording text is bytes and is kept exactly.
//
// What comes in is checked: a kind, a field or a number that this version does
// not know is an error that names it. A reader that skipped it would carry on
// with a state that nobody ever had.
package wire
