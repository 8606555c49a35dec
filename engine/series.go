package engine

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// Partitions is the number of partitions, the unit that shards own.
const Partitions = 256

// SeriesID is a stable 64-bit hash of a series' sorted labels. Two series with
// one ID are told apart when the second is first seen: it is rejected.
type SeriesID uint64

// String gives the ID as 16 hexadecimal digits.
func (id SeriesID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// ParseSeriesID reads what String wrote.
func ParseSeriesID(s string) (SeriesID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("series id %q: want 16 hexadecimal digits", s)
	}
	return SeriesID(n), nil
}

// Type says what a sender declared a series to be. TypeUnknown leaves the
// question to the name: _total, _count, _sum and _bucket are counters.
type Type uint8

// The declared types.
const (
	TypeUnknown Type = iota
	TypeGauge
	TypeCounter
	TypeHistogram
	TypeSummary
)

// Series is who is measured. It is immutable: everyone may hold it.
type Series struct {
	ID        SeriesID
	Labels    labels.Labels
	Workload  Workload
	Partition uint8
	Type      Type
}

// Workload is what a person would restart. Its text form is the label set that
// named it, such as namespace="shop",deployment="api".
type Workload string

// Partition is the partition of a workload: FNV-1a of its text, mod 256. The
// function is part of the storage format.
func (w Workload) Partition() uint8 {
	h := fnv.New64a()
	h.Write([]byte(w))
	sum := h.Sum64()
	return uint8(sum ^ sum>>32)
}

// has says whether a label and its value are among those that name the workload.
func (w Workload) has(label, value string) bool {
	pair := label + "=" + strconv.Quote(value)
	return strings.HasPrefix(string(w), pair) || strings.Contains(string(w), ","+pair)
}

// NewSeries makes the series of a label set. The labels are sorted already, as
// labels.Labels promises.
func (n Naming) NewSeries(ls labels.Labels, typ Type) *Series {
	w := n.Workload(ls)
	return &Series{
		ID:        SeriesID(labels.StableHash(ls)),
		Labels:    ls,
		Workload:  w,
		Partition: w.Partition(),
		Type:      typ,
	}
}
