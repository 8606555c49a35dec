package engine

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// The names are those of exporters in the field.
func TestLimitsAsTheirNamesComeInTheField(t *testing.T) {
	for _, c := range []struct{ use, limit string }{
		{"container_memory_working_set_bytes", "container_spec_memory_limit_bytes"},
		{"container_cpu_usage_seconds_total", "container_spec_cpu_quota"},
		{"process_open_fds", "process_max_fds"},
		{"jvm_memory_used_bytes", "jvm_memory_max_bytes"},
		{"jvm_memory_bytes_used", "jvm_memory_bytes_max"},
		{"hikaricp_connections_active", "hikaricp_connections_max"},
		{"tomcat_threads_busy_threads", "tomcat_threads_config_max_threads"},
		{"kubelet_volume_stats_used_bytes", "kubelet_volume_stats_capacity_bytes"},
		{"node_nf_conntrack_entries", "node_nf_conntrack_entries_limit"},
		{"redis_memory_used_bytes", "redis_memory_max_bytes"},
		{"go_sql_in_use_connections", "go_sql_max_open_connections"},
		{"mysql_global_status_threads_connected", "mysql_global_variables_max_connections"},
		{"pool_in_use", "pool_size"},
	} {
		if got := limitNames(c.use); !slices.Contains(got, c.limit) {
			t.Errorf("%s is limited by one of %v, want %s among them", c.use, got, c.limit)
		}
		if got := useNames(c.limit); !slices.Contains(got, c.use) {
			t.Errorf("%s limits one of %v, want %s among them", c.limit, got, c.use)
		}
	}
	for _, name := range []string{"queue_depth", "http_requests_total", "http_request_duration_seconds", "_limit", "up"} {
		if got := useNames(name); len(got) > 0 {
			t.Errorf("%s is taken for a limit of %v", name, got)
		}
	}
	for _, pair := range [][2]string{{"batch", "batch_size"}, {"temperature", "temperature_max"}} {
		if slices.Contains(limitNames(pair[0]), pair[1]) || slices.Contains(useNames(pair[1]), pair[0]) {
			t.Errorf("%s is taken for the limit of %s", pair[1], pair[0])
		}
	}
}

// pool is a gauge and its limit, by minutes: use says its value, size that of the
// limit, NaN for none at that time.
func pool(t *testing.T, r *rig, points int, use, size func(n int) float64) []*Anomaly {
	t.Helper()
	s := newShop(1)
	for n := range points {
		at := shopStart + int64(n)*60_000
		var out []Sample
		// The limit comes after what it limits, as it may in a scrape.
		for name, v := range map[string]float64{"pool_in_use": use(n), "pool_size": size(n)} {
			if !math.IsNaN(v) {
				out = append(out, s.sample(at, v, "__name__", name, "job", "a", "instance", "x"))
			}
		}
		r.step(&Batch{Sender: "a", Samples: out})
		r.tick(at + 30_000)
	}
	var found []*Anomaly
	for _, rec := range r.records {
		if a, ok := rec.(*Anomaly); ok && a.Kind == KindSaturation {
			found = append(found, a)
		}
	}
	return found
}

func constant(v float64) func(int) float64 { return func(int) float64 { return v } }

// creeps rises so slowly, with so much noise, that the baseline sees no step.
func creeps(top float64) func(int) float64 {
	rng := rand.New(rand.NewPCG(8, 8))
	return func(n int) float64 {
		level := 50 + (top-50)*min(max(float64(n-1000)/800, 0), 1)
		return min(level+2*rng.NormFloat64(), 100)
	}
}

func TestWhatCreepsToItsLimitIsFound(t *testing.T) {
	found := pool(t, newRig(t, Config{}, 1), 2000, creeps(97), constant(100))
	if len(found) == 0 || found[0].Revision != Opened || found[0].Limit != 100 || found[0].Value < 85 {
		t.Fatalf("found %+v", found)
	}
	if n := (found[0].At - shopStart) / 60_000; n < 1600 || n > 1850 {
		t.Errorf("found at point %d; from 1680 on it is at nine tenths of its limit", n)
	}
	if firstName(found[0].Factors) != limitFactor || found[0].Tier != "lean" {
		t.Errorf("it is %+v", found[0])
	}
	// The same without a limit, with one that says that there is none, with one
	// that is far away, and with one that is not sent any more.
	for what, size := range map[string]func(int) float64{
		"no limit":       constant(math.NaN()),
		"zero":           constant(0),
		"as good as any": constant(9.2e18),
		"far away":       constant(1000),
		"gone": func(n int) float64 {
			if n > 900 {
				return math.NaN()
			}
			return 100
		},
	} {
		if found := pool(t, newRig(t, Config{}, 1), 2000, creeps(97), size); len(found) > 0 {
			t.Errorf("%s: %+v", what, found[0])
		}
	}
}

