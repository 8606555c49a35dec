package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/benchmarks/detection/measure"
	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/models"
	"github.com/homeostat/homeostat/models/lean"
	"github.com/homeostat/homeostat/models/trend"
)

// scored is what the engine said of each row. A row that it has no use for, one
// without a value or one that does not go on in time, has score 0.
type scored struct {
	score  []float64       // of the main path, or of the deep tier when that is measured
	alert  []bool          // an alert stands after this row
	alerts []measure.Alert // of all channels
	main   []measure.Alert // those of the main path alone; only their starts are known

	startRows []int // at which alerts start, one for each
	otherRows []int // at which those do that come of another channel than score

	now       int                      // the row that is being taken in
	standing  map[engine.AnomalyID]int // the place in alerts of each that stands
	threshold float64                  // of score, as in force at the end
	deep      bool                     // the deep tier is measured
	opened    int                      // alerts of score's channel that this row opened
	spent     time.Duration
	bytes     footprint
}

// footprint is the bytes of one series: the state in memory that its baseline
// consists of, and its record in the store, which also holds its labels.
type footprint struct{ core, season, slow, deep, record int }

func (f footprint) state() int { return f.core + f.season + f.slow + f.deep }

// score runs one series through an engine of its own: a tick and a batch of one
// sample for each row, as from a sender that is never late.
func score(name string, s *series, tier string) (*scored, error) {
	cfg := engine.Config{Trace: true}
	if tier == tierDeep {
		cfg.Deep.Match = func(labels.Labels) bool { return true }
	}
	e, err := engine.New(cfg, 1)
	if err != nil {
		return nil, err
	}
	x := &scored{deep: tier == tierDeep, score: make([]float64, len(s.at)), alert: make([]bool, len(s.at)), standing: map[engine.AnomalyID]int{}}
	if x.deep {
		x.threshold = models.MaxScore.Float() // until it looks at the series
	}
	d := loop.NewDriver(loop.Config{Trace: x.take, Sinks: []loop.Sink{x}}, e, &loop.Numbers{})
	defer d.Close()
	ls := labels.FromStrings(labels.MetricName, "series", "job", name)
	id := e.Naming().NewSeries(ls, engine.TypeGauge)
	start := time.Now()
	if err := x.drive(d, id, s); err != nil {
		return nil, err
	}
	x.spent = time.Since(start)
	if b, ok := e.Baseline(id.ID); ok {
		if !x.deep {
			x.threshold = b.Threshold.Open.Float()
		}
		x.bytes = footprint{core: int(unsafe.Sizeof(lean.Core{})), slow: int(unsafe.Sizeof(trend.Core{})), record: b.Bytes}
		_, _, x.bytes.deep = e.DeepSize()
		if b.Season {
			x.bytes.season = int(unsafe.Sizeof(lean.Season{}))
		}
	}
	return x, nil
}

func (x *scored) drive(d *loop.Driver, id *engine.Series, s *series) error {
	batch := &engine.Batch{Sender: "benchmark", Samples: make([]engine.Sample, 1)}
	last := int64(math.MinInt64)
	for i, at := range s.at {
		x.now = i
		goesOn := at > last
		if goesOn {
			last = at
			if _, err := d.Take(engine.Tick{Now: at}); err != nil {
				return err
			}
		}
		all := len(x.alerts)
		x.opened = 0
		batch.Samples[0] = engine.Sample{Series: id, Partition: id.Partition, At: at, Value: s.value[i]}
		r, err := d.Take(batch)
		if err != nil {
			return err
		}
		if goesOn && r.Scored == 0 && !math.IsNaN(s.value[i]) {
			return fmt.Errorf("row %d (%s, %v) was not scored", i+1, s.clock(at), s.value[i])
		}
		x.alert[i] = len(x.standing) > 0
		for k := range len(x.alerts) - all {
			x.startRows = append(x.startRows, i)
			if k >= x.opened {
				x.otherRows = append(x.otherRows, i)
			}
		}
	}
	return nil
}

// take takes the score of a row in.
func (x *scored) take(points []engine.Scored) {
	for _, p := range points {
		x.score[x.now] = p.Reading.Score.Float()
		if p.Opened {
			x.main = append(x.main, measure.Alert{Start: p.At, End: p.At})
		}
		if x.deep {
			x.score[x.now] = p.Deep.Score.Float()
			if p.DeepOpen > 0 {
				x.threshold = p.DeepOpen.Float()
			}
		} else if p.Opened {
			x.opened++
		}
	}
}

// Deliver takes in the alerts that open and end. A fault of the data is none.
func (x *scored) Deliver(_ uint64, records []engine.Record) {
	for _, r := range records {
		a, ok := r.(*engine.Anomaly)
		if !ok || a.Kind == engine.KindDataFault {
			continue
		}
		switch a.Revision {
		case engine.Opened:
			if x.deep && a.Tier == tierDeep {
				x.opened++
			}
			x.standing[a.ID] = len(x.alerts)
			x.alerts = append(x.alerts, measure.Alert{Start: a.At, End: a.At})
		case engine.Closed:
			x.alerts[x.standing[a.ID]].End = a.At
			delete(x.standing, a.ID)
		}
	}
}

// write writes the file of a series' scores.
func (x *scored) write(path string, s *series) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	head := "timestamp,value,score,alert"
	if s.label != nil {
		head += ",label"
	}
	fmt.Fprintln(w, head)
	var line []byte
	for i, at := range s.at {
		line = append(line[:0], s.clock(at)...)
		line = strconv.AppendFloat(append(line, ','), s.value[i], 'g', -1, 64)
		line = strconv.AppendFloat(append(line, ','), x.score[i], 'g', -1, 64)
		line = append(line, ',', digit(x.alert[i]))
		if s.label != nil {
			line = append(line, ',', digit(s.label[i]))
		}
		w.Write(append(line, '\n'))
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func digit(b bool) byte {
	if b {
		return '1'
	}
	return '0'
}
