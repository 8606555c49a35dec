package engine

// Event is one of the things that go into the engine: *Batch, Tick, Label,
// Undo and Performed. All but batches are journaled by whoever drives the
// engine before their effects are delivered.
type Event interface{ event() }

// Sample is one value received. At is milliseconds since the epoch.
type Sample struct {
	Series    *Series
	At        int64
	Value     float64
	Partition uint8 // Series.Partition, kept here so that a shard need not follow the pointer
}

// Bucket is one bucket of a histogram sample: Count observations, not
// cumulative over buckets, in (Lower, Upper].
type Bucket struct {
	Lower, Upper float64
	Count        float64
}

// HistogramSample is one native histogram received. Count, Sum and the buckets
// are cumulative over time, as a counter is; Gauge says that they are not.
// Buckets are sorted by Upper, without empty ones.
type HistogramSample struct {
	Series     *Series
	At         int64
	Count, Sum float64
	Buckets    []Bucket
	Gauge      bool
}

// Batch is one request of a writer, whole.
type Batch struct {
	Sender     string // who sent it; a sender that stops is one data fault
	Samples    []Sample
	Histograms []HistogramSample
	// Quiet batches are history that warms the baselines: they are scored and
	// learnt, and open no anomaly.
	Quiet bool
}

// Tick says that the time is Now, in milliseconds. It closes every epoch that
// ended at least the grace before.
type Tick struct{ Now int64 }

// Performed is the answer of an actuator.
type Performed struct {
	Action ActionID
	Result Result
	Detail string
	At     int64
}

func (*Batch) event()    {}
func (Tick) event()      {}
func (Label) event()     {}
func (Undo) event()      {}
func (Performed) event() {}

// Reason says why a sample was absorbed or rejected.
type Reason uint8

// The reasons. Those up to ReasonRepeat absorb: the sample did its work without
// a score of its own. The others reject.
const (
	ReasonNone        Reason = iota
	ReasonBucket             // a bucket, count or sum that feeds a derived measurement
	ReasonRatio              // a counter of failures beside one of successes: it feeds their error ratio
	ReasonFirst              // the first value of a counter or histogram, or the first after a gap
	ReasonReset              // the value at which a counter was reset
	ReasonStale              // a stale marker: it ends the series and is no value
	ReasonLateJoin           // it came after the derived measurement of its time was closed
	ReasonNotFinite          // NaN other than the stale marker, or an infinity: no value, yet no error
	ReasonOwnOutput          // a series of homeostat itself, which would feed back
	ReasonRepeat             // the same time and value as the last one
	ReasonDuplicate          // the same time as the last one, another value
	ReasonOutOfOrder         // older than the last one
	ReasonTooNew             // more than Config.MaxAhead ahead of the tick
	ReasonTooOld             // before 1970
	ReasonSeriesLimit        // a new series beyond Config.MaxSeries
	ReasonCollision          // another series has this ID
	ReasonHistogram          // a malformed histogram
	NumReasons
)

var reasonNames = [NumReasons]string{
	"none", "bucket", "ratio", "first", "reset", "stale", "late_join", "not_finite", "own_output", "repeat",
	"duplicate", "out_of_order", "too_new", "too_old", "series_limit", "collision", "histogram",
}

// String is the reason as metrics and error bodies name it.
func (r Reason) String() string { return reasonNames[r] }

// Rejects says whether the reason means that the sample was refused.
func (r Reason) Rejects() bool { return r >= ReasonDuplicate }

// Receipt says what became of the samples of one batch.
// Received = Scored + the sum of Reasons, always.
type Receipt struct {
	Received int             // samples and histograms in the batch
	Scored   int             // those that were scored themselves
	Late     int             // those older than the open epoch; they are counted above too
	Derived  int             // measurements scored at the close of epochs; not part of the identity
	Held     int             // points that a floor kept from opening an anomaly; not part of it either
	Reasons  [NumReasons]int // those absorbed or rejected, by reason
	// RejectedHistograms is how many of those rejected were histograms: a
	// writer is told what was written of each kind.
	RejectedHistograms int
}

// Absorbed is the number of samples that did their work without a score.
func (r *Receipt) Absorbed() int { return r.sum(false) }

// Rejected is the number of samples that were refused.
func (r *Receipt) Rejected() int { return r.sum(true) }

func (r *Receipt) sum(rejects bool) int {
	n := 0
	for reason, c := range r.Reasons {
		if Reason(reason).Rejects() == rejects {
			n += c
		}
	}
	return n
}

// Add adds o to r.
func (r *Receipt) Add(o *Receipt) {
	r.Received += o.Received
	r.Scored += o.Scored
	r.Late += o.Late
	r.Derived += o.Derived
	r.Held += o.Held
	r.RejectedHistograms += o.RejectedHistograms
	for i := range r.Reasons {
		r.Reasons[i] += o.Reasons[i]
	}
}

// Balanced says whether every sample received is accounted for.
func (r *Receipt) Balanced() bool { return r.Received == r.Scored+r.Absorbed()+r.Rejected() }
