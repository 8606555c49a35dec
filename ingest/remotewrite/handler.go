package remotewrite

import (
	"context"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"
	"golang.org/x/time/rate"

	"github.com/homeostat/homeostat/engine"
)

// Submit takes a batch in and waits until it is scored and durable. When it
// returns without an error, or with one that Config.Busy knows, the batch's
// samples are the handler's again; its histograms may be kept.
type Submit func(ctx context.Context, b *engine.Batch) (engine.Receipt, error)

// Handler is the HTTP handler of /api/v1/write.
type Handler struct {
	naming   engine.Naming
	submit   Submit
	types    *declarations
	pool     sync.Pool
	inFlight atomic.Int64
	logs     *rate.Limiter
	terms    atomic.Pointer[terms]
	changing sync.Mutex // held by Reconfigure

	mu    sync.Mutex
	stats Stats
}

// terms are the configuration in force and what was made by it. A request keeps
// to those that it began with.
type terms struct {
	*Handler
	cfg      Config
	cache    *cache
	replicas *replicas
}

// New makes a handler that gives what it receives to submit. naming finds the
// workload of a new series and is the engine's.
func New(cfg Config, naming engine.Naming, submit Submit) (*Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("remote write: %w", err)
	}
	if err := naming.Validate(); err != nil {
		return nil, fmt.Errorf("remote write: %w", err)
	}
	cfg = cfg.withDefaults()
	h := &Handler{
		naming: naming,
		submit: submit,
		types:  newDeclarations(cfg.MetadataNames, cfg.Limits.NameBytes),
		logs:   rate.NewLimiter(rate.Limit(float64(cfg.LogsPerMinute)/60), cfg.LogsPerMinute),
	}
	h.pool.New = func() any { return newRequest() }
	h.terms.Store(&terms{Handler: h, cfg: cfg, cache: newCache(cfg.CacheBytes, cfg.CacheAge), replicas: newReplicas(cfg.Replicas)})
	return h, nil
}

// Reconfigure puts a sender header, limits and replica settings in force for the
// requests that come from now on; the other fields of the configuration stay as
// they were. An error leaves everything as it was.
//
// The known series are forgotten, because what the old terms let in need not
// pass the new ones, and so are the elected replicas when their settings change.
func (h *Handler) Reconfigure(sender string, limits Limits, elect Replicas) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	was := h.terms.Load()
	cfg := was.cfg
	cfg.SenderHeader, cfg.Limits, cfg.Replicas = sender, limits, elect
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("remote write: %w", err)
	}
	cfg = cfg.withDefaults()
	now := &terms{Handler: h, cfg: cfg, cache: was.cache, replicas: was.replicas}
	if cfg.Limits != was.cfg.Limits || cfg.Replicas != was.cfg.Replicas {
		now.cache = newCache(cfg.CacheBytes, cfg.CacheAge)
		now.cache.missed.Store(was.cache.missed.Load())
		now.cache.evicted.Store(was.cache.evicted.Load())
	}
	if cfg.Replicas != was.cfg.Replicas {
		now.replicas = newReplicas(cfg.Replicas)
		was.replicas.mu.Lock()
		now.replicas.switched, now.replicas.untold = was.replicas.switched, was.replicas.untold
		was.replicas.mu.Unlock()
	}
	h.terms.Store(now)
	return nil
}

// ServeHTTP takes one request in.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := h.terms.Load()
	p, why := protocolOf(r)
	if why != RefusedNone {
		t.refuseHeaders(w, r, why)
		return
	}
	q := h.pool.Get().(*request)
	again := t.serve(w, r, p, q)
	q.reset()
	if again && q.worthKeeping() {
		h.pool.Put(q)
	}
}

// serve takes a request with good headers in. It reports whether q may be used
// again: a batch that was submitted and never answered may still be read.
func (h *terms) serve(w http.ResponseWriter, r *http.Request, p Protocol, q *request) (again bool) {
	held, refusal := h.receive(w, r, q)
	defer func() { h.inFlight.Add(-held) }()
	if refusal == nil {
		refusal = h.decode(p, q)
	}
	if refusal != nil {
		h.refuse(w, r, p, q, refusal)
		return true
	}
	receipt := engine.Receipt{}
	if q.batch.Sender = h.sender(r); len(q.batch.Samples)+len(q.batch.Histograms) > 0 {
		var err error
		// A client that hangs up shall not leave a batch behind whose end
		// nobody counts.
		receipt, err = h.submit(context.WithoutCancel(r.Context()), &q.batch)
		if err != nil {
			busy := h.cfg.Busy(err)
			refusal := refuse(RefusedStopped, "")
			if busy {
				refusal = refuse(RefusedBusy, "")
			}
			h.refuse(w, r, p, q, refusal)
			return busy
		}
		if len(q.batch.Samples) == 0 {
			receipt.RejectedHistograms = receipt.Rejected()
		}
	}
	h.answer(w, r, p, q, &receipt)
	return true
}

