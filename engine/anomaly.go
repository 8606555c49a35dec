package engine

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strconv"

	"github.com/homeostat/homeostat/models"
)

// Kind names a trouble. The numbers are part of the storage format.
type Kind uint8

// The kinds of trouble.
const (
	KindSpike Kind = iota + 1
	KindDip
	KindLevelShift
	KindLatencyRise
	KindTrafficSurge
	KindTrafficDrop
	KindErrorRatio
	KindLeak
	KindLostSeason
	KindSilence
	KindDataFault
	KindNovelty        // a value that the series never had
	KindShape          // a course of values that the series never took
	KindSaturation     // at its limit, or a queue that does not drain
	KindVarianceChange // it moves more than it used to, or not at all any more
	numKinds
)

var kindNames = [numKinds]string{
	"", "spike", "dip", "level_shift", "latency_rise", "traffic_surge", "traffic_drop",
	"error_ratio", "leak", "lost_season", "silence", "data_fault", "novelty", "shape", "saturation", "variance_change",
}

// String is the kind's name in output and scenarios.
func (k Kind) String() string {
	if k == 0 || k >= numKinds {
		return "kind(" + strconv.Itoa(int(k)) + ")"
	}
	return kindNames[k]
}

const (
	tierLean = "lean"
	tierDeep = "deep"
)

// tierOf is the tier that finds a kind of trouble.
func tierOf(k Kind) string {
	if k == KindNovelty || k == KindShape {
		return tierDeep
	}
	return tierLean
}

// ParseKind reads what String wrote.
func ParseKind(s string) (Kind, error) {
	for k := KindSpike; k < numKinds; k++ {
		if kindNames[k] == s {
			return k, nil
		}
	}
	return 0, fmt.Errorf("kind %q is unknown", s)
}

// Revision is the place of one message in the life of an anomaly or incident.
type Revision uint8

// The revisions.
const (
	Opened Revision = iota + 1
	Updated
	Closed
)

var revisionNames = [...]string{"", "OPENED", "UPDATED", "CLOSED"}

// String is the revision's name in output.
func (r Revision) String() string { return revisionNames[r] }

// AnomalyID is a hash of the series, the opening time and the kind at opening,
// so that scoring the same input again after a crash makes the same ID.
type AnomalyID uint64

// String gives the ID as 16 hexadecimal digits.
func (id AnomalyID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// ParseAnomalyID reads what String wrote.
func ParseAnomalyID(s string) (AnomalyID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("anomaly id %q: want 16 hexadecimal digits", s)
	}
	return AnomalyID(n), nil
}

func anomalyID(s SeriesID, openedAt int64, k Kind) AnomalyID {
	return AnomalyID(hash64(uint64(s), uint64(openedAt), uint64(k)))
}

// hash64 is FNV-1a over the little-endian bytes of the words. IDs made by it
// are stored: it never changes.
func hash64(words ...uint64) uint64 {
	h := fnv.New64a()
	var b [8]byte
	for _, w := range words {
		binary.LittleEndian.PutUint64(b[:], w)
		h.Write(b[:])
	}
	return h.Sum64()
}

// Factor is one named reason of a score, in words.
type Factor struct {
	Name  string       // the detector, such as "step" or "season"
	Score models.Score // its own calibrated score
	Text  string       // what it saw, for a person
}

// Anomaly is one revision of an episode in which a measurement was not normal.
type Anomaly struct {
	ID        AnomalyID
	Revision  Revision
	Series    *Series // the measurement; derived ones carry a name such as http_seconds:p99
	Kind      Kind    // may be refined after opening (spike to level_shift); the ID keeps
	Epoch     int64   // start of the epoch it belongs to, ms
	At        int64   // time of the point that caused this revision, ms
	OpenedAt  int64   // ms
	Value     float64 // of KindVarianceChange, as Expected, the movement from one value to the next
	Expected  float64
	Lower     float64      // the value would have been quiet within [Lower, Upper]
	Upper     float64      // both 0 when no value would have been
	Direction int8         // +1 above what was expected, −1 below, 0 neither
	Score     models.Score // of the point at At
	Peak      models.Score // the highest so far in this episode
	Threshold Threshold    // in force at At
	Tier      string       // which tier scored: "lean" or "deep"
	Factors   []Factor
	Quiet     Counterfactual // of the revision OPENED only

	// Limit is what a series that leaks or is saturated has for a limit, 0 when
	// none is known. LimitAt is when a leak will be there, ms; 0 when that is not
	// known.
	Limit   float64
	LimitAt int64
}

// Counterfactual says what would have kept an anomaly quiet.
type Counterfactual struct {
	Text string
	// Value is what Text names, if Named: had it come in the place of the
	// anomaly's Value, there would be no anomaly, and a bit closer to that Value,
	// a step of its last digit or a hundredth of the way, there would.
	Value float64
	Named bool
}

// Threshold is when an episode opens and closes, with hysteresis.
type Threshold struct {
	Open    models.Score
	Close   models.Score
	Version uint32 // 0 = the configured one; each move adds 1
	Cause   string // what last moved it: "config", or the label's or undo's ID
}
