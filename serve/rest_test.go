package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/engine/wire"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// answer is a decoded envelope.
type answer struct {
	code      int
	header    http.Header
	body      string
	Status    string          `json:"status"`
	Data      json.RawMessage `json:"data"`
	ErrorType string          `json:"errorType"`
	Error     string          `json:"error"`
	Warnings  []string        `json:"warnings"`
}

// ask sends a request to the pages of a desk and decodes what comes.
func ask(t testing.TB, h http.Handler, method, target, body string, headers ...string) answer {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	a := answer{code: w.Code, header: w.Header(), body: w.Body.String()}
	if w.Header().Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			t.Fatalf("%s %s: %v in %s", method, target, err, clip(a.body))
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s %s lacks the headers that keep a browser from running it: %v", method, target, w.Header())
		}
	}
	return a
}

func (d *desk) pages() *Pages {
	p := &Pages{Write: http.NotFoundHandler(), Service: d.service, Registry: prometheus.NewRegistry()}
	p.Ready()
	return p
}

// listOf decodes the data of a list.
func listOf(t testing.TB, a answer, name string) (lines []wire.Line, next string) {
	t.Helper()
	if a.code != http.StatusOK || a.Status != "success" {
		t.Fatalf("%d: %s", a.code, clip(a.body))
	}
	var data map[string]json.RawMessage
	if err := json.Unmarshal(a.Data, &data); err != nil {
		t.Fatal(err)
	}
	if data[name] == nil {
		t.Fatalf("the data has no %s: %s", name, clip(string(a.Data)))
	}
	var raw []map[string]any
	if err := json.Unmarshal(data[name], &raw); err != nil {
		t.Fatal(err)
	}
	for _, m := range raw {
		text := func(k string) string { s, _ := m[k].(string); return s }
		lines = append(lines, wire.Line{Type: text("type"), ID: text("id"), State: text("state"), Incident: text("incident"), Result: text("result"), Revision: text("revision")})
	}
	if data["next_page_token"] != nil {
		if err := json.Unmarshal(data["next_page_token"], &next); err != nil {
			t.Fatal(err)
		}
	}
	return lines, next
}

func ids(lines []wire.Line) []string {
	var out []string
	for _, l := range lines {
		out = append(out, l.ID+l.Incident)
	}
	return out
}

// evening is a desk at which five troubles came, the first two of which ended,
// each with an incident, a decision, its answer and an outcome.
func evening(t testing.TB) *desk {
	d := newDesk(t, Config{})
	for n := range 5 {
		a := trouble(n)
		i := incidentOf(a, engine.IncidentOpen)
		d.add(a, i, engine.Decision{Incident: i.ID, Verb: engine.Act, Action: engine.Action{ID: engine.ActionID(n + 1), Kind: engine.ActNotify}, Why: "it is new", At: a.At})
		if n < 2 {
			d.add(engine.Performed{Action: engine.ActionID(n + 1), Result: engine.ResultDone, At: a.At})
			d.add(ended(a), incidentOf(a, engine.IncidentClosed), engine.Outcome{Incident: i.ID, Verdict: engine.VerdictSelfHealed, By: "measured", At: a.At})
		}
	}
	return d
}

