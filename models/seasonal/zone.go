// Package seasonal holds what a series does at which time of the day and of the
// week, in a configured time zone.
package seasonal

import "github.com/homeostat/homeostat/models"

// Zone is the time zone that a season lives in.
type Zone = models.Zone

// Transition is one of a zone.
type Transition = models.Transition

const (
	hourMillis = 60 * 60 * 1000
	dayMillis  = 24 * hourMillis
	weekMillis = 7 * dayMillis
)

// Hour returns the hour of the day, 0 to 23, of a local wall clock.
func Hour(local int64) uint8 { return uint8(modulo(local, dayMillis) / hourMillis) }

// modulo is never negative, also before 1970.
func modulo(a, m int64) int64 {
	if a %= m; a < 0 {
		a += m
	}
	return a
}
