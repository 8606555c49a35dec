package history

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// clock reads times in the notation that the first one has: a number of
// seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by
// their size, or a date. Dates without a zone are UTC.
type clock struct {
	layout string // of dates
	scale  float64
	ready  bool
}

// layouts are the dates that are understood. Each takes a fraction of a second.
var layouts = []string{
	time.RFC3339,
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05",
	"2006-01-02T15:04:05",
	"2006-01-02 15:04",
	"2006/01/02 15:04:05",
	"2006-01-02",
}

// set finds the notation of s.
func (c *clock) set(s string) error {
	if v, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
		switch size := math.Abs(v); {
		case size < 1e11: // the year 5138 in seconds, 1973 in milliseconds
			c.scale = 1e3
		case size < 1e14:
			c.scale = 1
		case size < 1e17:
			c.scale = 1e-3
		default:
			c.scale = 1e-6
		}
		c.ready = true
		return nil
	}
	for _, layout := range layouts {
		if _, err := time.Parse(layout, s); err == nil {
			c.layout, c.ready = layout, true
			return nil
		}
	}
	return fmt.Errorf("%s is not a time: want seconds, milliseconds or a date such as 2006-01-02 15:04:05", quote(s))
}

// maxMillis keeps a time within what time.Time can print: the year 9999.
const maxMillis = 253402300799999

// read is the time of s, in milliseconds since the epoch.
func (c *clock) read(s string) (int64, error) {
	if !c.ready {
		if err := c.set(s); err != nil {
			return 0, err
		}
	}
	if c.layout != "" {
		t, err := time.Parse(c.layout, s)
		if err != nil {
			return 0, fmt.Errorf("time %s is not written like the first one", quote(s))
		}
		return t.UnixMilli(), nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && c.scale >= 1 && n >= 0 && n <= maxMillis/int64(c.scale) {
		return n * int64(c.scale), nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("time %s is not written like the first one", quote(s))
	}
	if v = math.Round(v * c.scale); !(v >= 0 && v <= maxMillis) {
		return 0, fmt.Errorf("time %s lies outside the years 1970 to 9999", quote(s))
	}
	return int64(v), nil
}
