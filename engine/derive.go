package engine

import (
	"math"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// role says what a series does for what is measured.
type role uint8

const (
	roleGauge   role = iota + 1 // scored as it is
	roleCounter                 // scored as its rate
	roleBucket                  // a classic histogram's bucket: feeds quantiles
	roleSum                     // a histogram's or summary's sum: feeds the mean
	roleNative                  // a native histogram: feeds rate, mean and quantiles
	roleDerived                 // made by homeostat and scored
	roleRatio                   // made by homeostat and scored by counts
)

// roleOf finds the role of a series from its declared type and, where that is
// unknown, from its name, as Prometheus' conventions have it.
func roleOf(s *Series) role {
	name := s.Labels.Get(labels.MetricName)
	switch {
	case strings.HasSuffix(name, "_bucket") && s.Labels.Get(labels.BucketLabel) != "" && s.Type != TypeGauge:
		return roleBucket
	case strings.HasSuffix(name, "_sum") && s.Type != TypeGauge:
		return roleSum
	case s.Type == TypeCounter:
		return roleCounter
	case s.Type == TypeGauge:
		return roleGauge
	case strings.HasSuffix(name, "_total"), strings.HasSuffix(name, "_count"):
		return roleCounter
	}
	return roleGauge
}

// class says what a measurement is about; it names the kind of its anomalies.
type class uint8

const (
	classGauge class = iota
	classTraffic
	classLatency
	classRatio
	classUp
)

// trafficWords in a counter's name say that it counts what arrives.
var trafficWords = []string{"request", "message", "query", "queries", "packet", "receive", "rows", "handled", "hits", "calls"}

func classOf(s *Series, r role) class {
	name := s.Labels.Get(labels.MetricName)
	switch {
	case r == roleRatio:
		return classRatio
	case name == "up" && r == roleGauge:
		return classUp
	case r == roleDerived && !strings.HasSuffix(name, ":rate"), isDuration(name) && r == roleGauge:
		return classLatency
	case r == roleDerived:
		return classTraffic
	case r == roleCounter:
		if strings.HasSuffix(name, "_count") {
			return classTraffic
		}
		for _, w := range trafficWords {
			if strings.Contains(name, w) {
				return classTraffic
			}
		}
	}
	return classGauge
}

func isDuration(name string) bool {
	return strings.Contains(name, "latency") || strings.Contains(name, "duration") || strings.Contains(name, "response_time")
}

// kindOf names the trouble of a measurement that left its bounds in a
// direction.
func kindOf(c class, direction int8) Kind {
	up := direction >= 0
	switch {
	case c == classUp && !up:
		return KindDataFault
	case c == classRatio:
		return KindErrorRatio
	case c == classLatency && up:
		return KindLatencyRise
	case c == classTraffic && up:
		return KindTrafficSurge
	case c == classTraffic:
		return KindTrafficDrop
	case up:
		return KindSpike
	}
	return KindDip
}

// codeLabels hold the answer's code of a request counter.
var codeLabels = []string{"code", "status", "status_code", "http_status", "http_status_code", "response_code", "http_response_status_code", "grpc_code"}

// grpcErrors are the gRPC codes that say that the server failed.
var grpcErrors = map[string]bool{
	"Unknown": true, "DeadlineExceeded": true, "Internal": true, "Unavailable": true,
	"DataLoss": true, "ResourceExhausted": true, "Aborted": true,
}

// codeOf finds a request counter's code label. failed says whether the code
// means that the server failed; ok is false when there is no such label or its
// value is no code.
func codeOf(ls labels.Labels) (label string, failed, ok bool) {
	for _, l := range codeLabels {
		v := ls.Get(l)
		if v == "" {
			continue
		}
		if l == "grpc_code" || v == "OK" || grpcErrors[v] {
			return l, grpcErrors[v], true
		}
		if len(v) == 3 && v[0] >= '1' && v[0] <= '5' {
			if _, err := strconv.Atoi(v); err == nil || v[1:] == "xx" {
				return l, v[0] == '5', true
			}
		}
	}
	return "", false, false
}

// derivedSeries makes the series of a measurement derived from a member: its
// labels without the dropped one, its name's suffix replaced. It stays in the
// member's workload, so that both are in one partition.
func derivedSeries(member *Series, trim, suffix string, drop ...string) *Series {
	name := strings.TrimSuffix(member.Labels.Get(labels.MetricName), trim) + suffix
	ls := labels.NewBuilder(member.Labels).Del(drop...).Set(labels.MetricName, name).Labels()
	return &Series{
		ID:        SeriesID(labels.StableHash(ls)),
		Labels:    ls,
		Workload:  member.Workload,
		Partition: member.Partition,
		Type:      TypeGauge,
	}
}

// maxRateGap is the longest gap over which a rate is taken, in milliseconds.
// Beyond it a counter starts anew: Prometheus forgets a series after as long.
const maxRateGap = 5 * 60 * 1000

// rateOf is the increase per second from one counter value to the next.
func rateOf(fromAt int64, from float64, at int64, v float64) float64 {
	return (v - from) / (float64(at-fromAt) / 1000)
}

// bucketBound reads a bucket's upper bound.
func bucketBound(s *Series) (float64, bool) {
	le, err := strconv.ParseFloat(s.Labels.Get(labels.BucketLabel), 64)
	return le, err == nil && !math.IsNaN(le)
}

// instanceLabels tell the copies of one workload's series apart. What is left
// of a label set without them is the series' family.
var instanceLabels = []string{
	"instance", "pod", "pod_name", "pod_ip", "pod_template_hash", "container_id", "id", "uid",
	"host", "hostname", "host_ip", "ip", "address", "node", "replica", "version", "revision", "image", "image_id",
}

// familyOf is a hash of what copies of one series have in common.
func familyOf(s *Series) uint64 {
	ls := labels.NewBuilder(s.Labels).Del(instanceLabels...).Labels()
	return hash64(labels.StableHash(ls), hashText(string(s.Workload)))
}

// workloadSeries makes the series that stands for all copies of a member: its
// labels without those that tell copies apart, its name's suffix cut off. What
// names the workload stays, so that two workloads never share it: of a pod's
// name that is the part that its controller gave to all of them.
func workloadSeries(member *Series, trim string) *Series {
	b := labels.NewBuilder(member.Labels)
	for _, l := range instanceLabels {
		v := member.Labels.Get(l)
		if l == "pod" {
			v = ownerOf(v)
		}
		if v != "" && member.Workload.has(l, v) {
			b.Set(l, v)
		} else {
			b.Del(l)
		}
	}
	return derivedSeries(&Series{Labels: b.Labels(), Workload: member.Workload, Partition: member.Partition}, trim, "")
}

// targetOf names what was scraped: one copy of the workload.
func targetOf(s *Series) string {
	for _, l := range []string{"instance", "pod"} {
		if v := s.Labels.Get(l); v != "" {
			return v
		}
	}
	return ""
}
