package remotewrite

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
)

// learn makes the series of the entries that the cache lacks, and looks again
// at the declared type of those that it has.
func (h *terms) learn(q *request) *refused {
	for _, k := range q.missing {
		e := &q.entries[k]
		if e.known != nil {
			h.retype(e)
			continue
		}
		if r := q.readLabels(e); r != nil {
			return r
		}
		if e.reject == RejectNone {
			e.reject = h.series(q, e)
		}
	}
	return nil
}

// retype replaces the entry's series when its declared type has changed.
func (h *terms) retype(e *entry) {
	if e.known == ownOutput {
		return
	}
	t := h.typeOf(e, e.known.Labels.Get(labels.MetricName))
	if t == e.known.Type || t == engine.TypeUnknown {
		return
	}
	s := *e.known
	s.Type = t
	e.known = &s
}

// typeOf is what the series' own metadata declares (2.0) or what was declared
// for its name (1.0).
func (h *terms) typeOf(e *entry, name string) engine.Type {
	t := e.declared
	switch {
	case t == engine.TypeUnknown:
		return h.types.of(name)
	case t != engine.TypeGauge && strings.HasSuffix(name, "_created"):
		return engine.TypeGauge // a time, whatever its family is
	}
	return t
}

// readLabels collects the entry's labels in q.pairs. The strings point into the
// body.
func (q *request) readLabels(e *entry) *refused {
	q.pairs = q.pairs[:0]
	if len(q.symbols) > 0 {
		refs := q.refs[e.from:e.to]
		for i := 0; i+1 < len(refs); i += 2 {
			name, value := &q.symbols[refs[i]], &q.symbols[refs[i+1]]
			q.pairs = append(q.pairs, labels.Label{Name: view(q.body[name.from:name.to]), Value: view(q.body[value.from:value.to])})
		}
		return nil
	}
	m := q.body[e.from:e.to]
	if e.spilled {
		m = q.spill[e.from:e.to]
	}
	for i := 0; i < len(m); {
		_, _, next := field(m, i)
		from, to := extent(m, next)
		name, value, n := label(m[from:to])
		if n < 0 {
			return malformed(n)
		}
		if q.pairs = append(q.pairs, labels.Label{Name: view(name), Value: view(value)}); len(q.pairs) > maxPairs {
			return nil // far beyond any limit
		}
		i = to
	}
	return nil
}

// maxPairs bounds the labels collected of one series; Validate keeps
// Limits.Labels below it.
const maxPairs = 10_000

// view is the bytes as a string, without copying: it lives as long as they do.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// series checks q.pairs and makes the entry's series of them.
func (h *terms) series(q *request, e *entry) Reject {
	if len(q.pairs) > h.cfg.Limits.Labels {
		q.instead(fmt.Sprintf("a series has more than %d labels", h.cfg.Limits.Labels))
		return RejectLabels
	}
	byName := func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(q.pairs, byName) {
		q.tally.unsorted++
		slices.SortStableFunc(q.pairs, byName)
	}
	name := ""
	for i, l := range q.pairs {
		if r, text := h.checkLabel(l); r != RejectNone {
			q.instead(text)
			return r
		}
		if i > 0 && q.pairs[i-1].Name == l.Name {
			q.instead("label " + quote(l.Name) + " is there twice")
			return RejectDuplicate
		}
		if l.Name == labels.MetricName {
			name = l.Value
		}
	}
	if name == "" {
		q.instead("a series has no metric name")
		return RejectNoName
	}
	if strings.HasPrefix(name, h.cfg.OwnPrefix) {
		e.known, e.fate = ownOutput, fateOwn
		return RejectNone
	}
	e.sender = h.replicas.of(q.pairs)
	q.builder.Reset()
	for _, l := range q.pairs {
		// A label without a value is as good as absent.
		if l.Value != "" && (e.sender == nil || l.Name != h.replicas.cfg.ReplicaLabel) {
			q.builder.Add(l.Name, l.Value)
		}
	}
	e.known = h.naming.NewSeries(q.builder.Labels(), h.typeOf(e, name))
	e.partition, e.fresh = e.known.Partition, true
	return RejectNone
}

// checkLabel says what is wrong with one label.
func (h *terms) checkLabel(l labels.Label) (Reject, string) {
	limits := &h.cfg.Limits
	isName := l.Name == labels.MetricName
	switch {
	case l.Name == "":
		return RejectLabelName, "a label has no name"
	case len(l.Name) > limits.NameBytes:
		return RejectNameBytes, fmt.Sprintf("label name %s has %d bytes, the limit is %d", quote(l.Name), len(l.Name), limits.NameBytes)
	case isName && len(l.Value) > limits.NameBytes:
		return RejectNameBytes, fmt.Sprintf("metric name %s has %d bytes, the limit is %d", quote(l.Value), len(l.Value), limits.NameBytes)
	case len(l.Value) > limits.ValueBytes:
		return RejectValueBytes, fmt.Sprintf("the value of label %s has %d bytes, the limit is %d", quote(l.Name), len(l.Value), limits.ValueBytes)
	case !utf8.ValidString(l.Name) || !utf8.ValidString(l.Value):
		return RejectUTF8, "label " + quote(l.Name) + "=" + quote(l.Value) + " is not UTF-8"
	}
	return RejectNone, ""
}

// instead remembers the first thing that went wrong, to tell the sender.
func (q *request) instead(text string) {
	if q.example == "" {
		q.example = text
	}
}

// quote makes hostile text fit for a log line and an error body: ASCII, no
// control characters, short. The result shares nothing with s.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
