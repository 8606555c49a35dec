package remotewrite

import (
	"testing"

	"github.com/klauspost/compress/s2"
)

const benchAt = 1_700_000_000_000

func steady(t testing.TB, p Protocol, n int) (*receiver, *request, []byte) {
	r := newReceiver(t, Config{})
	fl := fleet(n)
	raw := packV1(t, fleetV1(fl, benchAt))
	if p == V2 {
		raw = packV2(t, fleetV2(fl, benchAt))
	}
	q := newRequest()
	decodeInto(t, r.Handler, p, q, raw)
	return r, q, raw
}

// decodeInto does what a request does between reading the body and the queue.
func decodeInto(t testing.TB, h *Handler, p Protocol, q *request, raw []byte) {
	q.reset()
	q.raw = append(q.raw, raw...)
	if refusal := h.terms.Load().decode(p, q); refusal != nil {
		t.Fatal(refusal)
	}
}

func TestSteadyDecodingAllocatesNothing(t *testing.T) {
	for p := range NumProtocols {
		r, q, raw := steady(t, p, 2000)
		if n := testing.AllocsPerRun(20, func() { decodeInto(t, r.Handler, p, q, raw) }); n != 0 {
			t.Errorf("%v: %v allocations for a request of 2,000 known series, want 0", p, n)
		}
		if len(q.batch.Samples) != 2000 {
			t.Errorf("%v: %d samples in the batch, want 2,000", p, len(q.batch.Samples))
		}
	}
}

func BenchmarkSteady(b *testing.B) {
	for p := range NumProtocols {
		b.Run(p.String(), func(b *testing.B) {
			const n = 2000
			r, q, raw := steady(b, p, n)
			body, err := s2.Decode(nil, raw)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				decodeInto(b, r.Handler, p, q, raw)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/sample")
			b.ReportMetric(float64(len(body))/n, "B/sample")
			b.ReportMetric(float64(len(raw))/n, "compressed-B/sample")
		})
	}
}

// BenchmarkSteadyOfMany sends a million series in requests of 2,000 that come in
// turn, so that the cache's lines are cold.
func BenchmarkSteadyOfMany(b *testing.B) {
	for p := range NumProtocols {
		b.Run(p.String(), func(b *testing.B) {
			const n, requests = 2000, 500
			r := newReceiver(b, Config{})
			fl := fleet(n * requests)
			raws := make([][]byte, requests)
			q := newRequest()
			for i := range raws {
				part := fl[i*n : (i+1)*n]
				if raws[i] = packV1(b, fleetV1(part, benchAt)); p == V2 {
					raws[i] = packV2(b, fleetV2(part, benchAt))
				}
				decodeInto(b, r.Handler, p, q, raws[i])
			}
			i := 0
			b.ResetTimer()
			for b.Loop() {
				decodeInto(b, r.Handler, p, q, raws[i%requests])
				i++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/sample")
			b.ReportMetric(float64(r.Stats().CachedBytes)/float64(len(fl)), "cache-B/series")
		})
	}
}

// BenchmarkNewSeries measures the way of a series that was never seen.
func BenchmarkNewSeries(b *testing.B) {
	for p := range NumProtocols {
		b.Run(p.String(), func(b *testing.B) {
			const n = 2000
			_, q, raw := steady(b, p, n)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				fresh := newReceiver(b, Config{})
				b.StartTimer()
				decodeInto(b, fresh.Handler, p, q, raw)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/series")
		})
	}
}

// BenchmarkSnappyAlone is the share of decompression.
func BenchmarkSnappyAlone(b *testing.B) {
	for p := range NumProtocols {
		b.Run(p.String(), func(b *testing.B) {
			const n = 2000
			_, _, raw := steady(b, p, n)
			var body []byte
			for b.Loop() {
				body, _ = s2.Decode(body[:0], raw)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/sample")
		})
	}
}
