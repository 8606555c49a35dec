//go:build e2e

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
)

// The writer of the end-to-end tests: a remote write 1.0 sender of our own, which
// keeps the ledger that the server's books are compared with.

// point is one value of one series, as the tests write it.
type point struct {
	series string
	at     int64 // ms
	value  float64
}

// body is a request of the points, each series a gauge with the label series.
func body(t testing.TB, points []point) []byte {
	t.Helper()
	var request prompb.WriteRequest
	index := map[string]int{}
	for _, p := range points {
		i, known := index[p.series]
		if !known {
			i = len(request.Timeseries)
			index[p.series] = i
			request.Timeseries = append(request.Timeseries, prompb.TimeSeries{Labels: []prompb.Label{
				{Name: "__name__", Value: "room_celsius"}, {Name: "job", Value: "rooms"}, {Name: "series", Value: p.series},
			}})
		}
		request.Timeseries[i].Samples = append(request.Timeseries[i].Samples, prompb.Sample{Timestamp: p.at, Value: p.value})
	}
	raw, err := request.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return s2.EncodeSnappy(nil, raw)
}

// answer is what the server said to a request.
type answer struct {
	status     int
	text       string
	retryAfter string
	took       time.Duration
}

// send posts a body. An error means that there was no answer: nobody knows
// whether the request was taken.
func send(ctx context.Context, client *http.Client, address string, body []byte) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/api/v1/write", bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("Content-Encoding", "snappy")
	request.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	began := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	return answer{response.StatusCode, string(text), response.Header.Get("Retry-After"), time.Since(began)}, nil
}

// accountFor checks the accounting identity on /metrics and returns how many
// samples were received.
func (s *server) accountFor(t *testing.T) float64 {
	t.Helper()
	m := scrape(t, s.http)
	received := m.sum("homeostat_ingest_samples_total", "outcome", "received")
	scored := m.sum("homeostat_ingest_samples_total", "outcome", "scored")
	absorbed := m.sum("homeostat_ingest_absorbed_total")
	rejected := m.sum("homeostat_ingest_rejected_total")
	if received != scored+absorbed+rejected {
		t.Errorf("received %v samples, but scored %v + absorbed %v + rejected %v = %v", received, scored, absorbed, rejected, scored+absorbed+rejected)
	}
	return received
}

// slowest is the 99 % quantile of the answers' times.
func slowest(answers []answer) time.Duration {
	took := make([]time.Duration, len(answers))
	for i, a := range answers {
		took[i] = a.took
	}
	slices.Sort(took)
	if len(took) == 0 {
		return 0
	}
	return took[len(took)*99/100]
}

// steady is a fleet of rooms whose temperature wavers by a fixed pattern.
type steady struct {
	names []string
}

func rooms(n int) steady {
	var s steady
	for i := range n {
		s.names = append(s.names, fmt.Sprintf("room-%04d", i))
	}
	return s
}

// at is one value of each room at a time, the turn-th since the start.
func (s steady) at(turn int, at int64) []point {
	points := make([]point, len(s.names))
	for i, name := range s.names {
		points[i] = point{name, at, waver(i, turn)}
	}
	return points
}

// waver is a value near 20 that looks like noise, the same in each run.
func waver(series, turn int) float64 {
	x := uint64(series)*0x9e3779b97f4a7c15 + uint64(turn)*0xbf58476d1ce4e5b9
	sum := 0.0
	for range 4 {
		x ^= x >> 30
		x *= 0xbf58476d1ce4e5b9
		x ^= x >> 27
		x *= 0x94d049bb133111eb
		x ^= x >> 31
		sum += float64(x>>11)/(1<<53) - 0.5
	}
	return 20 + sum
}
