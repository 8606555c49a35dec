package serve

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/homeostat/homeostat/engine"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

func TestASubscriberGoesOnWhereItWas(t *testing.T) {
	s := newStage(t, Config{})
	const total = maxRing + 3000
	s.tell(anomalies(0, total-100)...)
	s.tell(engine.Tick{Now: 1}) // a tick has a place in the log and is told to nobody
	go s.tell(anomalies(total-100, total)...)
	token, want := "0", 1
	for cut := 1; want <= total; cut++ {
		stream, end := s.watch(&homeostatv1.WatchRequest{ResumeToken: token})
		for range 7 * cut {
			m := nextEvent(t, stream)
			token = m.GetResumeToken()
			if got := m.GetAnomaly().GetId(); got != engine.AnomalyID(want).String() {
				t.Fatalf("after %d cuts: anomaly %s came, want %s", cut, got, engine.AnomalyID(want))
			}
			if want++; want > total {
				break
			}
		}
		end()
	}
	if token != strconv.Itoa(total+1) {
		t.Errorf("the last token is %s, want %d", token, total+1)
	}
}

func TestWithoutATokenAStreamBeginsNow(t *testing.T) {
	s := newStage(t, Config{})
	s.tell(anomalies(0, 10)...)
	stream, _ := s.watch(&homeostatv1.WatchRequest{})
	if m := next(t, stream); m.GetHeartbeat() == nil || m.GetResumeToken() != "10" {
		t.Errorf("the first message is %v, want a heartbeat at 10", m)
	}
	s.tell(anomalies(10, 11)...)
	if m := nextEvent(t, stream); m.GetResumeToken() != "11" {
		t.Errorf("then came %v", m)
	}
	if s.log.scans != 0 {
		t.Errorf("the log was read %d times for who follows closely", s.log.scans)
	}
}

func TestTokensThatAreNone(t *testing.T) {
	s := newStage(t, Config{})
	s.tell(anomalies(0, 20)...)
	s.log.retire(11)
	for _, c := range []struct {
		token string
		code  codes.Code
	}{{"21", codes.InvalidArgument}, {"x", codes.InvalidArgument}, {"-1", codes.InvalidArgument}, {"9", codes.OutOfRange}} {
		stream, _ := s.watch(&homeostatv1.WatchRequest{ResumeToken: c.token})
		_, err := stream.Recv()
		refusedWith(t, "token "+c.token, err, c.code)
		if c.code != codes.OutOfRange {
			continue
		}
		if details := status.Convert(err).Details(); len(details) != 1 || details[0].(*errdetails.ErrorInfo).GetMetadata()["oldest_token"] != "10" {
			t.Errorf("the oldest token is not told: %v", details)
		}
	}
	stream, _ := s.watch(&homeostatv1.WatchRequest{ResumeToken: "10"})
	if m := nextEvent(t, stream); m.GetResumeToken() != "11" {
		t.Errorf("after the oldest token came %v", m)
	}
}

func TestAGapIsToldWithItsCount(t *testing.T) {
	s := newStage(t, Config{})
	s.tell(anomalies(0, 20)...)
	s.log.retire(11)
	stream, _ := s.watch(&homeostatv1.WatchRequest{ResumeToken: "0"}) // from the beginning of time
	gap := nextEvent(t, stream).GetGap()
	if gap.GetCount() != 10 || gap.GetFirstToken() != "1" || gap.GetLastToken() != "10" {
		t.Errorf("told of %v, want 1 to 10", gap)
	}
	for want := 11; want <= 20; want++ {
		if m := nextEvent(t, stream); m.GetResumeToken() != strconv.Itoa(want) {
			t.Fatalf("then came %v, want %d", m, want)
		}
	}
	if n := s.svc.gaps.Load(); n != 10 {
		t.Errorf("%d entries counted as missed, want 10", n)
	}
}

// A watermark says that everything of the epochs before it was sent, so that no
// heartbeat may overtake what it speaks of.
func TestAHeartbeatComesAfterWhatItSpeaksOf(t *testing.T) {
	s := newStage(t, Config{Heartbeat: 2 * time.Millisecond})
	stream, _ := s.watch(&homeostatv1.WatchRequest{ResumeToken: "0"})
	if m := next(t, stream).GetHeartbeat(); m == nil || m.GetLowWatermarkTime() != nil {
		t.Errorf("first came %v, want a heartbeat without a watermark", m)
	}
	go func() {
		for n := range 300 {
			s.tell(anomaly(n, engine.Opened))
			s.setMark(anomaly(n, engine.Opened).Epoch + engine.EpochMillis)
		}
	}()
	var newest int64
	for seen, beats := 0, 0; seen < 300 || beats == 0; {
		m := next(t, stream)
		if a := m.GetAnomaly(); a != nil {
			seen++
			newest = a.GetPointTime().AsTime().UnixMilli()
			continue
		}
		if mark := m.GetHeartbeat().GetLowWatermarkTime(); mark != nil {
			beats++
			if at := mark.AsTime().UnixMilli(); at > newest+engine.EpochMillis {
				t.Fatalf("the watermark is %d when the newest event sent is of %d", at, newest)
			}
		}
	}
}

