package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/ingest/remotewrite"
	"github.com/homeostat/homeostat/store"
)

// BenchmarkSocket is the rate of samples through a socket: 4 writers on
// loopback, remote write 1.0, 2,000 known gauges of ten labels a request, each
// scored by the lean baseline, with a store on disk. The writers run in the same
// process, so that its CPU is theirs too. Each request is encoded beforehand.
func BenchmarkSocket(b *testing.B) {
	const writers, size = 4, 2000
	e, err := engine.New(engine.Config{}, 2)
	if err != nil {
		b.Fatal(err)
	}
	s, err := store.Open(b.TempDir(), store.Config{MinFreeBytes: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	l := loop.New(loop.Config{Admit: s.Admit}, e, s)
	handler, err := remotewrite.New(remotewrite.Config{Busy: func(err error) bool { return errors.Is(err, loop.ErrBusy) }}, e.Naming(), l.Submit)
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx := b.Context()
	go func() { ended <- l.Run(ctx) }()
	server := httptest.NewServer(handler)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: writers}}

	random := rand.New(rand.NewPCG(1, 1))
	at := int64(1_700_000_000_000)
	requests := make([][]byte, max(b.N, 2*writers)+writers)
	for i := range requests {
		if i%writers == 0 {
			at += 15_000
		}
		requests[i] = gaugesOf(b, i%writers, size, at, random)
	}
	if err := l.Send(ctx, engine.Tick{Now: at}); err != nil {
		b.Fatal(err)
	}
	send := func(request []byte) {
		r, err := http.NewRequest(http.MethodPost, server.URL, bytes.NewReader(request))
		if err != nil {
			b.Error(err)
			return
		}
		r.Header.Set("Content-Type", "application/x-protobuf")
		r.Header.Set("Content-Encoding", "snappy")
		answer, err := client.Do(r)
		if err != nil {
			b.Error(err)
			return
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusNoContent {
			b.Errorf("answered %s", answer.Status)
		}
	}
	for _, r := range requests[:writers] {
		send(r) // the series are new once
	}
	cpu := processCPU(b)
	b.ResetTimer()
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := w; n < b.N; n += writers {
				send(requests[writers+n])
			}
		})
	}
	all.Wait()
	b.StopTimer()
	samples := float64(b.N) * size
	b.ReportMetric(samples/b.Elapsed().Seconds(), "samples/s")
	b.ReportMetric(float64((processCPU(b)-cpu).Nanoseconds())/samples, "cpu-ns/sample")
	if r := l.Stats().Receipts; r.Scored != (b.N+writers)*size || !r.Balanced() {
		b.Errorf("%d of %d samples were scored", r.Scored, (b.N+writers)*size)
	}
}

// gaugesOf is one request of one writer.
func gaugesOf(b *testing.B, writer, size int, at int64, random *rand.Rand) []byte {
	b.Helper()
	var w prompb.WriteRequest
	for i := range size {
		w.Timeseries = append(w.Timeseries, prompb.TimeSeries{
			Labels: []prompb.Label{
				{Name: "__name__", Value: fmt.Sprintf("http_server_requests_in_flight_%03d", i%97)},
				{Name: "cluster", Value: "production-eu-central-1"},
				{Name: "container", Value: fmt.Sprintf("application-server-%02d", i%13)},
				{Name: "endpoint", Value: "http-metrics"},
				{Name: "instance", Value: fmt.Sprintf("10.%d.%d.%d:9100", writer, i>>8, i&255)},
				{Name: "job", Value: "kubernetes-pods"},
				{Name: "namespace", Value: fmt.Sprintf("team-namespace-%03d", i%31)},
				{Name: "node", Value: fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal", i%7, i%61)},
				{Name: "pod", Value: fmt.Sprintf("application-server-%02d-7d9f8b6c5d-%05d", i%13, i)},
				{Name: "service", Value: fmt.Sprintf("application-server-%02d", i%13)},
			},
			Samples: []prompb.Sample{{Value: 100 + random.NormFloat64(), Timestamp: at}},
		})
	}
	raw, err := w.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	return s2.EncodeSnappy(nil, raw)
}

func processCPU(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
