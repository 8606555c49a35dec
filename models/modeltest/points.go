//go:build !race

package modeltest

// calibrationPoints is how many points of each kind of noise the calibration
// rests on: at a score of 4 a thousand of them should be above.
const calibrationPoints = 10_000_000
