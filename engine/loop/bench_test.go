package loop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/homeostat/homeostat/engine"
)

// BenchmarkSubmit is the rate of samples through Submit, scored, with a journal
// that only numbers: 4 senders, 2,000 samples a batch, 40,000 gauges.
func BenchmarkSubmit(b *testing.B) {
	const senders, size, series = 4, 2000, 40_000
	fleet := gauges(series)
	for _, shards := range []int{1, 2} {
		b.Run(fmt.Sprintf("shards=%d", shards), func(b *testing.B) {
			l := New(Config{}, newEngine(b, shards), &Numbers{})
			rng := rand.New(rand.NewPCG(1, 1))
			batches := make([]*engine.Batch, series/size)
			for i := range batches {
				batches[i] = calm(fleet[i*size:(i+1)*size], start, rng)
			}
			submit := func(ctx context.Context, i int) {
				bt := batches[i]
				for k := range bt.Samples {
					bt.Samples[k].At += 15_000
				}
				for {
					if _, err := l.Submit(ctx, bt); err == nil {
						return
					} else if !errors.Is(err, ErrBusy) {
						b.Error(err)
						return
					}
					runtime.Gosched()
				}
			}
			if err := live(l, func(ctx context.Context) {
				for i := range batches {
					submit(ctx, i) // the series are new once
				}
				b.ResetTimer()
				b.ReportAllocs()
				var wg sync.WaitGroup
				for s := range senders {
					wg.Go(func() {
						// Each sender has batches of its own.
						for n := s; n < b.N; n += senders {
							submit(ctx, n%senders+senders*(n/senders%(len(batches)/senders)))
						}
					})
				}
				wg.Wait()
				b.StopTimer()
			}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds(), "samples/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/sample")
		})
	}
}

// BenchmarkRound is what a round costs by itself: a batch of one sample.
func BenchmarkRound(b *testing.B) {
	for _, shards := range []int{1, 2, 7} {
		b.Run(fmt.Sprintf("shards=%d", shards), func(b *testing.B) {
			d := NewDriver(Config{}, newEngine(b, shards), &Numbers{})
			defer d.Close()
			one := batchOf(gauges(1), start, func(int) float64 { return 1 })
			b.ReportAllocs()
			for b.Loop() {
				one.Samples[0].At += 15_000
				if _, err := d.Take(one); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
