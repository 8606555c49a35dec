package main

import (
	"fmt"
	"time"
	_ "time/tzdata" // a static binary has no zone files to read

	"github.com/homeostat/homeostat/models"
)

// The years for which a zone's transitions are worked out.
const (
	zoneFrom = 1970
	zoneTo   = 2070
)

// zoneOf is a time zone as data, because the engine reads no zone files.
func zoneOf(name string) (models.Zone, error) {
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %q is unknown: want an IANA name such as Europe/Berlin", name)
	}
	offset := func(at int64) int32 {
		_, o := time.Unix(at, 0).In(loc).Zone()
		return int32(o)
	}
	at := time.Date(zoneFrom, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	end := time.Date(zoneTo, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	zone := models.Zone{{At: at * 1000, OffsetSeconds: int(offset(at))}}
	const week = 7 * 24 * 3600
	for ; at < end; at += week {
		if offset(at) == offset(at+week) {
			continue
		}
		lo, hi := at, at+week
		for hi-lo > 1 {
			if mid := (lo + hi) / 2; offset(mid) == offset(lo) {
				lo = mid
			} else {
				hi = mid
			}
		}
		zone = append(zone, models.Transition{At: hi * 1000, OffsetSeconds: int(offset(hi))})
	}
	return zone, nil
}
