package loop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/homeostat/homeostat/engine"
)

// diary is what happened, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// Nobody is answered, no sink hears and no actuator acts before the append has
// returned; then the sender comes first, so that a slow sink does not keep it.
func TestDurableBeforeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		fsync := make(chan struct{})
		j := &memory{onAppend: func([]engine.Record) error {
			d.note("append begins")
			<-fsync
			d.note("append ends")
			return nil
		}}
		sink := &kept{onDeliver: func() {
			<-time.After(time.Millisecond) // whoever was answered has said so
			d.note("delivered")
		}}
		l := New(Config{Sinks: []Sink{sink}}, newEngine(t, 2), j)
		err := live(l, func(ctx context.Context) {
			var senders sync.WaitGroup
			for _, ev := range []engine.Event{sized(3), engine.Undo{RequestID: "u"}} {
				senders.Go(func() {
					if err := l.Send(ctx, ev); err != nil {
						t.Error(err)
					}
					d.note("answered")
				})
				synctest.Wait()
			}
			// The batch alone caused nothing and was answered; the undo waits
			// for the disk for as long as that takes.
			if diff := cmp.Diff([]string{"answered", "append begins"}, d.read()); diff != "" {
				t.Errorf("while the disk is at it (-want +got):\n%s", diff)
			}
			close(fsync)
			senders.Wait()
			synctest.Wait()
		})
		if err != nil {
			t.Error(err)
		}
		want := []string{"answered", "append begins", "append ends", "answered", "delivered"}
		if diff := cmp.Diff(want, d.read()); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

// A sender that gives up while its batch is in a round gets the receipt at the
// round's end: until then the batch is the loop's, and it was taken in.
func TestGivingUpInARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &tape{onRecord: func(engine.Event) error { <-time.After(time.Second); return nil }}
		l := New(Config{Recorder: slow}, newEngine(t, 1), &memory{})
		if err := live(l, func(context.Context) {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			begin := time.Now()
			r, err := l.Submit(ctx, sized(3))
			if err != nil || r.Received != 3 || time.Since(begin) != time.Second {
				t.Errorf("got %+v, %v after %v; want the receipt after 1 s", r, err, time.Since(begin))
			}
			if err := l.Send(ctx, engine.Tick{Now: start}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("sent under a ctx that had ended: %v", err)
			}
		}); err != nil {
			t.Error(err)
		}
		if s := l.Stats(); s.Batches != 1 || s.Withdrawn != 0 || s.Tick != 0 {
			t.Errorf("figures %+v", s)
		}
	})
}

// What waits while the disk is busy becomes one round with one append.
func TestCommitOnDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsync := make(chan struct{})
		j := &memory{onAppend: func([]engine.Record) error { <-fsync; return nil }}
		l := New(Config{}, newEngine(t, 1), j)
		if err := live(l, func(ctx context.Context) {
			var senders sync.WaitGroup
			for i := range 100 {
				senders.Go(func() {
					if err := l.Send(ctx, engine.Undo{RequestID: fmt.Sprint(i)}); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			close(fsync)
			senders.Wait()
		}); err != nil {
			t.Error(err)
		}
		if len(j.log) != 100 || j.appends > 2 {
			t.Errorf("%d records in %d appends, want 100 in at most 2", len(j.log), j.appends)
		}
	})
}

// After a journal error nobody of the round is answered with a receipt, nothing
// is delivered, whoever waits or comes later gets ErrStopped with the cause, and
// Run returns it. A recorder's error is as final.
func TestErrorStopsEverything(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(fail *atomic.Bool) (Config, *memory)
	}{
		{"journal", func(fail *atomic.Bool) (Config, *memory) {
			return Config{}, &memory{onAppend: func([]engine.Record) error {
				if fail.Load() {
					return errDisk
				}
				return nil
			}}
		}},
		{"recorder", func(fail *atomic.Bool) (Config, *memory) {
			return Config{Recorder: &tape{onRecord: func(engine.Event) error {
				if fail.Load() {
					return errDisk
				}
				return nil
			}}}, &memory{}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var fail atomic.Bool
				cfg, j := c.make(&fail)
				sink := &kept{}
				cfg.Sinks = []Sink{sink}
				l := New(cfg, newEngine(t, 2), j)
				if err := l.queue.push(&entry{event: engine.Undo{RequestID: "good"}}); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- l.Run(t.Context()) }()
				synctest.Wait()
				// Hold the loop in a query while others line up behind a bad disk.
				hold := make(chan struct{})
				go l.Query(t.Context(), func(*engine.Engine) { <-hold })
				synctest.Wait()
				fail.Store(true)
				answers := make(chan error, 20)
				for i := range 10 {
					go func() { answers <- l.Send(t.Context(), engine.Undo{RequestID: fmt.Sprint(i)}) }()
					go func() {
						_, err := l.Submit(t.Context(), sized(2))
						answers <- err
					}()
				}
				synctest.Wait()
				close(hold)
				for range 20 {
					if err := <-answers; !errors.Is(err, ErrStopped) || !errors.Is(err, errDisk) {
						t.Errorf("answered %v, want ErrStopped with the cause", err)
					}
				}
				if err := <-ended; !errors.Is(err, errDisk) {
					t.Errorf("Run: %v, want the cause", err)
				}
				if _, err := l.Submit(t.Context(), sized(1)); !errors.Is(err, ErrStopped) || !errors.Is(err, errDisk) {
					t.Errorf("a batch afterwards: %v", err)
				}
				if err := l.Query(t.Context(), func(*engine.Engine) { t.Error("called") }); !errors.Is(err, ErrStopped) {
					t.Errorf("a query afterwards: %v", err)
				}
				if len(sink.records) != 1 || len(j.log) != 1 {
					t.Errorf("%d delivered and %d journaled, want the one good record", len(sink.records), len(j.log))
				}
				if len(j.pages) != 0 || j.settles != 0 {
					t.Error("pages were stored after the error: they hold what is not in the log")
				}
			})
		})
	}
}

