package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// interval is how often the rules are evaluated, in the recording's own time.
const interval = time.Minute

// ruleFile is Prometheus' rule file, as far as it is used here; promtool reads
// the same file for the recording rules.
type ruleFile struct {
	Groups []struct {
		Name     string         `yaml:"name"`
		Interval model.Duration `yaml:"interval,omitempty"`
		Rules    []rule         `yaml:"rules"`
	} `yaml:"groups"`
}

// rule is a recording rule or an alert.
type rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         model.Duration    `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// readRules reads the alerts of a rule file. An unknown key is an error.
func readRules(path string) ([]rule, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f ruleFile
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var alerts []rule
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				alerts = append(alerts, r)
			}
		}
	}
	if len(alerts) == 0 {
		return nil, fmt.Errorf("%s has no alert", path)
	}
	return alerts, nil
}

// sampled is one series of an alert's expression: the times at which it had a
// value.
type sampled struct {
	labels map[string]string
	at     []time.Time
}

// firing turns the values of an alert's expression into alarms as Prometheus'
// rule manager does: an alert is pending from the first evaluation that has a
// value, fires once that is For ago, and is over at the first that has none.
func firing(r *rule, series []sampled) []scorecard.Alarm {
	var out []scorecard.Alarm
	for _, s := range series {
		var since, last time.Time
		fired := false
		for _, at := range s.at {
			if since.IsZero() || at.Sub(last) > interval {
				since, fired = at, false
			}
			last = at
			if !fired && at.Sub(since) >= time.Duration(r.For) {
				fired = true
				out = append(out, scorecard.Alarm{At: at, Workload: workloadOf(s.labels), Text: r.Alert})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b scorecard.Alarm) int { return a.At.Compare(b.At) })
	return grouped(out)
}

// grouped joins what a person would be told once: Alertmanager groups the
// alerts of one name and workload, and a new page comes no sooner than a group
// interval later.
func grouped(alarms []scorecard.Alarm) []scorecard.Alarm {
	const groupInterval = 5 * time.Minute
	last := map[[2]string]time.Time{}
	return slices.DeleteFunc(alarms, func(a scorecard.Alarm) bool {
		key := [2]string{a.Text, a.Workload}
		before, seen := last[key]
		last[key] = a.At
		return seen && a.At.Sub(before) < groupInterval
	})
}

// workloadOf names the workload of an alert as homeostat does, empty when its
// labels don't tell.
func workloadOf(labels map[string]string) string {
	namespace, deployment := labels["namespace"], labels["deployment"]
	if namespace == "" || deployment == "" {
		return ""
	}
	return "namespace=" + strconv.Quote(namespace) + ",deployment=" + strconv.Quote(deployment)
}
