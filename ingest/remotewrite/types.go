package remotewrite

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/homeostat/homeostat/engine"
)

// typeV1 is the type that a 1.0 MetricMetadata declares. A gauge histogram, an
// info and a state set are gauges to whoever scores them.
func typeV1(t uint32) engine.Type {
	switch t {
	case 1:
		return engine.TypeCounter
	case 2, 4, 6, 7:
		return engine.TypeGauge
	case 3:
		return engine.TypeHistogram
	case 5:
		return engine.TypeSummary
	}
	return engine.TypeUnknown
}

// typeV2 is the type that a 2.0 Metadata declares: its numbers are those of 1.0.
func typeV2(t uint32) engine.Type { return typeV1(t) }

// declarations remembers which type 1.0 metadata declared for which name. 1.0
// sends metadata in requests of their own, so that they usually come after the
// first samples; generation tells the cache to look again.
type declarations struct {
	limit      int
	nameBytes  int
	generation atomic.Uint32
	mu         sync.RWMutex
	byName     map[string]engine.Type
	dropped    uint64 // beyond the limit
}

func newDeclarations(limit, nameBytes int) *declarations {
	return &declarations{limit: limit, nameBytes: nameBytes, byName: map[string]engine.Type{}}
}

func (d *declarations) declare(name []byte, t engine.Type) {
	if len(name) == 0 || len(name) > d.nameBytes {
		return
	}
	d.mu.RLock()
	known, ok := d.byName[string(name)]
	d.mu.RUnlock()
	if ok && known == t || !ok && t == engine.TypeUnknown {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !ok && len(d.byName) >= d.limit {
		d.dropped++
		return
	}
	d.byName[string(name)] = t
	d.generation.Add(1)
}

func (d *declarations) size() (names int, dropped uint64) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.byName), d.dropped
}

// of is the declared type of the series with this metric name. A histogram's
// or summary's declaration holds for its _bucket, _sum and _count too, and an
// OpenMetrics counter's, which lacks the _total of its series, for that. A
// _created series is a time, whatever its family.
func (d *declarations) of(name string) engine.Type {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if len(d.byName) == 0 {
		return engine.TypeUnknown
	}
	if t, ok := d.byName[name]; ok {
		return t
	}
	cut := strings.LastIndexByte(name, '_')
	if cut < 0 {
		return engine.TypeUnknown
	}
	t := d.byName[name[:cut]]
	switch name[cut:] {
	case "_bucket":
		if t == engine.TypeHistogram || t == engine.TypeGauge {
			return t
		}
	case "_sum", "_count":
		if t == engine.TypeHistogram || t == engine.TypeSummary {
			return t
		}
	case "_gsum", "_gcount":
		if t == engine.TypeGauge {
			return t
		}
	case "_total":
		if t == engine.TypeCounter {
			return t
		}
	case "_created":
		if t == engine.TypeCounter || t == engine.TypeHistogram || t == engine.TypeSummary {
			return engine.TypeGauge
		}
	}
	return engine.TypeUnknown
}