func TestRunsOnce(t *testing.T) {
	l := New(Config{}, newEngine(t, 1), &memory{})
	if err := live(l, func(context.Context) {}); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context()); err == nil {
		t.Error("a second Run passes")
	}
	if _, err := l.Submit(t.Context(), sized(1)); !errors.Is(err, ErrStopped) {
		t.Errorf("a batch after the end: %v, want ErrStopped", err)
	}
}

// The end under load: every sender is answered, and what was acknowledged is
// exactly what was taken in. goleak watches the goroutines.
func TestEndUnderLoad(t *testing.T) {
	var j memory
	e := newEngine(t, 2)
	l := New(Config{QueueBatches: 16}, e, &j)
	var taken, busy, refused, undone atomic.Int64
	var senders sync.WaitGroup
	if err := live(l, func(context.Context) {
		enough := make(chan struct{})
		for i := range 8 {
			fleet := gauges(64)[i*8 : i*8+8]
			rng := rand.New(rand.NewPCG(uint64(i), 0))
			senders.Go(func() {
				for n := 0; ; n++ {
					b := calm(fleet, start+int64(n)*1000, rng)
					r, err := l.Submit(context.Background(), b)
					switch {
					case err == nil && (r.Received != 8 || !r.Balanced()):
						t.Errorf("receipt %+v for 8 samples", r)
					case err == nil:
						if taken.Add(1) == 500 {
							close(enough)
						}
					case errors.Is(err, ErrBusy):
						busy.Add(1)
					case errors.Is(err, ErrStopped):
						refused.Add(1)
						return
					default:
						t.Errorf("a batch: %v", err)
						return
					}
				}
			})
		}
		senders.Go(func() {
			for n := 0; ; n++ {
				if err := l.Send(context.Background(), engine.Undo{RequestID: fmt.Sprint(n)}); err != nil {
					return
				}
				undone.Add(1)
			}
		})
		senders.Go(func() {
			for l.Query(context.Background(), func(e *engine.Engine) { e.Open(); e.DirtyPages() }) == nil {
			}
		})
		<-enough
	}); err != nil {
		t.Errorf("Run: %v", err)
	}
	senders.Wait()
	s := l.Stats()
	if s.Batches != uint64(taken.Load()) || s.Receipts.Received != int(8*taken.Load()) {
		t.Errorf("took %d batches with %d samples, acknowledged %d", s.Batches, s.Receipts.Received, taken.Load())
	}
	if refused.Load() != 8 || int64(len(j.log)) != undone.Load() {
		t.Errorf("%d of 8 senders heard of the end; %d undos in the log, %d acknowledged", refused.Load(), len(j.log), undone.Load())
	}
	if s.BusyBatches != uint64(busy.Load()) {
		t.Errorf("busy %d, senders counted %d", s.BusyBatches, busy.Load())
	}
	if n := len(e.DirtyPages()); n != 0 || len(j.pages) == 0 || j.settles == 0 || j.early != 0 {
		t.Errorf("%d pages dirty after the last sweep, %d stored, %d settle records, %d too early", n, len(j.pages), j.settles, j.early)
	}
}

