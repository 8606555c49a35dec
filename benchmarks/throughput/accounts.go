package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// errAccounts says that a target's own counters tell another story than what was
// sent: the figures of such a run are worth nothing.
var errAccounts = errors.New("the target's counters disagree with what was sent")

// counters are a target's metrics page.
type counters map[string]*dto.MetricFamily

func parseCounters(text []byte) (counters, error) {
	p := expfmt.NewTextParser(model.UTF8Validation)
	return p.TextToMetricFamilies(bytes.NewReader(text))
}

// sum adds up the values of a family whose labels include name=value, or all of
// them without one.
func (c counters) sum(family string, label ...string) int64 {
	total := 0.0
	for _, m := range c[family].GetMetric() {
		matches := len(label) == 0
		for _, l := range m.GetLabel() {
			matches = matches || l.GetName() == label[0] && l.GetValue() == label[1]
		}
		if matches {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return int64(total)
}

func (t *target) counters(ctx context.Context) (counters, error) {
	text, err := fetch(ctx, t.web+"/metrics")
	if err != nil {
		return nil, fmt.Errorf("counters of %s: %w", t.name, err)
	}
	return parseCounters(text)
}

// account compares what was sent and answered by a 2xx with what the target says
// that it took. A URL's counters are unknown: there its answers must do.
func (t *target) account(ctx context.Context, sent int64) (counters, error) {
	if t.web == "" {
		return nil, nil
	}
	c, err := t.counters(ctx)
	if err != nil {
		return nil, err
	}
	return c, c.agree(t.name, sent)
}

// agree sees that a target took what was sent and lost nothing of it.
func (c counters) agree(target string, sent int64) error {
	var taken, lost int64
	switch target {
	case homeostat:
		taken = c.sum("homeostat_ingest_samples_total", "outcome", "received")
		scored, absorbed := c.sum("homeostat_ingest_samples_total", "outcome", "scored"), c.sum("homeostat_ingest_absorbed_total")
		lost = c.sum("homeostat_ingest_rejected_total")
		if taken != scored+absorbed+lost {
			return fmt.Errorf("%w: received %d, but scored %d + absorbed %d + rejected %d = %d", errAccounts, taken, scored, absorbed, lost, scored+absorbed+lost)
		}
	case prometheus:
		taken = c.sum("prometheus_tsdb_head_samples_appended_total")
		for _, name := range []string{"out_of_bound", "out_of_order", "too_old"} {
			lost += c.sum("prometheus_tsdb_" + name + "_samples_total")
		}
	case victoriametrics:
		taken = c.sum("vm_rows_inserted_total", "type", "promremotewrite")
		lost = c.sum("vm_rows_ignored_total")
	}
	if taken != sent || lost != 0 {
		return fmt.Errorf("%w: sent %d, taken %d, of them refused or ignored %d", errAccounts, sent, taken, lost)
	}
	return nil
}

// scored is how many measurements homeostat scored, received and derived.
func (c counters) scored() int64 { return c.sum("homeostat_scored_samples_total") }

// histogramCount is how many observations a histogram holds.
func (c counters) histogramCount(family string) int64 {
	n := uint64(0)
	for _, m := range c[family].GetMetric() {
		n += m.GetHistogram().GetSampleCount()
	}
	return int64(n)
}
