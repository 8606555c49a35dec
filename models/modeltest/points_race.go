//go:build race

package modeltest

// calibrationPoints is less under the race detector, which makes everything ten
// times slower and looks for something else.
const calibrationPoints = 1_000_000
