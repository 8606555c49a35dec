package serve

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc/codes"

	"github.com/homeostat/homeostat/engine"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// Whoever has the answer to a label may take it back at once. The loop answers
// before it tells the board, so that the service has to wait for that.
func TestALabelCanBeTakenBackAsSoonAsItIsAnswered(t *testing.T) {
	s := newStage(t, Config{})
	s.tell(anomaly(0, engine.Opened))
	s.later = make(chan struct{})
	label := &homeostatv1.LabelRequest{AnomalyId: engine.AnomalyID(1).String(), Judgement: homeostatv1.Judgement_JUDGEMENT_FALSE_ALARM, By: "ann", RequestId: "one"}
	hurry, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := s.client.Label(hurry, label)
	refusedWith(t, "a label that nobody was told of yet", err, codes.DeadlineExceeded)
	close(s.later)
	for n := range 50 {
		request := fmt.Sprint("label-", n)
		label.RequestId = request
		if _, err := s.client.Label(t.Context(), label); err != nil {
			t.Fatal(err)
		}
		undo, err := s.client.Undo(t.Context(), &homeostatv1.UndoRequest{LabelRequestId: request, By: "ann"})
		if err != nil {
			t.Fatalf("label %d, taken back at once: %v", n, err)
		}
		again, err := s.client.Undo(t.Context(), &homeostatv1.UndoRequest{LabelRequestId: request, By: "ben"})
		if err != nil || again.GetUndo().GetRequestId() != undo.GetUndo().GetRequestId() {
			t.Fatalf("taken back twice: %v, %v, want the first undo again", again, err)
		}
	}
}

