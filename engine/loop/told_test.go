package loop

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/homeostat/homeostat/engine"
)

// promised is a sink that looks, at each delivery, at what Told has promised
// before.
type promised struct {
	loop    atomic.Pointer[Loop]
	t       *testing.T
	records int
}

func (p *promised) Deliver(_ uint64, records []engine.Record) {
	told := p.loop.Load().Told()
	for _, r := range records {
		p.records++
		if a, ok := r.(*engine.Anomaly); ok && a.Epoch < told {
			p.t.Errorf("an event of epoch %d comes when all before %d were said to be delivered", a.Epoch, told)
		}
	}
}

// What Told says was delivered: nothing of an earlier epoch comes after it, be it
// late or made at the close.
func TestNothingComesAfterItWasToldToBeAll(t *testing.T) {
	sink := &promised{t: t}
	l := New(Config{Sinks: []Sink{sink}}, newEngine(t, 2), &Numbers{})
	sink.loop.Store(l)
	var last int64
	if err := live(l, func(ctx context.Context) {
		for _, ev := range story(9, 12, 300) {
			if b, ok := ev.(*engine.Batch); ok && len(b.Samples)%3 == 0 {
				for i := range b.Samples {
					b.Samples[i].At -= 12_000 // some senders are late
				}
			}
			if err := l.Send(ctx, ev); err != nil {
				t.Error(err)
			}
			if told := l.Told(); told < last {
				t.Errorf("told %d after %d", told, last)
			} else {
				last = told
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if epoch, _ := l.engine.Open(); l.Told() != epoch || epoch == 0 {
		t.Errorf("told %d in the end, the open epoch begins at %d", l.Told(), epoch)
	}
	if sink.records < 50 {
		t.Errorf("only %d records were delivered: the test tests nothing", sink.records)
	}
}