func TestListsSelectWhatIsAskedFor(t *testing.T) {
	d := evening(t)
	h := d.pages().Handler()
	anomalies := func(n ...int) (out []string) {
		for _, n := range n {
			out = append(out, trouble(n).ID.String())
		}
		return out
	}
	incidents := func(n ...int) (out []string) {
		for _, n := range n {
			out = append(out, incidentOf(trouble(n), engine.IncidentOpen).ID.String())
		}
		return out
	}
	minute := func(n int) string { return fmt.Sprint(start/1000 + int64(n)*60) }
	for _, c := range []struct {
		list, query string
		want        []string
	}{
		{"anomalies", "", anomalies(4, 3, 2, 1, 0)},
		{"anomalies", "limit=2", anomalies(4, 3)},
		{"anomalies", "state=closed", anomalies(1, 0)},
		{"anomalies", "state=open,closed&kind=dip", anomalies(3, 0)},
		{"anomalies", "kind=dip,spike&limit=3", anomalies(4, 3, 2)},
		{"anomalies", "workload=" + url.QueryEscape(`job="job1"`), anomalies(3, 1)},
		{"anomalies", "match[]=" + url.QueryEscape(`load{n=~"1|4"}`), anomalies(4, 1)},
		{"anomalies", "match[]=other", nil},
		// What goes on overlaps every range that ends after it began.
		{"anomalies", "start=" + minute(3) + "&end=" + minute(3), anomalies(3, 2)},
		{"anomalies", "start=" + minute(3) + ".5", anomalies(4, 3, 2)},
		{"anomalies", "end=2026-02-25T06:14:20Z", anomalies(1, 0)},
		{"incidents", "state=open", incidents(4, 3, 2)},
		{"incidents", "state=acting", nil},
		{"incidents", "kind=dip&match[]=load", incidents(3, 0)},
		{"actions", "", incidents(4, 3, 2, 1, 0)},
		{"actions", "workload=" + url.QueryEscape(`job="job1"`), incidents(3, 1)},
		{"actions", "kind=dip&start=" + minute(1), incidents(3)},
		{"outcomes", "", incidents(1, 0)},
		{"outcomes", "end=" + minute(0), incidents(0)},
	} {
		lines, _ := listOf(t, ask(t, h, "GET", "/api/v1/"+c.list+"?"+c.query, ""), c.list)
		if got := ids(lines); !slices.Equal(got, c.want) {
			t.Errorf("%s?%s lists %v, want %v", c.list, c.query, got, c.want)
		}
	}
	lines, _ := listOf(t, ask(t, h, "GET", "/api/v1/actions", ""), "actions")
	if lines[4].Result != "done" || lines[0].Result != "" {
		t.Errorf("results of the actions: %q of one that was performed, %q of one that was not", lines[4].Result, lines[0].Result)
	}
}