func TestLabelsThatAreRefused(t *testing.T) {
	s := newStage(t, Config{})
	s.tell(anomaly(0, engine.Opened))
	const known = "0000000000000001"
	good := homeostatv1.Judgement_JUDGEMENT_TRUE
	if _, err := s.client.Label(t.Context(), &homeostatv1.LabelRequest{AnomalyId: known, Judgement: good, By: "ann", RequestId: "taken"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		req  *homeostatv1.LabelRequest
		code codes.Code
	}{
		{"an ID that is none", &homeostatv1.LabelRequest{AnomalyId: "x", Judgement: good}, codes.InvalidArgument},
		{"no judgement", &homeostatv1.LabelRequest{AnomalyId: known}, codes.InvalidArgument},
		{"an unknown judgement", &homeostatv1.LabelRequest{AnomalyId: known, Judgement: 9}, codes.InvalidArgument},
		{"an anomaly that never was", &homeostatv1.LabelRequest{AnomalyId: "00000000000000ff", Judgement: good}, codes.NotFound},
		{"a long request", &homeostatv1.LabelRequest{AnomalyId: known, Judgement: good, RequestId: strings.Repeat("r", 129)}, codes.InvalidArgument},
		{"a long name", &homeostatv1.LabelRequest{AnomalyId: known, Judgement: good, By: strings.Repeat("b", 257)}, codes.InvalidArgument},
		{"a long note", &homeostatv1.LabelRequest{AnomalyId: known, Judgement: good, Note: strings.Repeat("n", 4097)}, codes.InvalidArgument},
		{"the name of what was measured", &homeostatv1.LabelRequest{AnomalyId: known, Judgement: good, By: "measured"}, codes.InvalidArgument},
		{"a request used for another label", &homeostatv1.LabelRequest{AnomalyId: known, Judgement: homeostatv1.Judgement_JUDGEMENT_FALSE_ALARM, RequestId: "taken"}, codes.AlreadyExists},
	} {
		_, err := s.client.Label(t.Context(), c.req)
		refusedWith(t, c.name, err, c.code)
	}
	again, err := s.client.Label(t.Context(), &homeostatv1.LabelRequest{AnomalyId: known, Judgement: good, By: "ben", RequestId: "taken"})
	if err != nil || again.GetLabel().GetBy() != "ann" {
		t.Errorf("the same request again: %v, %v, want the first label", again, err)
	}
	_, err = s.client.Undo(t.Context(), &homeostatv1.UndoRequest{LabelRequestId: "never"})
	refusedWith(t, "an undo of nothing", err, codes.NotFound)
	if n := len(s.log.records); n != 2 {
		t.Errorf("%d records, want the anomaly and one label", n)
	}
}

// Of many calls at the same time with one request_id, one label is made, and
// every caller is told of that one or that it is another's.
func TestOneRequestIsOneLabelHoweverManyAsk(t *testing.T) {
	s := newStage(t, Config{})
	s.tell(anomaly(0, engine.Opened))
	s.later = make(chan struct{}) // the board is told only once everybody has asked
	var all sync.WaitGroup
	for n := range 40 {
		all.Go(func() {
			want := []homeostatv1.Judgement{homeostatv1.Judgement_JUDGEMENT_TRUE, homeostatv1.Judgement_JUDGEMENT_FALSE_ALARM}[n%2]
			got, err := s.client.Label(t.Context(), &homeostatv1.LabelRequest{AnomalyId: "0000000000000001", Judgement: want, By: fmt.Sprint(n), RequestId: "one"})
			switch {
			case err == nil && got.GetLabel().GetJudgement() != want:
				t.Errorf("who said %v is told of %v", want, got.GetLabel())
			case err != nil:
				refusedWith(t, "another label's request", err, codes.AlreadyExists)
			}
		})
	}
	for range 100 {
		if _, err := s.client.ListAnomalies(t.Context(), &homeostatv1.ListAnomaliesRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	close(s.later)
	all.Wait()
	if n := len(s.log.records); n != 2 {
		t.Errorf("%d records, want the anomaly and one label", n)
	}
}

func TestListsArePagedTheNewestFirst(t *testing.T) {
	s := newStage(t, Config{})
	s.tell(anomalies(0, 25)...)
	s.tell(anomaly(3, engine.Closed))
	for n := range 25 {
		s.tell(&engine.Incident{ID: engine.IncidentID(n + 1), Revision: engine.Opened, State: engine.IncidentOpen, Workload: "w", Members: []engine.Member{{Anomaly: engine.AnomalyID(n + 1), Kind: engine.KindSpike}}})
	}
	var got, incidents []string
	for token := ""; ; {
		page, err := s.client.ListAnomalies(t.Context(), &homeostatv1.ListAnomaliesRequest{PageSize: 7, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.GetAnomalies() {
			got = append(got, a.GetId())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	for token := ""; ; {
		page, err := s.client.ListIncidents(t.Context(), &homeostatv1.ListIncidentsRequest{
			PageSize: 7, PageToken: token, Filter: &homeostatv1.Filter{Matchers: []*homeostatv1.LabelMatcher{{Name: "job", Value: "job-0"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page.GetIncidents() {
			incidents = append(incidents, i.GetId())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	var want, wantIncidents []string
	for n := 24; n >= 0; n-- {
		want = append(want, engine.AnomalyID(n+1).String())
		if n%2 == 0 {
			wantIncidents = append(wantIncidents, engine.IncidentID(n+1).String())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	if !slices.Equal(incidents, wantIncidents) {
		t.Errorf("listed incidents %v, want %v", incidents, wantIncidents)
	}
	open, err := s.client.ListAnomalies(t.Context(), &homeostatv1.ListAnomaliesRequest{PageSize: 5000, Filter: &homeostatv1.Filter{OpenOnly: true}})
	if err != nil || len(open.GetAnomalies()) != 24 {
		t.Errorf("%d are open, want 24: %v", len(open.GetAnomalies()), err)
	}
	_, err = s.client.ListAnomalies(t.Context(), &homeostatv1.ListAnomaliesRequest{PageToken: "x"})
	refusedWith(t, "a page token that is none", err, codes.InvalidArgument)
}

func TestExplainTellsTheWholeStory(t *testing.T) {
	s := newStage(t, Config{})
	a := anomaly(0, engine.Opened)
	s.tell(
		a,
		engine.Label{RequestID: "l", Anomaly: a.ID, Series: a.Series.ID, Judgement: engine.JudgedFalse, By: "ann"},
		engine.ThresholdMove{Series: a.Series.ID, Before: engine.Threshold{Open: 300}, After: engine.Threshold{Open: 315, Cause: "l", Version: 1}, Steps: 1},
		engine.Outcome{Anomaly: a.ID, Verdict: engine.VerdictFalseAlarm, By: "ann"},
		&engine.Incident{ID: 5, Revision: engine.Opened, Members: []engine.Member{{Anomaly: a.ID}}},
		engine.Undo{RequestID: "u", Label: "l", By: "ben"},
		anomaly(0, engine.Closed),
	)
	got, err := s.client.Explain(t.Context(), &homeostatv1.ExplainRequest{AnomalyId: a.ID.String()})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.GetRevisions()) != 2 || len(got.GetLabels()) != 1 || len(got.GetUndos()) != 1 || len(got.GetOutcomes()) != 1 ||
		!slices.Equal(got.GetIncidentIds(), []string{engine.IncidentID(5).String()}) || got.GetLastMove().GetAfter().GetVersion() != 1 {
		t.Errorf("the story is not whole: %v", got)
	}
	text := strings.Join(got.GetSentences(), "\n")
	for _, want := range []string{
		`queue_depth{instance="a",job="job-0"} is 400, 4 times the usual 100.`, "10.00 where 4.69", "quiet if ≤ 120 (was 400).",
		"step scored 8.00: it went from 98 to 400 in one step.", `"ann" said false-alarm`, `"ben" took label "l" back`, "It has ended.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the sentences lack %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "turn") || strings.Count(text, "4 times the usual") != 1 {
		t.Errorf("the sentences tell what is no reason, or one twice:\n%s", text)
	}
	_, err = s.client.Explain(t.Context(), &homeostatv1.ExplainRequest{AnomalyId: "00000000000000ff"})
	refusedWith(t, "an anomaly that never was", err, codes.NotFound)
}

func TestABaselineIsFoundByIDAndByLabels(t *testing.T) {
	s := newStage(t, Config{})
	ls := labels.FromStrings("__name__", "queue_depth", "job", "a")
	series := naming.NewSeries(ls, engine.TypeGauge)
	fx := &engine.Effects{}
	for n := range 200 {
		s.engine.Shards()[0].Step([]*engine.Batch{{Samples: []engine.Sample{{Series: series, Partition: series.Partition, At: int64(1000 * (n + 1)), Value: float64(100 + n%5)}}}}, fx)
	}
	for _, req := range []*homeostatv1.GetBaselineRequest{
		{SeriesId: series.ID.String()},
		{Labels: []*homeostatv1.LabelPair{{Name: "__name__", Value: "queue_depth"}, {Name: "job", Value: "a"}}},
		{Labels: []*homeostatv1.LabelPair{{Name: "job", Value: "a"}, {Name: "__name__", Value: "queue_depth"}}}, // in any order
	} {
		got, err := s.client.GetBaseline(t.Context(), req)
		if err != nil {
			t.Errorf("%v: %v", req, err)
			continue
		}
		if b := got.GetBaseline(); !b.GetWarm() || b.GetPoints() != 200 || b.GetExpected() < 99 || b.GetExpected() > 106 || b.GetLower() >= b.GetUpper() {
			t.Errorf("%v: %v", req, b)
		}
	}
	for _, c := range []struct {
		name string
		req  *homeostatv1.GetBaselineRequest
		code codes.Code
	}{
		{"nothing", &homeostatv1.GetBaselineRequest{}, codes.InvalidArgument},
		{"an ID that is none", &homeostatv1.GetBaselineRequest{SeriesId: "x"}, codes.InvalidArgument},
		{"a series that never was", &homeostatv1.GetBaselineRequest{SeriesId: "00000000000000ff"}, codes.NotFound},
	} {
		_, err := s.client.GetBaseline(t.Context(), c.req)
		refusedWith(t, c.name, err, c.code)
	}
}

// Until the store is open and warm a writer is told to come again, and nothing
// reaches the receiver.
func TestNotReadyIsAnswered503(t *testing.T) {
	reached := 0
	pages := &Pages{
		Write:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { reached++; w.WriteHeader(http.StatusNoContent) }),
		Registry: prometheus.NewRegistry(),
	}
	ask := func(method, path string) *http.Response {
		w := httptest.NewRecorder()
		pages.Handler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Result()
	}
	pages.Warming("learning from history")
	if r := ask("GET", "/-/healthy"); r.StatusCode != 200 {
		t.Errorf("healthy: %s", r.Status)
	}
	r := ask("GET", "/-/ready")
	if text, _ := io.ReadAll(r.Body); r.StatusCode != 503 || !strings.Contains(string(text), "learning from history") {
		t.Errorf("ready: %s %s", r.Status, text)
	}
	if r := ask("POST", "/api/v1/write"); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || reached != 0 {
		t.Errorf("a write: %s, Retry-After %q, %d reached the receiver", r.Status, r.Header.Get("Retry-After"), reached)
	}
	second := httptest.NewRequest("POST", "/api/v1/write", nil)
	second.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
	w := httptest.NewRecorder()
	pages.Handler().ServeHTTP(w, second)
	for _, kind := range []string{"Samples", "Histograms", "Exemplars"} {
		if got := w.Header().Get("X-Prometheus-Remote-Write-" + kind + "-Written"); w.Code != 503 || got != "0" {
			t.Errorf("a 2.0 write: %d, %s written %q", w.Code, kind, got)
		}
	}
	pages.Ready()
	if r := ask("GET", "/-/ready"); r.StatusCode != 200 {
		t.Errorf("ready: %s", r.Status)
	}
	if r := ask("POST", "/api/v1/write"); r.StatusCode != 204 || reached != 1 {
		t.Errorf("a write: %s, %d reached the receiver", r.Status, reached)
	}
	if r := ask("GET", "/debug/pprof/"); r.StatusCode != 404 {
		t.Errorf("profiles without their flag: %s", r.Status)
	}
}
