package main

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/benchmarks/detection/measure"
	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
)

// points is a labelled series, in time order.
type points struct {
	at    []int64 // ms
	value []float64
	label []bool
}

func open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(path, ".gz") {
		return f, nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

func hasLabels(path string) (bool, error) {
	f, err := open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head, err := bufio.NewReader(f).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return strings.TrimSpace(head) == "timestamp,value,label", nil
}

// read reads timestamps in seconds. Rows that repeat a time or go back in it
// are left out, as the engine would refuse them.
func read(path string) (*points, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows := csv.NewReader(bufio.NewReaderSize(f, 1<<20))
	rows.ReuseRecord = true
	if _, err := rows.Read(); err != nil {
		return nil, err
	}
	p := &points{}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err != nil {
			return nil, err
		}
		at, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", len(p.at)+2, err)
		}
		v, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", len(p.at)+2, err)
		}
		if n := len(p.at); n > 0 && at*1000 <= p.at[n-1] {
			continue
		}
		p.at = append(p.at, at*1000)
		p.value = append(p.value, v)
		p.label = append(p.label, row[2] == "1")
	}
}

// scored is what the engine said of each point.
type scored struct {
	score  []float64
	alert  []bool
	alerts []measure.Alert
}

// measureFile runs one series through an engine of its own.
func measureFile(f labelled, out string) (*result, error) {
	p, err := read(f.path)
	if err != nil {
		return nil, err
	}
	s := &scored{}
	e, err := engine.New(engine.Config{Trace: true}, 1)
	if err != nil {
		return nil, err
	}
	d := loop.NewDriver(loop.Config{Trace: s.take}, e, &loop.Numbers{})
	defer d.Close()
	ls := labels.FromStrings(labels.MetricName, "series", "job", f.name)
	series := e.Naming().NewSeries(ls, engine.TypeGauge)
	start := time.Now()
	batch := &engine.Batch{Sender: "benchmark", Samples: make([]engine.Sample, 1)}
	for i, at := range p.at {
		batch.Samples[0] = engine.Sample{Series: series, Partition: series.Partition, At: at, Value: p.value[i]}
		if _, err := d.Take(batch); err != nil {
			return nil, err
		}
		if _, err := d.Take(engine.Tick{Now: at + engine.EpochMillis}); err != nil {
			return nil, err
		}
	}
	spent := time.Since(start)
	if len(s.score) != len(p.at) {
		return nil, fmt.Errorf("%d points were scored of %d", len(s.score), len(p.at))
	}
	r := &result{series: 1, points: len(p.at), nanos: spent.Nanoseconds(), events: measure.Events(p.at, p.label, s.alerts)}
	if b, ok := e.Baseline(series.ID); ok {
		r.bytes = int64(b.Bytes)
	}
	return r, s.write(filepath.Join(out, f.set, f.name+".csv"), p)
}

// take takes what was scored in. An alert starts where an episode opens, and
// ends with the last point at which it is open.
func (s *scored) take(points []engine.Scored) {
	for _, x := range points {
		s.score = append(s.score, x.Reading.Score.Float())
		s.alert = append(s.alert, x.Alarm)
		if x.Opened {
			s.alerts = append(s.alerts, measure.Alert{Start: x.At, End: x.At})
		}
		if n := len(s.alerts); x.Alarm && n > 0 {
			s.alerts[n-1].End = x.At
		}
	}
}

func (s *scored) write(path string, p *points) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	fmt.Fprintln(w, "timestamp,value,score,alert,label")
	var line []byte
	for i, at := range p.at {
		line = strconv.AppendInt(line[:0], at/1000, 10)
		line = strconv.AppendFloat(append(line, ','), p.value[i], 'g', -1, 64)
		line = strconv.AppendFloat(append(line, ','), s.score[i], 'g', -1, 64)
		line = append(line, ',', digit(s.alert[i]), ',', digit(p.label[i]), '\n')
		if _, err := w.Write(line); err != nil {
			f.Close()
			return err
		}
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