// protocolOf looks at everything that can be told without the body.
func protocolOf(r *http.Request) (Protocol, Refusal) {
	if r.Method != http.MethodPost {
		return V1, RefusedMethod
	}
	p, ok := protocolOfType(r.Header.Get("Content-Type"))
	if !ok {
		return V1, RefusedContentType
	}
	// Values returns several lines apart; more than one encoding is refused.
	if enc := r.Header.Values("Content-Encoding"); len(enc) > 1 || len(enc) == 1 && enc[0] != "" && !strings.EqualFold(enc[0], "snappy") {
		return p, RefusedContentEncoding
	}
	return p, RefusedNone
}

func protocolOfType(contentType string) (p Protocol, ok bool) {
	switch contentType {
	case "", "application/x-protobuf": // no header is 1.0, as with Prometheus
		return V1, true
	case "application/x-protobuf;proto=io.prometheus.write.v2.Request":
		return V2, true
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/x-protobuf" {
		return V1, false
	}
	switch params["proto"] {
	case "", "prometheus.WriteRequest":
		return V1, true
	case "io.prometheus.write.v2.Request":
		return V2, true
	}
	return V1, false
}

// decode decompresses q.raw and makes the batch of it.
func (h *terms) decode(p Protocol, q *request) *refused {
	body, err := s2.Decode(q.body[:0], q.raw)
	if err != nil {
		return refuse(RefusedSnappy, "")
	}
	q.body = body
	return h.interpret(p, q)
}

// interpret walks over q.body, finds the series and makes the batch. What it
// refuses leaves nothing behind.
func (h *terms) interpret(p Protocol, q *request) *refused {
	now := h.cfg.Now()
	generation := h.cache.generation(now)
	h.cache.sweep(generation)
	var r *refused
	if p == V1 {
		r = q.decodeV1(&h.cfg.Limits, h.types)
	} else {
		r = q.decodeV2(&h.cfg.Limits)
	}
	if r != nil {
		return r
	}
	declared := uint16(h.types.generation.Load())
	h.cache.lookup(q, generation, declared)
	if len(q.missing) > 0 {
		if r := h.learn(q); r != nil {
			return r
		}
		h.cache.store(q, generation, declared)
	}
	h.replicas.elect(q, now)
	q.assemble()
	return nil
}

// assemble gives every sample its series, leaves out what is not taken, and
// makes the batch.
func (q *request) assemble() {
	var sample, histogram uint32 // where the entry begins
	samples, histograms := 0, 0  // how many stay
	for k := range q.entries {
		e := &q.entries[k]
		if e.reject != RejectNone {
			e.fate = fateReject
		}
		mine, shapes := q.samples[sample:e.samples], q.histograms[histogram:e.histograms]
		moved := samples != int(sample) || histograms != int(histogram)
		sample, histogram = e.samples, e.histograms
		if e.fate != fateTaken {
			q.leaveOut(e, len(mine), len(shapes))
			continue
		}
		if moved {
			copy(q.samples[samples:], mine)
			copy(q.histograms[histograms:], shapes)
			mine, shapes = q.samples[samples:samples+len(mine)], q.histograms[histograms:histograms+len(shapes)]
		}
		for i := range mine {
			mine[i].Series, mine[i].Partition = e.known, e.partition
		}
		for i := range shapes {
			shapes[i].Series = e.known
		}
		samples += len(mine)
		histograms += len(shapes)
	}
	q.batch.Samples, q.batch.Histograms = q.samples[:samples], q.histograms[:histograms]
}

// leaveOut counts an entry whose samples do not reach the engine.
func (q *request) leaveOut(e *entry, samples, histograms int) {
	t := &q.tally
	n := samples + histograms
	switch e.fate {
	case fateOwn:
		t.own += n
	case fateReplica:
		t.replica += n
	case fateReject:
		t.rejected[e.reject] += n
		t.rejectedSeries[e.reject]++
		t.rejectedHistograms += histograms + int(e.stale)
		t.badExemplars += int(e.exemplars)
	}
}

// sender is who sends: the configured header, else who the request was
// authenticated as, else the user of basic authentication, else the remote host.
func (h *terms) sender(r *http.Request) string {
	if h.cfg.SenderHeader != "" {
		if name := r.Header.Get(h.cfg.SenderHeader); name != "" {
			return senderName(name)
		}
	}
	if name := h.cfg.Identity(r); name != "" {
		return senderName(name)
	}
	if user, _, ok := r.BasicAuth(); ok && user != "" {
		return senderName(user)
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return senderName(r.RemoteAddr)
}

// senderName makes text from outside a name: short, without what could break a
// line or a terminal.
func senderName(s string) string {
	const most = 128
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '_'
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// retryAfter is what a 503 asks for, in whole seconds, at least one.
func (h *terms) retryAfter() int {
	return max(1, int((h.cfg.RetryAfter+time.Second-1)/time.Second))
}