// A subscriber that takes nothing is ended, and meanwhile neither the board nor
// another subscriber waits for it.
func TestAStuckSubscriberHoldsUpNobody(t *testing.T) {
	s := newStage(t, Config{SendTimeout: 2 * time.Second, Heartbeat: time.Hour})
	stuck, _ := s.watch(&homeostatv1.WatchRequest{ResumeToken: "0"})
	quick, _ := s.watch(&homeostatv1.WatchRequest{ResumeToken: "0"})
	wide := anomaly(0, engine.Opened)
	wide.Factors[0].Text = strings.Repeat("x", 4000)
	const total = 2000 // some 8 MB, far beyond what a connection's buffers hold
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range total {
			s.tell(wide)
		}
	}()
	for want := 1; want <= total; want++ {
		if m := nextEvent(t, quick); m.GetResumeToken() != strconv.Itoa(want) {
			t.Fatalf("the quick one was sent %s, want %d", m.GetResumeToken(), want)
		}
	}
	<-done
	eventually(t, "the stuck one is ended", func() bool { return s.svc.stuck.Load() == 1 && s.svc.subscribers.Load() == 1 })
	token := ""
	for {
		m, err := stuck.Recv()
		if err != nil {
			refusedWith(t, "the stuck one", err, codes.DeadlineExceeded)
			break
		}
		token = m.GetResumeToken()
	}
	at, err := strconv.Atoi(token)
	if err != nil || at >= total {
		t.Fatalf("it was ended at %q of %d", token, total)
	}
	again, _ := s.watch(&homeostatv1.WatchRequest{ResumeToken: token})
	for want := at + 1; want <= total; want++ {
		if m := nextEvent(t, again); m.GetResumeToken() != strconv.Itoa(want) {
			t.Fatalf("resumed, it was sent %s, want %d", m.GetResumeToken(), want)
		}
	}
}

func TestSubscribersAreBounded(t *testing.T) {
	s := newStage(t, Config{MaxSubscribers: 2})
	_, end := s.watch(&homeostatv1.WatchRequest{})
	other, _ := s.watch(&homeostatv1.WatchRequest{})
	next(t, other)
	eventually(t, "both are served", func() bool { return s.svc.subscribers.Load() == 2 })
	third, _ := s.watch(&homeostatv1.WatchRequest{})
	_, err := third.Recv()
	refusedWith(t, "a third subscriber", err, codes.ResourceExhausted)
	end()
	eventually(t, "one is gone", func() bool { return s.svc.subscribers.Load() == 1 })
	fourth, _ := s.watch(&homeostatv1.WatchRequest{})
	next(t, fourth)
}

func TestTheRingHoldsTheNewest(t *testing.T) {
	var r ring
	if _, ok := r.after(0, nil, 1); ok {
		t.Error("an empty ring says that it has everything")
	}
	for n := uint64(1); n <= 5*maxRing; n++ {
		r.push(n, engine.Tick{Now: int64(n)})
		if len(r.entries) > maxRing || cap(r.entries) > 2*maxRing {
			t.Fatalf("%d entries in room for %d", len(r.entries), cap(r.entries))
		}
		oldest := max(0, int64(n)-maxRing)
		for _, from := range []int64{oldest - 1, oldest, oldest + 1, int64(n) - 1, int64(n)} {
			if from < 0 {
				continue
			}
			got, ok := r.after(uint64(from), nil, 3)
			if ok != (from >= oldest) {
				t.Fatalf("with %d records, after %d: ok is %v", n, from, ok)
			}
			for i, e := range got {
				if e.seq != uint64(from)+uint64(i)+1 {
					t.Fatalf("with %d records, after %d: %d came as number %d", n, from, e.seq, i)
				}
			}
			if want := min(3, int64(n)-from); ok && int64(len(got)) != want {
				t.Fatalf("with %d records, after %d: %d came, want %d", n, from, len(got), want)
			}
		}
	}
}

