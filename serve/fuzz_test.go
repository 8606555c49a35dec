package serve

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzRequests sends what strangers may to the lists and to the labels: nothing
// panics, and what comes back is an envelope that is well-formed and bounded.
func FuzzRequests(f *testing.F) {
	for _, seed := range [][3]string{
		{"anomalies", "limit=2&state=open&kind=dip&start=2026-03-02T00:00:00Z&end=1e10", ""},
		{"incidents", `match[]={n=~"1|2"}&page_token=9`, ""},
		{"series", "match[]=load&limit=3", ""},
		{"series", "id=00000000000003e9", ""},
		{"actions", "workload=" + url.QueryEscape(`job="job1"`), ""},
		{"outcomes", "start=NaN&start=1", ""},
		{"labels", "", `{"anomaly":"00000000000003e9","judgement":"true"}`},
		{"undo", "", `{"label":"x"}`},
		{"labels", "", `{"anomaly":"\u0000<","judgement":"\ud800"}{`},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	p := evening(f).pages()
	p.Write = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeError(w, http.StatusBadRequest, "bad_data", "no") })
	h := p.Handler()
	f.Fuzz(func(t *testing.T, list, query, body string) {
		method := http.MethodGet
		if list == "labels" || list == "undo" {
			method = http.MethodPost
		}
		r := httptest.NewRequest(method, "/", strings.NewReader(body))
		r.URL = &url.URL{Path: "/api/v1/" + strings.Trim(url.PathEscape(list), "/."), RawQuery: query}
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var e envelope
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil && w.Code/100 != 3 {
			t.Fatalf("%d %q: %v", w.Code, w.Body, err)
		}
		if (e.Status == "success") != (w.Code == http.StatusOK) || w.Code >= 500 {
			t.Errorf("%d says %q", w.Code, e.Status)
		}
		if w.Code != http.StatusOK && w.Body.Len() > 64<<10 {
			t.Errorf("a refusal of %d bytes", w.Body.Len())
		}
	})
}
