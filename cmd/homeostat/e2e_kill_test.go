//go:build e2e

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// kills is how often the server is killed; some of them inside the system calls
// that make the log and the checkpoint durable.
const kills = 20

// quickSweeps has a checkpoint going on nearly always.
const quickSweeps = "storage:\n  sweep_every: 2s\n"

// TestE2EKill kills the server with SIGKILL while a writer writes, a person
// labels and a subscriber watches. Afterwards the writer's ledger is compared
// with what the subscriber saw over all lives: every anomaly that a 2xx promised
// and every label that was answered is there once, in order.
func TestE2EKill(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("strace is absent, which kills inside a system call: apt-get install strace: %v", err)
	}
	random := rand.New(rand.NewPCG(20, 26))
	o := serveOptions{config: quickSweeps, storage: t.TempDir(), http: freeAddress(t), grpc: freeAddress(t)}
	s := serve(t, o)
	w := &ledger{t: t, fleet: rooms(160), address: s.http, client: &http.Client{Timeout: 10 * time.Second}}
	for range warmTurns {
		w.turn(t.Context(), false)
	}
	s.stop(t)

	var journal []*homeostatv1.WatchResponse
	token := "0"
	deaths := map[string]int{} // by what killed
	for n := range kills {
		// A third dies at the entry of a system call that makes the log durable,
		// a third at one that writes a checkpoint, the others at any moment. The
		// calls are counted by thread, so that the numbers are small.
		o.around = nil
		fuse := time.Duration(1000+random.IntN(2500)) * time.Millisecond
		call := []string{"", "fsync,fdatasync", "msync"}[n%3]
		if call != "" {
			when := []int{0, 6 + random.IntN(12), 4 + random.IntN(5)}[n%3]
			o.around = []string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, when)}
			fuse = 8 * time.Second
		}
		s = launch(t, o)
		if err := s.awaitReadyOrEnd(t); err != nil {
			deaths[call+" before it was ready"]++
			continue
		}
		ctx, cancel := context.WithCancel(t.Context())
		watch := s.watch(ctx, t, token)
		labelled := make(chan struct{})
		go func() {
			defer close(labelled)
			w.label(ctx, s.client, watch)
		}()
		w.restarted()
		shot := time.AfterFunc(fuse, s.shoot)
		w.until(ctx, s.ended)
		if shot.Stop() {
			deaths[call]++
		} else {
			deaths["any moment"]++
		}
		s.kill()
		<-watch.ended
		cancel()
		<-labelled
		events, next := watch.seen()
		journal, token = append(journal, events...), next
	}

	o.around = nil
	s = serve(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.restarted()
	for range 20 {
		w.turn(ctx, true)
	}
	watch := s.watch(ctx, t, token)
	watch.await(t, 30*time.Second, "the subscriber has caught up", func(r *homeostatv1.WatchResponse) bool {
		return r.GetHeartbeat() != nil
	})
	t.Logf("it died %v", deaths)
	if deaths["fsync,fdatasync"] < 3 || deaths["msync"] < 3 {
		t.Errorf("too few of %d died where the log or the checkpoint is made durable", kills)
	}
	w.check(t, s, append(journal, first(watch.seen())...))
	s.accountFor(t)
}

func first(events []*homeostatv1.WatchResponse, _ string) []*homeostatv1.WatchResponse { return events }

// awaitReadyOrEnd waits until the server is ready, or returns how it ended.
func (s *server) awaitReadyOrEnd(t *testing.T) error {
	t.Helper()
	var ended error
	eventually(t, 30*time.Second, "homeostat is ready or has ended", func() error {
		select {
		case <-s.ended:
			ended = errors.Join(errors.New("ended"), s.err)
			return nil
		default:
			return s.ready()
		}
	})
	return ended
}

// A promise is a spike that was answered by a 2xx: its anomaly is durable.
type promise struct {
	series string
	at     int64
}

// ledger is the writer's own account of what was answered.
type ledger struct {
	t       *testing.T
	fleet   steady
	address string
	client  *http.Client

	turns    int
	since    int // turns since the server was last started
	answered int // requests answered by a 2xx
	sent     int // samples in them
	doubtful int // requests that had no answer at first
	promises []promise
	again    []byte // a request that had no answer

	mu     sync.Mutex
	labels []string // request ids that were answered
}

const (
	warmTurns  = 200
	turnMillis = 50
	spikeEvery = 80 // turns of one room
	settled    = 12 // turns after a start until a spike is surely seen: the restored state is a gap old
)

func (l *ledger) restarted() { l.since = 0 }

// until takes turns until the server has ended.
func (l *ledger) until(ctx context.Context, ended <-chan struct{}) {
	for {
		select {
		case <-ended:
			return
		case <-ctx.Done():
			return
		default:
			if !l.turn(ctx, true) {
				return
			}
		}
	}
}