// Every criterion given must hold; an event that is no anomaly is judged by the
// one that it speaks of, and selected when that is not known.
func TestFiltersSelectWhatTheySay(t *testing.T) {
	s := newStage(t, Config{})
	closed := anomaly(1, engine.Closed)
	s.tell(
		anomaly(0, engine.Opened), // job-0
		anomaly(1, engine.Opened), // job-1
		closed,
		&engine.Incident{ID: 9, Revision: engine.Opened, Workload: `job="job-1"`, Members: []engine.Member{{Anomaly: 2, Kind: engine.KindSpike}}, Peak: 640},
		engine.Decision{Incident: 9, Verb: engine.Hold},
		engine.Label{RequestID: "l0", Anomaly: 1, Judgement: engine.JudgedFalse},
		engine.Label{RequestID: "l1", Anomaly: 2, Judgement: engine.JudgedFalse},
		engine.Undo{RequestID: "u", Label: "l1"},
		engine.Outcome{Incident: 9, Verdict: engine.VerdictUnknown, By: engine.ByMeasurement},
		engine.Outcome{Incident: 77, Verdict: engine.VerdictUnknown, By: engine.ByMeasurement}, // of an incident that nobody remembers
	)
	for _, c := range []struct {
		name string
		req  *homeostatv1.WatchRequest
		want []int
	}{
		{"nothing asked", &homeostatv1.WatchRequest{}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"a workload", &homeostatv1.WatchRequest{Filter: &homeostatv1.Filter{Workload: `job="job-1"`}}, []int{2, 3, 4, 5, 7, 8, 9, 10}},
		{"a label", &homeostatv1.WatchRequest{Filter: &homeostatv1.Filter{Matchers: []*homeostatv1.LabelMatcher{{Name: "job", Value: "job-0"}}}}, []int{1, 6, 10}},
		{"a regular expression", &homeostatv1.WatchRequest{Filter: &homeostatv1.Filter{Matchers: []*homeostatv1.LabelMatcher{{Name: "job", Op: homeostatv1.MatchOp_MATCH_OP_NOT_REGEXP, Value: "job-[1-9]"}}}}, []int{1, 6, 10}},
		{"a kind that nothing has", &homeostatv1.WatchRequest{Filter: &homeostatv1.Filter{Kinds: []homeostatv1.Kind{homeostatv1.Kind_KIND_LEAK}}}, []int{10}},
		{"more than anything scored", &homeostatv1.WatchRequest{Filter: &homeostatv1.Filter{MinScore: 11}}, []int{10}},
		{"what is open", &homeostatv1.WatchRequest{Filter: &homeostatv1.Filter{OpenOnly: true}, EventKinds: []homeostatv1.EventKind{homeostatv1.EventKind_EVENT_KIND_ANOMALY}}, []int{1, 2}},
		{"labels only", &homeostatv1.WatchRequest{EventKinds: []homeostatv1.EventKind{homeostatv1.EventKind_EVENT_KIND_LABEL, homeostatv1.EventKind_EVENT_KIND_UNDO}}, []int{6, 7, 8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.req.ResumeToken = "0"
			stream, end := s.watch(c.req)
			defer end()
			var got []int
			for {
				m := next(t, stream)
				if m.GetHeartbeat() != nil {
					break // all that there is was sent
				}
				seq, _ := strconv.Atoi(m.GetResumeToken())
				got = append(got, seq)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("sent %v, want %v", got, c.want)
			}
		})
	}
	stream, _ := s.watch(&homeostatv1.WatchRequest{Filter: &homeostatv1.Filter{Matchers: []*homeostatv1.LabelMatcher{{Name: "job", Op: homeostatv1.MatchOp_MATCH_OP_REGEXP, Value: "("}}}})
	_, err := stream.Recv()
	refusedWith(t, "a broken expression", err, codes.InvalidArgument)
}

// BenchmarkDeliver is what ingest pays for one record when many subscribers
// follow.
func BenchmarkDeliver(b *testing.B) {
	for _, subscribers := range []int{0, 1000} {
		b.Run(fmt.Sprint(subscribers), func(b *testing.B) {
			board := NewBoard()
			stop := make(chan struct{})
			for range subscribers {
				go func() {
					var at uint64
					var events []*told
					for {
						last, news := board.state()
						for at < last {
							events, _ = board.after(at, events[:0], page)
							for _, e := range events {
								e.message()
							}
							at = last
						}
						select {
						case <-news:
						case <-stop:
							return
						}
					}
				}()
			}
			records := []engine.Record{anomaly(0, engine.Opened)}
			b.ReportAllocs()
			seq := uint64(1)
			for b.Loop() {
				board.Deliver(seq, records)
				seq++
			}
			close(stop)
		})
	}
}
