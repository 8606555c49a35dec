package history

import (
	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
)

// seriesTable holds each series of a source once, and numbers them.
type seriesTable struct {
	naming engine.Naming
	room   *seriesRoom
	types  map[string]engine.Type // of metric families, as far as they are declared
	all    []*engine.Series
	byHash map[uint64][]uint32 // numbers, by the hash of the labels
}

func newSeriesTable(cfg *Config, room *seriesRoom) *seriesTable {
	return &seriesTable{naming: cfg.Naming, room: room, byHash: map[uint64][]uint32{}}
}

// number is the place in t.all of the series with these labels. The error says
// that there are too many.
func (t *seriesTable) number(ls labels.Labels) (uint32, error) {
	hash := ls.Hash()
	for _, n := range t.byHash[hash] {
		if labels.Equal(t.all[n].Labels, ls) {
			return n, nil
		}
	}
	if err := t.room.take(); err != nil {
		return 0, err
	}
	n := uint32(len(t.all))
	t.all = append(t.all, t.naming.NewSeries(ls, typeOf(t.types, ls.Get(labels.MetricName))))
	t.byHash[hash] = append(t.byHash[hash], n)
	return n, nil
}
