package remotewrite

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
)

// pairOf sends one sample of a replica and says whether it was taken.
func pairOf(t *testing.T, r *receiver, cluster, replica string, at int64) bool {
	t.Helper()
	before := len(r.taker.samples)
	w := r.postV1(t, writeV1(oneV1(at, 1, "__name__", "up", "__replica__", replica, "cluster", cluster, "job", "a")))
	if w.Code != 204 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	r.balanced(t)
	return len(r.taker.samples) > before
}

func TestOneReplicaOfEachClusterIsTaken(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	r := newReceiver(t, Config{Replicas: Replicas{ReplicaLabel: "__replica__"}, Now: func() time.Time { return now }})
	at := now.UnixMilli()
	step := func(cluster, replica string, after time.Duration, want bool) {
		t.Helper()
		if got := pairOf(t, r, cluster, replica, at+after.Milliseconds()); got != want {
			t.Errorf("%s/%s at +%v: taken %v, want %v", cluster, replica, after, got, want)
		}
	}
	step("eu", "a", 0, true)
	step("eu", "b", time.Second, false)
	step("us", "b", time.Second, true) // another cluster elects for itself
	step("eu", "a", 15*time.Second, true)
	step("eu", "b", 45*time.Second, false) // exactly the failover is not beyond it
	step("eu", "b", 45*time.Second+time.Millisecond, true)
	step("eu", "a", 46*time.Second, false) // and there is no way back for now
	step("eu", "b", 20*time.Second, true)  // older samples of the elected move nothing
	step("eu", "a", 75*time.Second, false)
	step("eu", "a", 76*time.Second, true)
	s := r.Stats()
	if s.Protocols[V1].Replica != 4 || s.Failovers != 2 {
		t.Errorf("%d absorbed and %d failovers, want 4 and 2", s.Protocols[V1].Replica, s.Failovers)
	}
	if text := r.taker.text(); strings.Contains(text, "__replica__") || !strings.Contains(text, `cluster="eu"`) {
		t.Errorf("series are not named alike:\n%s", text)
	}
	for _, k := range r.taker.samples[1:] {
		if k.Series.Labels.Get("cluster") == "eu" && k.Series.ID != r.taker.samples[0].Series.ID {
			t.Errorf("%v has an ID of its own", k.Series.Labels)
		}
	}
}

func TestHostileTimesElectNobody(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	r := newReceiver(t, Config{Replicas: Replicas{ReplicaLabel: "__replica__"}, Now: func() time.Time { return now }})
	pairOf(t, r, "eu", "a", now.UnixMilli())
	for _, at := range []int64{math.MaxInt64, math.MinInt64, -1, now.Add(11 * time.Minute).UnixMilli()} {
		if pairOf(t, r, "eu", "b", at) {
			t.Errorf("a sample at %d took over", at)
		}
		pairOf(t, r, "eu", "a", at)
	}
	// Nor did the elected one reserve the future.
	if !pairOf(t, r, "eu", "b", now.Add(31*time.Second).UnixMilli()) {
		t.Error("the failover waits for a time that never was")
	}
}

func TestSeriesWithoutReplicaAreTakenFromEveryone(t *testing.T) {
	r := newReceiver(t, Config{Replicas: Replicas{ReplicaLabel: "__replica__", MaxClusters: 2}})
	w := &prompb.WriteRequest{}
	for i := range 4 {
		for _, replica := range []string{"a", "b"} {
			w.Timeseries = append(w.Timeseries, oneV1(1, 1, "__name__", "up", "cluster", fmt.Sprint("c", i), "__replica__", replica))
		}
	}
	w.Timeseries = append(w.Timeseries, oneV1(1, 1, "__name__", "up", "cluster", "c0"), oneV1(1, 1, "__name__", "up", "__replica__", "a"))
	for range 2 {
		r.postV1(t, w)
	}
	// Two clusters elect, two are beyond the bound, two series lack a label.
	if got, want := len(r.taker.samples), 2*(2+4+2); got != want {
		t.Errorf("%d samples are taken, want %d", got, want)
	}
	if s := r.Stats(); s.UntoldSeries != 4 {
		t.Errorf("%d series beyond the bound, want 4", s.UntoldSeries)
	}
	r.balanced(t)
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{
		{RetryAfter: -1},
		{ReadTimeout: 48 * time.Hour},
		{CacheAge: -1},
		{InFlightBytes: -1},
		{CacheBytes: -1},
		{MetadataNames: -1},
		{LogsPerMinute: -1},
		{Limits: Limits{CompressedBytes: 2 << 30}},
		{Limits: Limits{DecodedBytes: -1}},
		{Limits: Limits{Labels: maxPairs + 1}},
		{Limits: Limits{Series: -1}},
		{Replicas: Replicas{Failover: -1}},
		{Replicas: Replicas{MaxClusters: -1}},
	} {
		if err := cfg.Validate(); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
	if err := (Config{}).withDefaults().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}
