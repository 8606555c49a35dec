package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"go.yaml.in/yaml/v3"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/ingest/remotewrite"
	"github.com/homeostat/homeostat/store"
)

// fileConfig is the configuration file. What is left out takes the default of
// the package it belongs to.
type fileConfig struct {
	Detection   detectionConfig   `yaml:"detection"`
	RemoteWrite remoteWriteConfig `yaml:"remote_write"`
	Storage     storageConfig     `yaml:"storage"`
	Queue       queueConfig       `yaml:"queue"`
	Watch       watchConfig       `yaml:"watch"`
}

type detectionConfig struct {
	FalseAlarmDays float64       `yaml:"false_alarm_days"` // about one false alarm a series in so many days
	TimeZone       string        `yaml:"time_zone"`        // IANA name; the seasons follow it
	WorkloadBy     [][]string    `yaml:"workload_by"`      // label sets, the first present names the workload
	Grace          time.Duration `yaml:"grace"`
	MaxAhead       time.Duration `yaml:"max_ahead"`
	UpdateEvery    time.Duration `yaml:"update_every"`
	SilentAfter    time.Duration `yaml:"silent_after"`
	IncidentGap    time.Duration `yaml:"incident_gap"`
	WatchFor       time.Duration `yaml:"watch_for"`
	MaxSeries      int           `yaml:"max_series"`
	Deep           deepConfig    `yaml:"deep"`
	Floors         []floorConfig `yaml:"floors"` // of those that match a series, the first holds
}

// floorConfig says which deviations of some series are too small to matter.
type floorConfig struct {
	Match          map[string]string `yaml:"match"`           // all labels must match
	IgnoreBelow    float64           `yaml:"ignore_below"`    // in the series' unit
	IgnoreRelative float64           `yaml:"ignore_relative"` // a share of the expected value
}

// deepConfig chooses the series that the deep tier looks at too.
type deepConfig struct {
	Match    []map[string]string `yaml:"match"` // a series is chosen when all labels of one entry match
	MaxBytes int                 `yaml:"max_bytes"`
}

type remoteWriteConfig struct {
	SenderHeader  string         `yaml:"sender_header"`
	MaxCompressed int            `yaml:"max_compressed_bytes"`
	MaxDecoded    int            `yaml:"max_decoded_bytes"`
	MaxSeries     int            `yaml:"max_series"`
	MaxLabels     int            `yaml:"max_labels"`
	Replicas      replicasConfig `yaml:"replicas"`
}

type replicasConfig struct {
	ClusterLabel string `yaml:"cluster_label"`
	ReplicaLabel string `yaml:"replica_label"`
}

type storageConfig struct {
	MinFreeBytes int64         `yaml:"min_free_bytes"`
	SweepEvery   time.Duration `yaml:"sweep_every"`
	TailBytes    int64         `yaml:"tail_bytes"`
	TailAge      time.Duration `yaml:"tail_age"`
}

type queueConfig struct {
	Batches int `yaml:"batches"`
	Samples int `yaml:"samples"`
}

type watchConfig struct {
	Heartbeat      time.Duration `yaml:"heartbeat"`
	MaxSubscribers int           `yaml:"max_subscribers"`
}

// engineConfig composes the engine's configuration.
func (c *fileConfig) engineConfig() (engine.Config, error) {
	d := c.Detection
	cfg := engine.Config{
		FalseAlarmDays: d.FalseAlarmDays, Grace: d.Grace, MaxAhead: d.MaxAhead, UpdateEvery: d.UpdateEvery,
		SilentAfter: d.SilentAfter, IncidentGap: d.IncidentGap, WatchFor: d.WatchFor, MaxSeries: d.MaxSeries,
		Naming: engine.Naming{WorkloadBy: d.WorkloadBy},
	}
	if d.TimeZone != "" {
		zone, err := zoneOf(d.TimeZone)
		if err != nil {
			return cfg, fmt.Errorf("detection.time_zone: %w", err)
		}
		cfg.Zone = zone
	}
	match, err := d.Deep.matcher()
	if err != nil {
		return cfg, fmt.Errorf("detection.deep.match: %w", err)
	}
	cfg.Deep = engine.Deep{Match: match, MaxBytes: d.Deep.MaxBytes}
	for i, f := range d.Floors {
		ms, err := matchersOf(i+1, f.Match)
		if err != nil {
			return cfg, fmt.Errorf("detection.floors: match of %w", err)
		}
		cfg.Floors = append(cfg.Floors, engine.Floor{
			Match: func(ls labels.Labels) bool { return matchAll(ms, ls) }, Below: f.IgnoreBelow, Relative: f.IgnoreRelative,
		})
	}
	if err := cfg.Validate(); err != nil {
		return cfg, fmt.Errorf("detection: %w", err)
	}
	return cfg, nil
}

// matcher compiles the entries. It is nil without one.
func (c *deepConfig) matcher() (func(labels.Labels) bool, error) {
	var entries [][]*labels.Matcher
	for i, entry := range c.Match {
		ms, err := matchersOf(i+1, entry)
		if err != nil {
			return nil, err
		}
		entries = append(entries, ms)
	}
	if len(entries) == 0 {
		return nil, nil
	}
	return func(ls labels.Labels) bool {
		return slices.ContainsFunc(entries, func(ms []*labels.Matcher) bool { return matchAll(ms, ls) })
	}, nil
}

