package serve

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// The lists and the labels over HTTP. Answers have Prometheus' envelope and the
// field names of replay -o jsonl.

// envelope is Prometheus' frame around an answer.
type envelope struct {
	Status    string   `json:"status"`
	Data      any      `json:"data,omitempty"`
	ErrorType string   `json:"errorType,omitempty"`
	Error     string   `json:"error,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

// writeJSON answers with an envelope. Text of strangers stays inside of strings:
// encoding/json escapes what could end one, and HTML.
func writeJSON(w http.ResponseWriter, code int, e envelope) {
	b, err := json.Marshal(e)
	if err != nil {
		code, b = http.StatusInternalServerError, []byte(`{"status":"error","errorType":"internal","error":"the answer could not be written"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(code)
	w.Write(append(b, '\n'))
}

func writeError(w http.ResponseWriter, code int, kind, text string) {
	writeJSON(w, code, envelope{Status: "error", ErrorType: kind, Error: text})
}

// answers is how a code of gRPC is said over HTTP.
var answers = map[codes.Code]struct {
	status int
	kind   string
}{
	codes.InvalidArgument:    {http.StatusBadRequest, "bad_data"},
	codes.NotFound:           {http.StatusNotFound, "not_found"},
	codes.AlreadyExists:      {http.StatusConflict, "conflict"},
	codes.FailedPrecondition: {http.StatusUnprocessableEntity, "execution"},
	codes.ResourceExhausted:  {http.StatusTooManyRequests, "too_many_requests"},
	codes.Unavailable:        {http.StatusServiceUnavailable, "unavailable"},
	codes.DeadlineExceeded:   {http.StatusServiceUnavailable, "timeout"},
	codes.Canceled:           {499, "canceled"},
}

func writeStatus(w http.ResponseWriter, err error) {
	s := status.Convert(err)
	a, ok := answers[s.Code()]
	if !ok {
		a.status, a.kind = http.StatusInternalServerError, "internal"
	}
	if a.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeError(w, a.status, a.kind, s.Message())
}

// rest is a handler of one method that answers with data or an error.
func rest(method string, answer func(r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			writeError(w, http.StatusMethodNotAllowed, "bad_data", "want "+method)
			return
		}
		data, err := answer(r)
		if err != nil {
			writeStatus(w, err)
			return
		}
		writeJSON(w, http.StatusOK, envelope{Status: "success", Data: data})
	})
}

// The states that the lists know.
var (
	anomalyStates  = []string{engine.IncidentOpen.String(), engine.IncidentClosed.String()}
	incidentStates = []string{
		engine.IncidentOpen.String(), engine.IncidentActing.String(), engine.IncidentWatching.String(), engine.IncidentClosed.String(),
	}
)

// restList is a list of the board under its name, a line an entry.
func (s *Service) restList(of listing, name string, states []string) http.Handler {
	known := []string{"limit", "page_token", "start", "end", "kind", "workload", "match[]"}
	if states != nil {
		known = append(known, "state")
	}
	return rest(http.MethodGet, func(r *http.Request) (any, error) {
		p := paramsOf(r, known...)
		c, at := p.chooser(s.board, states), p.place()
		if p.err != nil {
			return nil, p.err
		}
		page, next := s.board.list(of, c, at)
		lines, next, err := fit(page, next, func(it *item) (json.RawMessage, int, error) {
			l, _ := wire.LineOf(it.last, it.record)
			if it.result != 0 {
				l.Result = it.result.String()
			}
			return marshalled(l)
		})
		return listAnswer(name, lines, next), err
	})
}

func marshalled(v any) (json.RawMessage, int, error) {
	b, err := json.Marshal(v)
	return b, len(b), err
}

// listAnswer is the data of a list. The token is there when there is a next page.
func listAnswer(name string, lines []json.RawMessage, next string) map[string]any {
	data := map[string]any{name: lines}
	if next != "" {
		data["next_page_token"] = next
	}
	return data
}

const (
	// scanSeries is how many series are looked at while the loop waits, some
	// milliseconds; scanAtMost how many for one answer, which may then be a page
	// that is not full.
	scanSeries = 10_000
	scanAtMost = 500_000
)