// What lives at its limit is not told of; neither is what is there too short.
func TestWhoLivesAtItsLimitIsLeftAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for what, use := range map[string]func(int) float64{
		"always":         func(int) float64 { return 95 + rng.NormFloat64() },
		"every hour":     func(n int) float64 { return 60 + 35*boolFloat(n%60 < 10) + rng.NormFloat64() },
		"for a moment":   func(n int) float64 { return 60 + 38*boolFloat(n%480 == 479) + rng.NormFloat64() },
		"from the start": func(n int) float64 { return 95*boolFloat(n < 300) + 30*boolFloat(n >= 300) + rng.NormFloat64() },
	} {
		for _, a := range pool(t, newRig(t, Config{}, 1), 4000, use, constant(100)) {
			if firstName(a.Factors) == limitFactor {
				t.Errorf("%s: %s", what, a.Why())
				break
			}
		}
	}
}

func boolFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// The counterfactual of a saturation flips it too.
func TestALimitsCounterfactual(t *testing.T) {
	use, r := creeps(97), newRig(t, Config{}, 1)
	values := make([]float64, 2000)
	for n := range values {
		values[n] = use(n)
	}
	whole := func(n int) float64 { return values[n] }
	a := pool(t, r, 2000, whole, constant(100))[0]
	n := int(a.At-shopStart) / 60_000
	for _, c := range []struct {
		last float64
		want bool
	}{{a.Value, true}, {a.Quiet.Value, false}, {a.Quiet.Value + (a.Value-a.Quiet.Value)/100, true}} {
		found := pool(t, newRig(t, Config{}, 1), n+1, func(k int) float64 {
			if k == n {
				return c.last
			}
			return values[k]
		}, constant(100))
		if opens := len(found) > 0; opens != c.want {
			t.Errorf("%q: with %v it opens: %v", a.Quiet.Text, c.last, opens)
		}
	}
}

// A limit is found again after a restart, and what was learnt of it is there.
func TestALimitSurvivesARestart(t *testing.T) {
	for _, at := range []int{300, 1700, 1790} {
		plain, again := newRig(t, Config{}, 2), newRig(t, Config{}, 2)
		whole := pool(t, plain, 2000, creeps(97), constant(100))
		use := creeps(97)
		n := 0
		pool(t, again, 2000, func(k int) float64 {
			if k == at && n == 0 {
				n++
				again.restart(3)
			}
			return use(k)
		}, constant(100))
		if len(whole) == 0 {
			t.Fatal("nothing was found")
		}
		a, b := canonical(plain.records), canonical(again.records)
		if !slices.Equal(a, b) {
			t.Errorf("restarted at %d, %d records become %d:\n%s\n%s", at, len(a), len(b), a, b)
		}
	}
}

func TestARottenLimitIsRefused(t *testing.T) {
	good := limit{since: 5, share: 0.5, points: 7, waiting: 1, run: 2, value: 3}
	r := reader{b: good.append(nil)}
	if got, err := r.limit(); err != nil || *got != good {
		t.Errorf("%+v comes back as %+v, %v", good, got, err)
	}
	for _, bad := range []limit{{share: 2}, {share: float32(math.NaN())}, {since: -7}, {value: -1}, {value: math.NaN()}, {value: math.Inf(1)}} {
		r := reader{b: bad.append(nil)}
		if got, err := r.limit(); err == nil {
			t.Errorf("%+v is taken as %+v", bad, got)
		}
	}
	for n := range good.append(nil) {
		r := reader{b: good.append(nil)[:n]}
		if _, err := r.limit(); err == nil {
			t.Errorf("%d bytes are taken", n)
		}
	}
}

func TestQueuesByTheirNames(t *testing.T) {
	for name, want := range map[string]bool{
		"jobs_waiting": true, "queue_depth": true, "kafka_consumer_lag": true, "work_queue_length": true, "pending_pods": true,
		"flags": false, "queued_at": false, "requests": false, "replication_lagging": false,
	} {
		s := Naming{}.NewSeries(labels.FromStrings("__name__", name), TypeUnknown)
		if got := isQueue(s); got != want {
			t.Errorf("%s is a queue: %v, want %v", name, got, want)
		}
	}
}