// matchersOf compiles what chooses series: each value is a regular expression for
// the whole value of its label, as Prometheus' =~ has it, so that a plain value
// stands for itself.
func matchersOf(n int, entry map[string]string) ([]*labels.Matcher, error) {
	if len(entry) == 0 {
		return nil, fmt.Errorf("entry %d is empty and would choose every series; write __name__: .+ for that", n)
	}
	var ms []*labels.Matcher
	for _, name := range slices.Sorted(maps.Keys(entry)) {
		if !model.UTF8Validation.IsValidLabelName(name) {
			return nil, fmt.Errorf("entry %d: %q is no label name", n, name)
		}
		m, err := labels.NewMatcher(labels.MatchRegexp, name, entry[name])
		if err != nil {
			return nil, fmt.Errorf("entry %d, label %s: %w", n, name, err)
		}
		ms = append(ms, m)
	}
	return ms, nil
}

func matchAll(ms []*labels.Matcher, ls labels.Labels) bool {
	return !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) })
}

func (c *fileConfig) loopConfig() (loop.Config, error) {
	cfg := loop.Config{QueueBatches: c.Queue.Batches, QueueSamples: c.Queue.Samples, SweepEvery: c.Storage.SweepEvery}
	if err := cfg.Validate(); err != nil {
		return cfg, fmt.Errorf("queue: %w", err)
	}
	return cfg, nil
}

func (c *fileConfig) storeConfig() (store.Config, error) {
	cfg := store.Config{MinFreeBytes: c.Storage.MinFreeBytes, TailBytes: c.Storage.TailBytes, TailAge: c.Storage.TailAge}
	if err := cfg.Validate(); err != nil {
		return cfg, fmt.Errorf("storage.%w", err)
	}
	return cfg, nil
}

func (c *fileConfig) writeConfig() (remotewrite.Config, error) {
	w := c.RemoteWrite
	cfg := remotewrite.Config{
		SenderHeader: w.SenderHeader,
		Limits: remotewrite.Limits{
			CompressedBytes: w.MaxCompressed, DecodedBytes: w.MaxDecoded, Series: w.MaxSeries, Labels: w.MaxLabels,
		},
		Replicas: remotewrite.Replicas{ClusterLabel: w.Replicas.ClusterLabel, ReplicaLabel: w.Replicas.ReplicaLabel},
	}
	if err := cfg.Validate(); err != nil {
		return cfg, fmt.Errorf("remote_write: %w", err)
	}
	return cfg, nil
}

// validate checks everything that serving would use, without the network.
func (c *fileConfig) validate() error {
	_, engineErr := c.engineConfig()
	_, loopErr := c.loopConfig()
	_, writeErr := c.writeConfig()
	_, storeErr := c.storeConfig()
	var own []error
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"watch.heartbeat", int64(c.Watch.Heartbeat)},
		{"watch.max_subscribers", int64(c.Watch.MaxSubscribers)},
	} {
		if n.value < 0 {
			own = append(own, fmt.Errorf("%s: %d, want 0 or more", n.name, n.value))
		}
	}
	return errors.Join(append(own, engineErr, loopErr, writeErr, storeErr)...)
}

// loadConfig reads a configuration file; an empty path is the defaults.
func loadConfig(path string) (*fileConfig, error) {
	var c fileConfig
	if path == "" {
		return &c, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if err := parseConfig(b, os.LookupEnv, &c); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return &c, nil
}

// parseConfig reads YAML strictly: a key that is unknown is an error that says
// its line and the nearest known one. ${NAME} in a value stands for the
// environment's; one that is not set is an error.
func parseConfig(b []byte, env func(string) (string, bool), c *fileConfig) error {
	var doc, more yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(b))
	if err := documents.Decode(&doc); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return err
	}
	if err := documents.Decode(&more); err == nil {
		return fmt.Errorf("line %d: a second document begins here, and only one would be read", more.Line)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	if len(doc.Content) == 0 {
		return nil
	}
	if err := expand(doc.Content[0], env); err != nil {
		return err
	}
	if err := checkKeys(doc.Content[0], reflect.TypeOf(*c), ""); err != nil {
		return err
	}
	if err := doc.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return c.validate()
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand puts the environment into the values below a node; keys stay.
func expand(n *yaml.Node, env func(string) (string, bool)) error {
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "${") {
		var missing string
		n.Value = variable.ReplaceAllStringFunc(n.Value, func(m string) string {
			name := variable.FindStringSubmatch(m)[1]
			v, ok := env(name)
			if !ok {
				missing = name
			}
			return v
		})
		if missing != "" {
			return fmt.Errorf("line %d: the environment variable %s is not set", n.Line, missing)
		}
		n.Tag = "" // what was put in may be a number
		n.Style = 0
	}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			continue
		}
		if err := expand(child, env); err != nil {
			return err
		}
	}
	return nil
}

// checkKeys refuses the first key that the struct does not have.
func checkKeys(n *yaml.Node, t reflect.Type, path string) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode {
		for i, item := range n.Content {
			if err := checkKeys(item, t.Elem(), fmt.Sprintf("%s entry %d", path, i+1)); err != nil {
				return err
			}
		}
		return nil
	}
	if t.Kind() != reflect.Struct || n.Kind != yaml.MappingNode {
		return nil
	}
	known := map[string]reflect.Type{}
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		known[name] = t.Field(i).Type
		names = append(names, name)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		field, ok := known[key.Value]
		if !ok {
			return fmt.Errorf("line %d: the key %q is unknown%s; did you mean %q?", key.Line, key.Value, inside(path), nearest(key.Value, names))
		}
		if err := checkKeys(n.Content[i+1], field, strings.TrimPrefix(path+"."+key.Value, ".")); err != nil {
			return err
		}
	}
	return nil
}

func inside(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

// nearest is the name with the least edit distance (Levenshtein 1966).
func nearest(word string, names []string) string {
	return slices.MinFunc(names, func(a, b string) int { return distance(word, a) - distance(word, b) })
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
