package remotewrite

import "github.com/homeostat/homeostat/engine"

// Counts are the counters of one protocol. A received sample is one sample or
// histogram of a request that was not refused whole or put off.
type Counts struct {
	Requests        uint64 // with headers of this protocol
	CompressedBytes uint64
	DecodedBytes    uint64
	Series          uint64 // entries, known or new
	Received        uint64
	Scored          uint64
	Late            uint64 // older than the open epoch, counted otherwise too
	Derived         uint64
	Reasons         [engine.NumReasons]uint64 // absorbed or rejected, by the engine or here
	Rejected        [NumRejects]uint64        // samples refused with their series
	RejectedSeries  [NumRejects]uint64
	Replica         uint64 // absorbed: another replica is elected
	Deferred        uint64 // samples put off by a 503; they come again
	Histograms      uint64 // among those received
	Exemplars       uint64 // received, whatever became of them
	BadExemplars    uint64
	Metadata        uint64
	StartTimes      uint64
	UnsortedSeries  uint64 // new series whose labels had to be sorted
}

// Absorbed is the number of samples that did their work without a score.
func (c *Counts) Absorbed() uint64 {
	n := c.Replica
	for r, k := range c.Reasons {
		if !engine.Reason(r).Rejects() {
			n += k
		}
	}
	return n
}

// Refused is the number of samples that were not written.
func (c *Counts) Refused() uint64 {
	n := uint64(0)
	for r, k := range c.Reasons {
		if engine.Reason(r).Rejects() {
			n += k
		}
	}
	for _, k := range c.Rejected {
		n += k
	}
	return n
}

// Balanced says whether every sample received is accounted for.
func (c *Counts) Balanced() bool { return c.Received == c.Scored+c.Absorbed()+c.Refused() }

// Stats is a snapshot of all counters. Every index is bounded, so that each may
// be a metric's label.
type Stats struct {
	Protocols [NumProtocols]Counts // by Protocol
	Refused   [NumRefusals]uint64  // requests refused whole, by Refusal
	Partial   uint64               // requests answered 400 after the valid part was taken

	CachedSeries  int64
	CachedBytes   int64
	CacheMisses   uint64 // series that had to be parsed
	CacheEvicted  uint64
	DeclaredNames int    // names with a type declared by 1.0 metadata
	DroppedNames  uint64 // beyond Config.MetadataNames
	InFlightBytes int64
	Failovers     uint64 // another replica was elected
	UntoldSeries  uint64 // beyond the bounds on clusters and replicas: taken from everyone
	LogsDropped   uint64 // log lines beyond Config.LogsPerMinute
}

// Stats is a consistent snapshot: between requests every protocol is balanced.
func (h *Handler) Stats() Stats {
	h.mu.Lock()
	s := h.stats
	h.mu.Unlock()
	t := h.terms.Load()
	s.CachedSeries, s.CachedBytes = t.cache.series.Load(), t.cache.bytes.Load()
	s.CacheMisses, s.CacheEvicted = t.cache.missed.Load(), t.cache.evicted.Load()
	s.DeclaredNames, s.DroppedNames = h.types.size()
	s.InFlightBytes = h.inFlight.Load()
	t.replicas.mu.Lock()
	s.Failovers, s.UntoldSeries = t.replicas.switched, t.replicas.untold
	t.replicas.mu.Unlock()
	return s
}

// add counts a request that was taken, with the engine's receipt.
func (c *Counts) add(q *request, r *engine.Receipt) {
	t := &q.tally
	c.Series += uint64(len(q.entries))
	c.Received += uint64(t.floats + t.histograms)
	c.Scored += uint64(r.Scored)
	c.Late += uint64(r.Late)
	c.Derived += uint64(r.Derived)
	for i, n := range r.Reasons {
		c.Reasons[i] += uint64(n)
	}
	c.Reasons[engine.ReasonOwnOutput] += uint64(t.own)
	c.Reasons[engine.ReasonHistogram] += uint64(t.badHistograms)
	for i := range t.rejected {
		c.Rejected[i] += uint64(t.rejected[i])
		c.RejectedSeries[i] += uint64(t.rejectedSeries[i])
	}
	c.Replica += uint64(t.replica)
	c.Histograms += uint64(t.histograms)
	c.Exemplars += uint64(t.exemplars)
	c.BadExemplars += uint64(t.badExemplars)
	c.Metadata += uint64(t.metadata)
	c.StartTimes += uint64(t.startTimes)
	c.UnsortedSeries += uint64(t.unsorted)
}
