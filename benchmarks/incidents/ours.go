package main

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/homeostat/homeostat/actuators/dryrun"
	"github.com/homeostat/homeostat/benchmarks/scorecard"
	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/ingest/history"
)

// told gathers the incidents of which a person is told, each with the words of
// its first member. What is only held, such as a fault of the data, is none.
type told struct {
	words     map[engine.AnomalyID]string
	incidents map[engine.IncidentID]scorecard.Alarm
	alarms    []scorecard.Alarm
}

// Deliver takes records in.
func (t *told) Deliver(_ uint64, records []engine.Record) {
	for _, rec := range records {
		switch r := rec.(type) {
		case *engine.Anomaly:
			if r.Revision == engine.Opened {
				t.words[r.ID] = r.Kind.String() + " of " + r.Series.Labels.String()
			}
		case *engine.Incident:
			if r.Revision != engine.Opened {
				continue
			}
			a := scorecard.Alarm{At: time.UnixMilli(r.At).UTC(), Workload: string(r.Workload)}
			if len(r.Members) > 0 {
				a.Text = t.words[r.Members[0].Anomaly]
			}
			t.incidents[r.ID] = a
		case engine.Decision:
			if a, ok := t.incidents[r.Incident]; ok && r.Verb == engine.Act {
				a.At = time.UnixMilli(r.At).UTC()
				t.alarms = append(t.alarms, a)
			}
		}
	}
}

// ours replays a recording with the configuration that serve starts with; each
// incident that notifies is an alarm, at the time of that decision.
func ours(path string) ([]scorecard.Alarm, error) {
	e, err := engine.New(engine.Config{}, 1)
	if err != nil {
		return nil, err
	}
	src, err := history.Open(history.Config{Naming: e.Naming(), Grace: e.Grace()}, path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	t := &told{words: map[engine.AnomalyID]string{}, incidents: map[engine.IncidentID]scorecard.Alarm{}}
	d := loop.NewDriver(loop.Config{
		Sinks:    []loop.Sink{t},
		Actuator: dryrun.New(dryrun.Config{Log: slog.New(slog.DiscardHandler)}),
	}, e, &loop.Numbers{})
	defer d.Close()
	for {
		ev, err := src.Next()
		if errors.Is(err, io.EOF) {
			return t.alarms, nil
		}
		if err != nil {
			return nil, err
		}
		if _, err := d.Take(ev); err != nil {
			return nil, err
		}
	}
}