// turn writes one value of each room, at the pace of the clock, and reports
// whether it was answered. A request without an answer is sent again, as it is,
// by the next turn.
func (l *ledger) turn(ctx context.Context, spikes bool) bool {
	if l.again != nil {
		a, err := send(ctx, l.client, l.address, l.again)
		if err != nil {
			return false
		}
		if a.status != http.StatusNoContent {
			l.t.Errorf("what was sent again was answered %d: %s", a.status, a.text)
		}
		l.again = nil
	}
	at := time.Now().UnixMilli() / turnMillis * turnMillis
	points := l.fleet.at(l.turns, at)
	var promised []promise
	for i := range points {
		if spikes && (l.turns+7*i)%spikeEvery == 0 {
			points[i].value += 5000
			if l.since >= settled {
				promised = append(promised, promise{points[i].series, at})
			}
		}
	}
	request := body(l.t, points)
	a, err := send(ctx, l.client, l.address, request)
	if err != nil {
		// Whether it was taken nobody knows: it is sent again to the next life,
		// where it may be a repeat, and promises nothing.
		l.doubtful++
		l.again = request
		l.turns++
		return false
	}
	if a.status != http.StatusNoContent {
		l.t.Errorf("turn %d was answered %d: %s", l.turns, a.status, a.text)
	}
	l.answered++
	l.sent += len(points)
	l.promises = append(l.promises, promised...)
	l.turns++
	l.since++
	wait := time.NewTimer(time.Until(time.UnixMilli(at + turnMillis)))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
	return true
}

// label gives a label to each fifth anomaly that opens, until ctx ends or the
// server is gone.
func (l *ledger) label(ctx context.Context, client homeostatv1.HomeostatServiceClient, w *watched) {
	next, opened := 0, 0
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		events, _ := w.seen()
		for ; next < len(events); next++ {
			a := events[next].GetAnomaly()
			if a.GetRevision() != homeostatv1.Revision_REVISION_OPENED {
				continue
			}
			if opened++; opened%5 != 0 {
				continue
			}
			request := "kill-" + strconv.Itoa(next) + "-" + a.GetId()
			_, err := client.Label(ctx, &homeostatv1.LabelRequest{
				AnomalyId: a.GetId(), Judgement: homeostatv1.Judgement_JUDGEMENT_TRUE, By: "e2e", RequestId: request,
			})
			if err == nil {
				l.mu.Lock()
				l.labels = append(l.labels, request)
				l.mu.Unlock()
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		case <-w.ended:
			return
		}
	}
}

// check holds the events of all lives against the ledger.
func (l *ledger) check(t *testing.T, s *server, events []*homeostatv1.WatchResponse) {
	t.Helper()
	opened := map[promise]int{}
	revisions := map[string]int{}
	labels := map[string]int{}
	last := uint64(0)
	for _, e := range events {
		if e.GetHeartbeat() != nil {
			continue
		}
		if e.GetGap() != nil {
			t.Errorf("the subscriber was told of a gap: %v", e.GetGap())
		}
		token, err := strconv.ParseUint(e.GetResumeToken(), 10, 64)
		if err != nil {
			t.Fatalf("resume token %q: %v", e.GetResumeToken(), err)
		}
		if token <= last {
			t.Errorf("token %d came after %d", token, last)
		}
		last = token
		if a := e.GetAnomaly(); a != nil {
			revisions[fmt.Sprint(a.GetId(), a.GetRevision(), a.GetPointTime().AsTime())]++
			if a.GetRevision() == homeostatv1.Revision_REVISION_OPENED {
				opened[promise{labelOf(a.GetSeries(), "series"), a.GetOpenTime().AsTime().UnixMilli()}]++
			}
		}
		if label := e.GetLabel(); label != nil {
			labels[label.GetRequestId()]++
		}
	}
	var lost, doubled []string
	for _, p := range l.promises {
		switch n := opened[p]; {
		case n == 0:
			lost = append(lost, fmt.Sprint(p))
		case n > 1:
			doubled = append(doubled, fmt.Sprint(p))
		}
	}
	for revision, n := range revisions {
		if n > 1 {
			doubled = append(doubled, revision)
		}
	}
	for _, request := range l.labels {
		switch n := labels[request]; {
		case n == 0:
			lost = append(lost, "label "+request)
		case n > 1:
			doubled = append(doubled, "label "+request)
		}
	}
	slices.Sort(doubled)
	if len(lost) > 0 {
		t.Errorf("%d acknowledged were lost: %s", len(lost), tailOf(fmt.Sprint(lost)))
	}
	if len(doubled) > 0 {
		t.Errorf("%d came twice: %s", len(doubled), tailOf(fmt.Sprint(doubled)))
	}
	t.Logf("%d requests answered, %d without an answer, %d anomalies promised, %d labels answered, %d events seen",
		l.answered, l.doubtful, len(l.promises), len(l.labels), len(events))
	if len(l.promises) < 50 || len(l.labels) < 5 {
		t.Errorf("only %d anomalies were promised and %d labels answered: the test tests nothing", len(l.promises), len(l.labels))
	}
}
