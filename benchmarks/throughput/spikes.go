package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/homeostat/homeostat/benchmarks/throughput/load"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// spikes times anomalies: warm gauges jump once each, and the time runs from the
// moment before their request is written until the OPENED anomaly arrives at a
// subscriber of Watch. That is an upper bound: it holds the sender's HTTP client
// and both ways over loopback.
type spikes struct {
	fleet *load.Fleet

	mu    sync.Mutex
	left  map[spot]time.Time // when the request of these series in this round left
	wait  map[string]spot    // what is still to be heard, by series
	times []time.Duration
	done  chan struct{} // closed when nothing is left to hear, once all is planted
	whole bool          // all is planted
}

// spot is one request of one round.
type spot struct {
	round int64
	first int
}

// plan chooses for each of some rounds gauges that jump, no gauge twice.
func plan(f *load.Fleet, rounds, total int, seed uint64) [][]int {
	r := rand.New(rand.NewPCG(seed, 3))
	chosen := make([][]int, rounds)
	used := map[int]bool{}
	for tries := 0; len(used) < total && tries < 100*total; tries++ {
		i := r.IntN(f.Len())
		if f.Kind(i) != load.Gauge || used[i] {
			continue
		}
		k := len(used) * rounds / total
		used[i] = true
		chosen[k] = append(chosen[k], i)
	}
	return chosen
}

func newSpikes(f *load.Fleet) *spikes {
	return &spikes{fleet: f, left: map[spot]time.Time{}, wait: map[string]spot{}, done: make(chan struct{})}
}

// plant says which gauges jump in a round.
func (s *spikes) plant(round int64, gauges []int, perBody int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ls []load.Label
	for _, i := range gauges {
		ls = s.fleet.Labels(i, ls[:0])
		s.wait[seriesText(ls)] = spot{round, i / perBody * perBody}
	}
}

// leave notes that a request with spikes leaves.
func (s *spikes) leave(b *body, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left[spot{b.round, b.first}] = now
}

// hear takes an anomaly that arrived.
func (s *spikes) hear(a *homeostatv1.Anomaly, now time.Time) {
	if a.GetRevision() != homeostatv1.Revision_REVISION_OPENED {
		return
	}
	var ls []load.Label
	for _, l := range a.GetSeries().GetLabels() {
		ls = append(ls, load.Label{Name: l.GetName(), Value: l.GetValue()})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := seriesText(ls)
	at, planted := s.wait[key]
	left, sent := s.left[at]
	if !planted || !sent {
		return // noise that looked abnormal
	}
	delete(s.wait, key)
	s.times = append(s.times, now.Sub(left))
	s.finish()
}

// planted says that no spike will be added.
func (s *spikes) planted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole = true
	s.finish()
}

func (s *spikes) finish() {
	if s.whole && len(s.wait) == 0 {
		close(s.done)
	}
}

// seriesText is a series' sorted labels as one text.
func seriesText(ls []load.Label) string {
	var b strings.Builder
	for _, l := range ls {
		b.WriteString(l.Name)
		b.WriteByte(0)
		b.WriteString(l.Value)
		b.WriteByte(0)
	}
	return b.String()
}

// watch subscribes and calls hear for each anomaly until ctx ends. It returns
// once the subscription stands; the stream's end comes over the channel.
func watch(ctx context.Context, address string, hear func(*homeostatv1.Anomaly, time.Time)) (<-chan error, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	stream, err := homeostatv1.NewHomeostatServiceClient(conn).Watch(ctx, &homeostatv1.WatchRequest{
		EventKinds: []homeostatv1.EventKind{homeostatv1.EventKind_EVENT_KIND_ANOMALY},
	}, grpc.WaitForReady(true))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watching %s: %w", address, err), conn.Close())
	}
	// The header comes when the server has taken the subscription.
	if _, err := stream.Header(); err != nil {
		return nil, errors.Join(fmt.Errorf("watching %s: %w", address, err), conn.Close())
	}
	ended := make(chan error, 1)
	go func() {
		defer conn.Close()
		for {
			r, err := stream.Recv()
			if err != nil {
				if ctx.Err() != nil {
					err = nil
				}
				ended <- err
				return
			}
			if a := r.GetAnomaly(); a != nil && hear != nil {
				hear(a, time.Now())
			}
		}
	}()
	return ended, nil
}