// restSeries lists baselines, or one by its id.
func (s *Service) restSeries() http.Handler {
	return rest(http.MethodGet, func(r *http.Request) (any, error) {
		p := paramsOf(r, "id", "limit", "page_token", "workload", "match[]")
		if id := p.text("id"); id != "" && p.err == nil {
			if len(p.values) > 1 {
				p.fail("id goes with no other parameter")
				return nil, p.err
			}
			b, err := s.baseline(r.Context(), id)
			if err != nil {
				return nil, err
			}
			return map[string]any{"series": []wire.LineBaseline{wire.BaselineLine(b)}}, nil
		}
		c, at := p.chooser(s.board, nil), p.place()
		if p.err != nil {
			return nil, p.err
		}
		found, next, err := s.baselines(r.Context(), c, at)
		if err != nil {
			return nil, unavailable(err)
		}
		lines, next, err := fit(found, next, func(it *item) (json.RawMessage, int, error) { return it.line, len(it.line), nil })
		return listAnswer("series", lines, next), err
	})
}

// baselines asks the loop for a page, in steps, so that it never waits for long.
func (s *Service) baselines(ctx context.Context, c *chooser, at place) (page []item, next string, err error) {
	place, more := engine.Place(at.before), true
	want := func(series *engine.Series) bool {
		return (c.filter.GetWorkload() == "" || c.filter.GetWorkload() == string(series.Workload)) && c.matches(series)
	}
	for scanned := 0; more && len(page) < at.most && scanned < scanAtMost; scanned += scanSeries {
		var found []engine.Baseline
		var after []engine.Place
		err := s.loop.Query(ctx, func(e *engine.Engine) {
			found, after, place, more = e.Baselines(place, scanSeries, at.most-len(page), want)
		})
		if err != nil {
			return nil, "", err
		}
		for i := range found {
			line, err := json.Marshal(wire.BaselineLine(&found[i]))
			if err != nil {
				return nil, "", err
			}
			page = append(page, item{first: uint64(after[i]), line: line})
		}
	}
	if more {
		next = (&item{first: uint64(place)}).token()
	}
	return page, next, nil
}

const maxBodyBytes = 64 << 10

// bodyOf reads a small body strictly: one JSON object without unknown fields.
// Its Content-Type must be JSON, which no form of a browser can send.
func bodyOf(r *http.Request, into any) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return refuse(codes.InvalidArgument, "CONTENT_TYPE", nil, "want Content-Type: application/json")
	}
	if r.URL.RawQuery != "" {
		return refuse(codes.InvalidArgument, "PARAMETER_INVALID", nil, "this takes a body and no parameters")
	}
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBodyBytes))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return refuse(codes.InvalidArgument, "BODY_INVALID", nil, "the body: %v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return refuse(codes.InvalidArgument, "BODY_INVALID", nil, "the body has more than one value")
	}
	return nil
}

// restLabel takes a person's word on an anomaly.
func (s *Service) restLabel() http.Handler {
	return rest(http.MethodPost, func(r *http.Request) (any, error) {
		var body struct {
			Anomaly   string `json:"anomaly"`
			Judgement string `json:"judgement"`
			By        string `json:"by"`
			Text      string `json:"text"`
			RequestID string `json:"request_id"`
		}
		if err := bodyOf(r, &body); err != nil {
			return nil, err
		}
		judgement, err := engine.ParseJudgement(body.Judgement)
		if err != nil {
			return nil, refuse(codes.InvalidArgument, "JUDGEMENT_INVALID", nil, "judgement %q: want %s or %s",
				clip(body.Judgement), engine.JudgedFalse, engine.JudgedTrue)
		}
		l, err := s.label(r.Context(), &homeostatv1.LabelRequest{
			AnomalyId: body.Anomaly, Judgement: homeostatv1.Judgement(judgement), By: body.By, Note: body.Text, RequestId: body.RequestID,
		})
		if err != nil {
			return nil, err
		}
		line, _ := wire.LineOf(0, l)
		return line, nil
	})
}

// restUndo takes a label back.
func (s *Service) restUndo() http.Handler {
	return rest(http.MethodPost, func(r *http.Request) (any, error) {
		var body struct {
			Label     string `json:"label"`
			By        string `json:"by"`
			RequestID string `json:"request_id"`
		}
		if err := bodyOf(r, &body); err != nil {
			return nil, err
		}
		u, err := s.undo(r.Context(), &homeostatv1.UndoRequest{LabelRequestId: body.Label, By: body.By, RequestId: body.RequestID})
		if err != nil {
			return nil, err
		}
		line, _ := wire.LineOf(0, u)
		return line, nil
	})
}
