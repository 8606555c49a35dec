package remotewrite

import (
	"strings"
	"sync"
	"testing"
)

// TestReconfigureHoldsForTheNextRequest changes the limits and the replica
// settings of a handler that knows its series already.
func TestReconfigureHoldsForTheNextRequest(t *testing.T) {
	r := newReceiver(t, Config{SenderHeader: "X-Sender"})
	wide := writeV1(oneV1(1, 1, "__name__", "up", "a", "1", "b", "2", "__replica__", "x", "cluster", "eu"))
	if w := r.postV1(t, wide); w.Code != 204 {
		t.Fatalf("before: %d %s", w.Code, w.Body)
	}
	if err := r.Reconfigure("", Limits{Labels: 3}, Replicas{}); err != nil {
		t.Fatal(err)
	}
	if w := r.postV1(t, wide); w.Code != 400 || !strings.Contains(w.Body.String(), "more than 3 labels") {
		t.Errorf("a series that was let in before a tighter limit is still let in: %d %s", w.Code, w.Body)
	}
	if err := r.Reconfigure("", Limits{}, Replicas{ReplicaLabel: "__replica__"}); err != nil {
		t.Fatal(err)
	}
	if w := r.postV1(t, wide); w.Code != 204 {
		t.Fatalf("after: %d %s", w.Code, w.Body)
	}
	if last := r.taker.samples[len(r.taker.samples)-1]; last.Series.Labels.Get("__replica__") != "" {
		t.Errorf("the replica label that is now configured was kept: %v", last.Series.Labels)
	}
	r.balanced(t)
}

// TestReconfigureRefusesWhole sees that a bad configuration changes nothing.
func TestReconfigureRefusesWhole(t *testing.T) {
	r := newReceiver(t, Config{SenderHeader: "X-Sender"})
	before := r.terms.Load()
	if err := r.Reconfigure("X-Other", Limits{Labels: -1}, Replicas{}); err == nil {
		t.Fatal("a negative limit was accepted")
	}
	if r.terms.Load() != before {
		t.Error("a refused configuration left something behind")
	}
}

// TestReconfigureUnderWriters changes the terms while writers write: the books
// balance and every request is answered by one configuration or the other. The
// race detector looks on.
func TestReconfigureUnderWriters(t *testing.T) {
	const writers, requests, changes = 4, 100, 50
	r := newReceiver(t, Config{})
	var wait sync.WaitGroup
	for n := range writers {
		wait.Go(func() {
			for i := range requests {
				body := packV1(t, writeV1(oneV1(int64(1+i), 1, "__name__", "up", "writer", string(rune('a'+n)), "__replica__", "x", "cluster", "eu")))
				if w := r.post(body); w.Code != 204 && w.Code != 400 {
					t.Errorf("answered %d %s", w.Code, w.Body)
				}
			}
		})
	}
	for i := range changes {
		limits, elect := Limits{}, Replicas{}
		if i%2 == 0 {
			limits.Labels = 2
		}
		if i%3 == 0 {
			elect.ReplicaLabel = "__replica__"
		}
		if err := r.Reconfigure("X-Sender", limits, elect); err != nil {
			t.Error(err)
		}
		r.Stats()
	}
	wait.Wait()
	r.balanced(t)
	if got := r.Stats().Protocols[V1].Received; got != writers*requests {
		t.Errorf("%d samples were counted, %d were sent", got, writers*requests)
	}
}
