package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestConfigurationIsStrict(t *testing.T) {
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"DAYS": "7", "LABEL": "x: {y", "ZONE": "Europe/Berlin"}[name]
		return v, ok
	}
	for _, c := range []struct {
		name string
		text string
		says []string // of the error; none when it is taken
	}{
		{"nothing", "", nil},
		{"a comment only", "# nothing\n", nil},
		{"a value", "detection:\n  false_alarm_days: 7\n", nil},
		{"a number from the environment", "detection:\n  false_alarm_days: ${DAYS}\n", nil},
		{"text from the environment", "detection:\n  time_zone: ${ZONE}\n", nil},
		{"a value that only looks like YAML", "remote_write:\n  sender_header: ${LABEL}\n", nil},
		{"an unknown key", "storage:\n  sweep_every: 5m\n  sweep_evry: 5m\n", []string{"line 3", `"sweep_evry"`, "in storage", `"sweep_every"`}},
		{"an unknown key at the top", "detektion:\n  grace: 5s\n", []string{"line 1", `"detektion"`, `"detection"`}},
		{"an unknown key deep down", "remote_write:\n  replicas:\n    replica_labels: x\n", []string{"line 3", "in remote_write.replicas", `"replica_label"`}},
		{"a variable that is not set", "detection:\n  time_zone: ${NOWHERE}\n", []string{"line 2", "NOWHERE", "not set"}},
		{"a variable as a key", "${DAYS}:\n  grace: 5s\n", []string{"line 1", "${DAYS}", "unknown"}},
		{"a key twice", "storage:\n  sweep_every: 5m\n  sweep_every: 6m\n", []string{"line 3", "already defined"}},
		{"text where a number belongs", "queue:\n  batches: many\n", []string{"line 2"}},
		{"a list where a section belongs", "storage:\n  - 1\n", []string{"line 2"}},
		{"a list at the top", "- storage\n", []string{"line 1"}},
		{"a second document", "storage:\n  sweep_every: 5m\n---\nqueue:\n  batches: 1\n", []string{"line 3", "document"}},
		{"no YAML", "storage: [\n", []string{"line"}},
		{"out of bounds", "detection:\n  grace: 11m\n", []string{"grace", "11m0s", "10m0s"}},
		{"a zone that is none", "detection:\n  time_zone: Mars/Base\n", []string{"time_zone", "Mars/Base", "IANA"}},
		{"less than nothing", "storage:\n  min_free_bytes: -1\n", []string{"storage.min_free_bytes", "-1"}},
		{"a workload of no label", "detection:\n  workload_by: [[]]\n", []string{"workload_by"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got fileConfig
			err := parseConfig([]byte(c.text), env, &got)
			if len(c.says) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatalf("taken as %+v", got)
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
	var got fileConfig
	if err := parseConfig([]byte("detection:\n  false_alarm_days: ${DAYS}\nremote_write:\n  sender_header: ${LABEL}\n"), env, &got); err != nil {
		t.Fatal(err)
	}
	if got.Detection.FalseAlarmDays != 7 || got.RemoteWrite.SenderHeader != "x: {y" {
		t.Errorf("the environment was read as %+v", got)
	}
}

// TestCheckConfigIsTheValidatorOfServe sees that the exit codes are those that a
// pipeline relies on.
func TestCheckConfigIsTheValidatorOfServe(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("storage:\n  sweep_evry: 5m\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.txt")
	if err := os.WriteFile(wrong, []byte("series a{svc=\"a\"} every 30s normal(100,5)x1h\n\nexpect anomaly count=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"check", "config", "../../testdata/config/full.yaml", "../../testdata/config/small.yaml", "../../testdata/config/floors.yaml"}, exitOK},
		{[]string{"check", "config", bad}, exitError},
		{[]string{"serve", "--config.file", bad, "--storage.path", filepath.Join(t.TempDir(), "never")}, exitError},
		{[]string{"check", "config"}, exitUsage},
		{[]string{"chekc"}, exitUsage},
		{[]string{"version", "--what"}, exitUsage},
		{[]string{"version"}, exitOK},
		{[]string{"inspect", "--storage.path", filepath.Join(t.TempDir(), "nothing")}, exitError},
		{[]string{"test", wrong}, exitFindings},
		{[]string{"test", bad}, exitUsage},
		{[]string{"test", "../../testdata/scenarios/spike.txt"}, exitOK},
	} {
		if code := execute(t.Context(), c.args); code != c.code {
			t.Errorf("homeostat %s: exit code %d, want %d", strings.Join(c.args, " "), code, c.code)
		}
	}
}

// TestFullExampleHoldsTheDefaults sees that the page which says "every key with
// its default" is right: what it composes is what an empty file composes.
func TestFullExampleHoldsTheDefaults(t *testing.T) {
	full, err := loadConfig("../../testdata/config/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"detection.false_alarm_days": 14.0, "detection.grace": 10 * time.Second, "detection.max_ahead": 10 * time.Minute,
		"detection.update_every": time.Minute, "detection.silent_after": 5 * time.Minute, "detection.incident_gap": 10 * time.Minute,
		"detection.watch_for": 30 * time.Minute, "detection.max_series": 5_000_000,
		"remote_write.max_compressed_bytes": 16 << 20, "remote_write.max_decoded_bytes": 32 << 20,
		"remote_write.max_series": 50_000, "remote_write.max_labels": 64,
		"storage.min_free_bytes": int64(1 << 30), "storage.sweep_every": 20 * time.Minute,
		"storage.tail_bytes": int64(1 << 30), "storage.tail_age": 30 * 24 * time.Hour,
		"queue.batches": 256, "queue.samples": 1_000_000,
		"watch.heartbeat": 5 * time.Second, "watch.max_subscribers": 1000,
	} {
		if got := valueOf(reflect.ValueOf(*full), name); got != want {
			t.Errorf("%s is %v in full.yaml, the default is %v", name, got, want)
		}
	}
	cfg, err := full.engineConfig()
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Naming.WorkloadBy) != len(full.Detection.WorkloadBy) {
		t.Error("workload_by is lost on the way")
	}
	if _, err := loadConfig("nowhere.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// valueOf is the field of a struct by the path of its keys.
func valueOf(v reflect.Value, path string) any {
	name, rest, more := strings.Cut(path, ".")
	for i := range v.NumField() {
		if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ","); tag == name {
			if more {
				return valueOf(v.Field(i), rest)
			}
			return v.Field(i).Interface()
		}
	}
	return nil
}