// A line of a list is the line of replay -o jsonl.
func TestAListedLineIsTheLineOfAReplay(t *testing.T) {
	d := newDesk(t, Config{})
	a := trouble(1)
	d.add(a, ended(a))
	want, _ := wire.LineOf(2, ended(a))
	line, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got := ask(t, d.pages().Handler(), "GET", "/api/v1/anomalies", "")
	if diff := cmp.Diff(`{"anomalies":[`+string(line)+`]}`, string(got.Data)); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownAndBadParametersAreRefused(t *testing.T) {
	h := evening(t).pages().Handler()
	for _, c := range []struct{ target, says string }{
		{"anomalies?stat=open", `"stat" is unknown: want limit`},
		{"anomalies?limit=0", "from 1 to 1000"},
		{"anomalies?limit=1001", "from 1 to 1000"},
		{"anomalies?limit=ten", "from 1 to 1000"},
		{"anomalies?limit=", "limit is empty"},
		{"anomalies?limit=1&limit=2", "2 times"},
		{"anomalies?page_token=x", "not one of ours"},
		{"anomalies?page_token=0", "not one of ours"},
		{"anomalies?page_token=-1", "not one of ours"},
		{"anomalies?start=yesterday", "RFC 3339"},
		{"anomalies?start=NaN", "seconds since 1970"},
		{"anomalies?start=%2BInf", "seconds since 1970"},
		{"anomalies?start=1e300", "seconds since 1970"},
		{"anomalies?start=-5", "seconds since 1970"},
		{"anomalies?start=20&end=10", "end is before start"},
		{"anomalies?kind=flu", `"flu" is unknown`},
		{"anomalies?state=acting", "want open, closed"},
		{"incidents?state=gone", "want open, acting, watching, closed"},
		{"actions?state=open", `"state" is unknown`},
		{"outcomes?id=1", `"id" is unknown`},
		{"anomalies?match[]=%7Ba=%7D", "match[]"},
		{"anomalies?match[]=%7Ba=~%22(%22%7D", "match[]"},
		{"anomalies?match[]=%7B%7D", "match[]"},
		{"anomalies?match[]=" + strings.Repeat("a", 4097), "4097 bytes"},
		{"anomalies?workload=" + strings.Repeat("a", 17000), "bytes, the most are 16384"},
		{"anomalies?%zz", "malformed"},
		{"series?id=xyz", "16 hexadecimal digits"},
		{"series?id=1&limit=3", "no other parameter"},
		{"series?state=open", `"state" is unknown`},
		{"series?start=5", `"start" is unknown`},
	} {
		a := ask(t, h, "GET", "/api/v1/"+c.target, "")
		if a.code != http.StatusBadRequest || a.Status != "error" || a.ErrorType != "bad_data" || !strings.Contains(a.Error, c.says) {
			t.Errorf("%s: %d %s %q, want 400 bad_data with %q", clip(c.target), a.code, a.ErrorType, clip(a.Error), c.says)
		}
		if len(a.body) > 1000 {
			t.Errorf("%s: the refusal repeats %d bytes", clip(c.target), len(a.body))
		}
	}
	for target, want := range map[string]int{"series?id=0000000000000001": 404, "nothing": 404} {
		if a := ask(t, h, "GET", "/api/v1/"+target, ""); a.code != want || a.ErrorType != "not_found" {
			t.Errorf("%s: %d %s", target, a.code, a.ErrorType)
		}
	}
	if a := ask(t, h, "DELETE", "/api/v1/anomalies", ""); a.code != 405 || a.header.Get("Allow") != "GET" {
		t.Errorf("DELETE: %d, allowed %q", a.code, a.header.Get("Allow"))
	}
}

// While a reader turns the pages things come in and change. Each entry that was
// there at the start comes once.
func TestPagesStayPutWhileThingsComeIn(t *testing.T) {
	d := newDesk(t, Config{})
	const before = 2500 // more than are looked at in one go
	for n := range before {
		d.add(trouble(n))
	}
	h := d.pages().Handler()
	seen := map[string]int{}
	token, pages := "", 0
	for {
		target := "/api/v1/anomalies?limit=700"
		if token != "" {
			target += "&page_token=" + token
		}
		lines, next := listOf(t, ask(t, h, "GET", target, ""), "anomalies")
		for _, l := range lines {
			seen[l.ID]++
		}
		for n := range 10 {
			d.add(trouble(before+10*pages+n), ended(trouble(10*pages+n)))
		}
		if pages++; next == "" {
			break
		}
		token = next
	}
	if len(seen) != before || pages != 4 {
		t.Errorf("%d anomalies on %d pages, want %d on 4", len(seen), pages, before)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
}

// gRPC and HTTP are two faces of one list.
func TestBothFacesListTheSame(t *testing.T) {
	d := evening(t)
	var got []string
	token := ""
	for {
		page, err := d.service.ListAnomalies(context.Background(), &homeostatv1.ListAnomaliesRequest{PageSize: 2, PageToken: token})
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
	lines, _ := listOf(t, ask(t, d.pages().Handler(), "GET", "/api/v1/anomalies", ""), "anomalies")
	if want := ids(lines); !slices.Equal(got, want) {
		t.Errorf("gRPC lists %v, HTTP %v", got, want)
	}
	page, err := d.service.ListIncidents(context.Background(), &homeostatv1.ListIncidentsRequest{Filter: &homeostatv1.Filter{OpenOnly: true}})
	if err != nil || len(page.GetIncidents()) != 3 {
		t.Errorf("%d open incidents over gRPC, %v", len(page.GetIncidents()), err)
	}
}

// An answer is bounded in bytes whatever the labels are; what does not fit is on
// the next page.
func TestAnAnswerIsBoundedInBytes(t *testing.T) {
	d := newDesk(t, Config{})
	const many = 30
	pairs := []string{}
	for i := range 60 {
		pairs = append(pairs, fmt.Sprint("l", i), strings.Repeat("x", 4000))
	}
	for n := range many {
		d.add(trouble(n, pairs...))
	}
	h := d.pages().Handler()
	total, token := 0, ""
	for pages := 0; ; pages++ {
		target := "/api/v1/anomalies?limit=1000"
		if token != "" {
			target += "&page_token=" + token
		}
		a := ask(t, h, "GET", target, "")
		if len(a.body) > maxAnswerBytes+1000 {
			t.Fatalf("an answer of %d bytes", len(a.body))
		}
		lines, next := listOf(t, a, "anomalies")
		total += len(lines)
		if token = next; token == "" {
			break
		}
		if pages > many {
			t.Fatal("the pages never end")
		}
	}
	if total != many {
		t.Errorf("%d anomalies on all pages, want %d", total, many)
	}
}

// Labels are what strangers chose. They come back as they were, and nothing in
// them is markup or ends the string that they are in.
func TestHostileLabelsAreData(t *testing.T) {
	d := newDesk(t, Config{})
	hostile := "</script><script>alert(1)</script>\"\\\n\x00\x1b[31m\u2028"
	d.add(trouble(1, "evil", hostile, "bad", "\xff\xfe"))
	a := ask(t, d.pages().Handler(), "GET", "/api/v1/anomalies", "")
	var data struct {
		Anomalies []struct {
			Series map[string]string `json:"series"`
		} `json:"anomalies"`
	}
	if err := json.Unmarshal(a.Data, &data); err != nil {
		t.Fatal(err)
	}
	if got := data.Anomalies[0].Series["evil"]; got != hostile {
		t.Errorf("%q came back as %q", hostile, got)
	}
	for _, raw := range []string{"<", ">", "\x1b", "\x00", "\u2028", "\xff"} {
		if strings.Contains(strings.TrimSpace(a.body), raw) {
			t.Errorf("the answer holds %q as it is", raw)
		}
	}
}

// The baselines are listed, selected by what Prometheus calls a selector, and
// found by their id.
func TestSeriesAreListedAndFound(t *testing.T) {
	d := newDesk(t, Config{})
	driver := loop.NewDriver(loop.Config{}, d.engine, &loop.Numbers{})
	defer driver.Close()
	batch := &engine.Batch{}
	for n := range 50 {
		s := engine.Naming{}.NewSeries(labels.FromStrings("__name__", "load", "job", fmt.Sprint("job", n%5), "n", fmt.Sprint(n)), engine.TypeGauge)
		batch.Samples = append(batch.Samples, engine.Sample{Series: s, Partition: s.Partition, At: start, Value: float64(n)})
	}
	if _, err := driver.Take(engine.Tick{Now: start}); err != nil {
		t.Fatal(err)
	}
	if _, err := driver.Take(batch); err != nil {
		t.Fatal(err)
	}
	h := d.pages().Handler()
	list := func(query string) (out []wire.LineBaseline) {
		token := ""
		for {
			target := "/api/v1/series?" + query
			if token != "" {
				target += "&page_token=" + token
			}
			a := ask(t, h, "GET", target, "")
			var data struct {
				Series []wire.LineBaseline `json:"series"`
				Next   string              `json:"next_page_token"`
			}
			if err := json.Unmarshal(a.Data, &data); err != nil || a.code != http.StatusOK {
				t.Fatalf("%d %s: %v", a.code, clip(a.body), err)
			}
			out = append(out, data.Series...)
			if token = data.Next; token == "" {
				return out
			}
		}
	}
	all := list("limit=7")
	distinct := map[string]bool{}
	for _, b := range all {
		distinct[b.SeriesID] = true
	}
	if len(all) != 50 || len(distinct) != 50 {
		t.Errorf("%d lines of %d series, want 50", len(all), len(distinct))
	}
	if got := list("limit=1000&match[]=" + url.QueryEscape(`load{job="job3"}`)); len(got) != 10 || got[0].Series["job"] != "job3" {
		t.Errorf("%d series of a job, want 10", len(got))
	}
	if got := list("workload=" + url.QueryEscape(`job="job4"`)); len(got) != 10 {
		t.Errorf("%d series of a workload, want 10", len(got))
	}
	one := list("id=" + all[3].SeriesID)
	if diff := cmp.Diff([]wire.LineBaseline{all[3]}, one); diff != "" {
		t.Error(diff)
	}
}

func TestLabelsAndUndosOverHTTP(t *testing.T) {
	d := newDesk(t, Config{})
	a := trouble(1)
	d.add(a)
	h := d.pages().Handler()
	post := func(path, body string, headers ...string) answer {
		return ask(t, h, "POST", path, body, append([]string{"Content-Type", "application/json"}, headers...)...)
	}
	label := fmt.Sprintf(`{"anomaly":%q,"judgement":"false-alarm","by":"ann","text":"a test","request_id":"r1"}`, a.ID)
	for range 2 { // the second is the same label
		got := post("/api/v1/labels", label)
		if got.code != 200 || !strings.Contains(string(got.Data), `"judgement":"false-alarm","by":"ann"`) {
			t.Fatalf("labelling: %d %s", got.code, got.body)
		}
	}
	if got := post("/api/v1/undo", `{"label":"r1","by":"ann"}`); got.code != 200 || !strings.Contains(string(got.Data), `"label":"r1"`) {
		t.Fatalf("taking back: %d %s", got.code, got.body)
	}
	if n := d.log.Last(); n != 3 {
		t.Errorf("%d records, want the anomaly, one label and one undo", n)
	}
	for _, c := range []struct {
		path, body string
		code       int
		kind       string
	}{
		{"/api/v1/labels", strings.Replace(label, "false-alarm", "true", 1), 409, "conflict"},
		{"/api/v1/labels", strings.Replace(label, "false-alarm", "maybe", 1), 400, "bad_data"},
		{"/api/v1/labels", `{"anomaly":"00000000000000ff","judgement":"true"}`, 404, "not_found"},
		{"/api/v1/labels", `{"anomaly":"zz","judgement":"true"}`, 400, "bad_data"},
		{"/api/v1/labels", `{"anomoly":"1"}`, 400, "bad_data"},
		{"/api/v1/labels", label + label, 400, "bad_data"},
		{"/api/v1/labels", `[]`, 400, "bad_data"},
		{"/api/v1/labels", ``, 400, "bad_data"},
		{"/api/v1/labels", `{"by":"` + strings.Repeat("x", maxBodyBytes) + `"}`, 400, "bad_data"},
		{"/api/v1/labels?by=me", label, 400, "bad_data"},
		{"/api/v1/undo", `{"label":"none"}`, 404, "not_found"},
	} {
		if got := post(c.path, c.body); got.code != c.code || got.ErrorType != c.kind {
			t.Errorf("%s %s: %d %s, want %d %s", c.path, clip(c.body), got.code, got.ErrorType, c.code, c.kind)
		}
	}
	// A page of another origin can't have a browser label.
	if got := ask(t, h, "POST", "/api/v1/labels", label, "Content-Type", "text/plain"); got.code != 400 {
		t.Errorf("a form's body was taken: %d", got.code)
	}
	if got := post("/api/v1/labels", label, "Sec-Fetch-Site", "cross-site"); got.code != 403 {
		t.Errorf("a request from another origin was taken: %d", got.code)
	}
	d.busy = loop.ErrBusy
	got := post("/api/v1/labels", strings.Replace(label, "r1", "r2", 1))
	if got.code != 503 || got.ErrorType != "unavailable" || got.header.Get("Retry-After") == "" {
		t.Errorf("while the queue is full: %d %s %v", got.code, got.ErrorType, got.header)
	}
}

// While the server warms up the lists answer from what the log said, and what
// asks the loop is told to come again.
func TestWhatAsksTheLoopWaitsUntilItRuns(t *testing.T) {
	p := &Pages{Service: evening(t).service, Registry: prometheus.NewRegistry()}
	h := p.Handler()
	for path, method := range map[string]string{"/api/v1/series": "GET", "/api/v1/labels": "POST", "/api/v1/undo": "POST"} {
		if a := ask(t, h, method, path, ""); a.code != 503 || a.ErrorType != "unavailable" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", path, a.code, a.ErrorType)
		}
	}
	if a := ask(t, h, "GET", "/api/v1/anomalies", ""); a.code != 200 {
		t.Errorf("the lists wait too: %d", a.code)
	}
}

func TestReloadOverHTTPIsOffUnlessAsked(t *testing.T) {
	d := newDesk(t, Config{})
	p := d.pages()
	if a := ask(t, p.Handler(), "POST", "/-/reload", ""); a.code != 403 || !strings.Contains(a.Error, "--web.enable-lifecycle") {
		t.Errorf("without the flag: %d %s", a.code, a.body)
	}
	var failure error
	p.Reload = func() ([]string, error) { return []string{"detection.grace waits"}, failure }
	if a := ask(t, p.Handler(), "POST", "/-/reload", ""); a.code != 200 || !slices.Equal(a.Warnings, []string{"detection.grace waits"}) {
		t.Errorf("with it: %d %s", a.code, a.body)
	}
	if a := ask(t, p.Handler(), "GET", "/-/reload", ""); a.code != 405 {
		t.Errorf("GET: %d", a.code)
	}
	failure = fmt.Errorf("line 3: no")
	if a := ask(t, p.Handler(), "POST", "/-/reload", ""); a.code != 500 || a.Error != "line 3: no" {
		t.Errorf("a failed reload: %d %s", a.code, a.body)
	}
}

// The board forgets the oldest of everything that it lists.
func TestTheBoardIsBounded(t *testing.T) {
	d := newDesk(t, Config{})
	const most = 50
	if d.board.most != maxStories {
		t.Errorf("a board keeps %d, want %d", d.board.most, maxStories)
	}
	d.board.most = most
	a := trouble(1)
	var records []engine.Record
	for n := range most + 10 {
		b := *a
		b.ID = engine.AnomalyID(n + 1)
		i := incidentOf(&b, engine.IncidentOpen)
		records = append(records, &b, i,
			engine.Decision{Incident: i.ID, Verb: engine.Act, Action: engine.Action{ID: engine.ActionID(n + 1)}}, engine.Outcome{Incident: i.ID})
	}
	d.board.Deliver(1, records)
	b := d.board
	for what, n := range map[string]int{
		"anomalies": len(b.order), "their index": len(b.stories), "incidents": len(b.incOrder), "their index too": len(b.incidents),
		"actions": len(b.acts), "answers": len(b.byAction), "outcomes": len(b.verdicts),
	} {
		if n != most {
			t.Errorf("%s: %d are kept, want %d", what, n, most)
		}
	}
	if b.stories[10] != nil || b.stories[11] == nil {
		t.Error("it is not the oldest that went")
	}
}
