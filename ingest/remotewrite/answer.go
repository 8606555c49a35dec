package remotewrite

import (
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/homeostat/homeostat/engine"
)

// written sets the headers by which a 2.0 sender knows what was taken.
func written(w http.ResponseWriter, samples, histograms, exemplars int) {
	h := w.Header()
	h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(samples))
	h.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(histograms))
	h.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(exemplars))
}

// refuseHeaders answers a request whose body is not looked at.
func (h *terms) refuseHeaders(w http.ResponseWriter, r *http.Request, why Refusal) {
	h.mu.Lock()
	h.stats.Refused[why]++
	h.mu.Unlock()
	if why == RefusedMethod {
		w.Header().Set("Allow", http.MethodPost)
	}
	if p, ok := protocolOfType(r.Header.Get("Content-Type")); ok && p == V2 {
		written(w, 0, 0, 0)
	}
	h.fail(w, r, why.Status(), refuse(why, "").Error())
}

// refuse answers a request of which nothing was taken.
func (h *terms) refuse(w http.ResponseWriter, r *http.Request, p Protocol, q *request, e *refused) {
	h.mu.Lock()
	h.stats.Refused[e.why]++
	c := &h.stats.Protocols[p]
	c.Requests++
	c.CompressedBytes += uint64(len(q.raw))
	c.DecodedBytes += uint64(len(q.body))
	if e.why == RefusedBusy || e.why == RefusedStopped {
		c.Deferred += uint64(q.tally.floats + q.tally.histograms)
	}
	h.mu.Unlock()
	if e.why.Status() == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(h.retryAfter()))
	}
	if p == V2 {
		written(w, 0, 0, 0)
	}
	h.fail(w, r, e.why.Status(), e.Error())
}

// answer tells the sender what became of a request that was taken.
func (h *terms) answer(w http.ResponseWriter, r *http.Request, p Protocol, q *request, receipt *engine.Receipt) {
	t := &q.tally
	refused := receipt.Rejected()
	partial := refused > 0 || !t.complete()
	h.mu.Lock()
	c := &h.stats.Protocols[p]
	c.Requests++
	c.CompressedBytes += uint64(len(q.raw))
	c.DecodedBytes += uint64(len(q.body))
	c.add(q, receipt)
	if partial {
		h.stats.Partial++
	}
	h.mu.Unlock()
	if p == V2 {
		histograms := t.histograms - t.rejectedHistograms - t.badHistograms - receipt.RejectedHistograms
		all := t.floats + t.histograms - t.rejectedSum() - t.badHistograms - refused
		written(w, all-histograms, histograms, t.exemplars-t.badExemplars)
	}
	if !partial {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h.fail(w, r, http.StatusBadRequest, q.explain(receipt))
}

// explain says in one line how many were not written and why.
func (q *request) explain(receipt *engine.Receipt) string {
	t := &q.tally
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d samples not written", t.rejectedSum()+t.badHistograms+receipt.Rejected(), t.floats+t.histograms)
	sep := ": "
	item := func(n int, what string) {
		if n > 0 {
			fmt.Fprintf(&b, "%s%d %s", sep, n, what)
			sep = ", "
		}
	}
	for i, n := range receipt.Reasons {
		reason := engine.Reason(i)
		if reason == engine.ReasonHistogram {
			n += t.badHistograms
		}
		if reason.Rejects() {
			item(n, reason.String())
		}
	}
	for i := range t.rejected {
		if series := t.rejectedSeries[i]; series > 0 {
			fmt.Fprintf(&b, "%s%d %s in %d series", sep, t.rejected[i], Reject(i), series)
			sep = ", "
		}
	}
	item(t.badExemplars, "exemplars too")
	if q.example != "" {
		b.WriteString("; first: " + q.example)
	}
	return b.String()
}

// fail answers with a text and writes at most one log line. 503 is no fault of
// the sender, and is counted rather than logged.
func (h *terms) fail(w http.ResponseWriter, r *http.Request, status int, text string) {
	if status != http.StatusServiceUnavailable {
		if h.logs.Allow() {
			h.cfg.Logger.LogAttrs(r.Context(), slog.LevelWarn, "remote write request not taken whole",
				slog.Int("status", status), slog.String("sender", h.sender(r)), slog.String("reason", text))
		} else {
			h.mu.Lock()
			h.stats.LogsDropped++
			h.mu.Unlock()
		}
	}
	http.Error(w, text, status)
}