// The live loop makes of what many send a log that the recording replays to,
// byte for byte.
func TestLiveEqualsReplay(t *testing.T) {
	var recorded tape
	var j memory
	l := New(Config{Recorder: &recorded, RoundBatches: 3}, newEngine(t, 2), &j)
	if err := live(l, func(ctx context.Context) {
		var senders sync.WaitGroup
		defer senders.Wait()
		events := make(chan engine.Event)
		for range 4 {
			senders.Go(func() {
				for ev := range events {
					if err := l.Send(ctx, ev); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for _, ev := range story(5, 40, 300) {
			events <- ev
		}
		close(events)
	}); err != nil {
		t.Fatal(err)
	}
	got, _ := drive(t, recorded.events, 7, func() int { return 1 })
	if diff := cmp.Diff(text(j.log), got); diff != "" || len(got) < 50 {
		t.Errorf("the replay of %d records differs (-live +replay):\n%.2000s", len(j.log), diff)
	}
}

// A sink that blocks keeps the next round and loses nothing; the senders of its
// own round have been answered, and the figures tell who it was.
func TestSlowSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &kept{onDeliver: func() { <-time.After(3 * time.Second) }}
		var j memory
		l := New(Config{Sinks: []Sink{sink}}, newEngine(t, 1), &j)
		if err := live(l, func(ctx context.Context) {
			begin := time.Now()
			for i := range 4 {
				if err := l.Send(ctx, engine.Undo{RequestID: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
				if took, want := time.Since(begin), time.Duration(i)*3*time.Second; took != want {
					t.Errorf("answer %d came after %v, want %v", i, took, want)
				}
			}
		}); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(text(j.log), text(sink.records)); diff != "" || len(j.log) != 4 {
			t.Errorf("the sink missed something (-journal +sink):\n%s", diff)
		}
		if s := l.Stats(); s.SinkTime != 12*time.Second {
			t.Errorf("12 s in the sink, the figures say %v", s.SinkTime)
		}
	})
}

// Overload by five: whoever is refused is refused at once, and what the loop can
// do it does.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			cost    = 10 * time.Millisecond // of a batch: the loop can do 100 a second
			senders = 50                    // of 10 batches a second each
			load    = 20 * time.Second
		)
		slow := &tape{onRecord: func(engine.Event) error { <-time.After(cost); return nil }}
		l := New(Config{Recorder: slow, QueueBatches: 32, RoundBatches: 8}, newEngine(t, 1), &memory{})
		var good, late, busy atomic.Int64
		fleet := gauges(senders)
		if err := live(l, func(ctx context.Context) {
			var clients sync.WaitGroup
			for i := range senders {
				// Each batch is sent by a goroutine of its own: senders do not
				// slow down because others wait.
				clients.Go(func() {
					var own sync.WaitGroup
					begin := time.Now()
					for n := 0; time.Since(begin) < load; n++ {
						b := batchOf(fleet[i:i+1], start+int64(n), func(int) float64 { return 1 })
						own.Go(func() {
							asked := time.Now()
							_, err := l.Submit(ctx, b)
							switch {
							case err == nil && time.Since(begin) < load:
								good.Add(1)
							case err == nil:
								late.Add(1)
							case errors.Is(err, ErrBusy):
								busy.Add(1)
								if d := time.Since(asked); d != 0 {
									t.Errorf("refused after %v, want at once", d)
								}
							default:
								t.Error(err)
							}
						})
						<-time.After(100 * time.Millisecond)
					}
					own.Wait()
				})
			}
			clients.Wait()
			// The load is gone: the next batch is served as if nothing had been.
			asked := time.Now()
			if _, err := l.Submit(ctx, sized(1)); err != nil || time.Since(asked) > 2*cost {
				t.Errorf("after the overload: %v after %v", err, time.Since(asked))
			}
		}); err != nil {
			t.Error(err)
		}
		capacity := float64(load / cost)
		offered := float64(good.Load() + late.Load() + busy.Load())
		if offered < 4.9*capacity {
			t.Fatalf("%v batches offered to a capacity of %v: no overload by five", offered, capacity)
		}
		if share := float64(good.Load()) / capacity; share < 0.8 {
			t.Errorf("goodput %.0f %% of capacity, want at least 80 %%", 100*share)
		} else {
			t.Logf("goodput %.1f %% of capacity under %.1f times the load", 100*share, offered/capacity)
		}
	})
}

// How long it took until an anomaly was durable is measured from Submit.
func TestDetectionLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &memory{onAppend: func([]engine.Record) error { <-time.After(7 * time.Millisecond); return nil }}
		l := New(Config{}, newEngine(t, 2), j)
		if err := live(l, func(ctx context.Context) {
			spikes(t, func(ev engine.Event) {
				if err := l.Send(ctx, ev); err != nil {
					t.Fatal(err)
				}
			}, j)
		}); err != nil {
			t.Error(err)
		}
		opened := 0
		for _, r := range j.log {
			if a, ok := r.(*engine.Anomaly); ok && a.Revision == engine.Opened {
				opened++
			}
		}
		h := l.Stats().Detection
		// 7 ms is in the bucket up to 10 ms.
		if opened == 0 || h.Counts[3] != uint64(opened) || h.Sum != time.Duration(opened)*7*time.Millisecond {
			t.Errorf("%d opened; histogram %v, sum %v", opened, h.Counts, h.Sum)
		}
	})
}

func TestHistogramEdges(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, 10 * time.Second, 10*time.Second + 1} {
		h.observe(d, 1)
	}
	want := Histogram{Sum: 20*time.Second + 2*time.Millisecond + 2}
	want.Counts[0], want.Counts[1], want.Counts[12], want.Counts[13] = 2, 1, 1, 1
	if h != want {
		t.Errorf("got %+v, want %+v", h, want)
	}
}
