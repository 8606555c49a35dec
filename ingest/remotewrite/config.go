package remotewrite

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Config says how the handler behaves. Its zero value is usable: every field
// that is zero takes the default named beside it.
type Config struct {
	// Limits bound one request.
	Limits Limits
	// SenderHeader names a request header that says who sends. Without it, or
	// when the header is absent, it is who Identity says, else the user of basic
	// authentication, else the remote host. Default none.
	SenderHeader string
	// Identity is who a request was authenticated as, empty when that is not
	// known. Default: it is not.
	Identity func(*http.Request) string
	// OwnPrefix is the prefix of homeostat's own output; its series are
	// absorbed here as own_output. Default "homeostat_score_".
	OwnPrefix string
	// Replicas says how to take one of several senders of the same data.
	// Default off.
	Replicas Replicas
	// Busy tells the errors of submit that mean "nothing was taken, come
	// again" from those that mean that the loop has ended. Both are answered
	// by 503; after the former the batch's memory is used again. Default none.
	Busy func(error) bool
	// RetryAfter is what a 503 asks the sender to wait, in whole seconds.
	// Default 1 s.
	RetryAfter time.Duration
	// ReadTimeout bounds how long a client may take to send a body. Default 30 s.
	ReadTimeout time.Duration
	// InFlightBytes bounds the bodies held at one time, compressed and
	// decoded; beyond it requests are answered by 503. Default 256 MiB.
	InFlightBytes int64
	// CacheBytes bounds the cache of known series, labels included; the
	// engine shares the labels. Beyond it those unseen for longest go. Default 4 GiB.
	CacheBytes int64
	// CacheAge is how long an unseen series is kept at least, unless
	// CacheBytes is reached; it is gone after twice as long. Default 1 h.
	CacheAge time.Duration
	// MetadataNames bounds the metric names whose declared type is
	// remembered from 1.0 metadata. Default 100,000.
	MetadataNames int
	// Logger gets at most one line for a bad request, and LogsPerMinute at
	// most. Default none.
	Logger *slog.Logger
	// LogsPerMinute bounds the log lines. Default 30.
	LogsPerMinute int
	// Now is the clock that ages the cache and bounds how far ahead a
	// replica's time may be. Default time.Now.
	Now func() time.Time
}

// Limits bound one request. What exceeds one of the first group refuses the
// request whole; what exceeds one of the second refuses the series.
type Limits struct {
	CompressedBytes int // of the body: 413. Default 16 MiB
	DecodedBytes    int // said by the snappy header: 413. Default 32 MiB
	Series          int // in a request, and metadata entries: 400. Default 50,000
	Samples         int // in a request, a histogram counting as ten: 413. Default 500,000
	Symbols         int // in a 2.0 request: 413. Default 400,000
	Buckets         int // of all histograms of a request: 413. Default 500,000

	Labels           int // a series. Default 64
	NameBytes        int // of a label's name, and of the metric's. Default 512
	ValueBytes       int // of a label's value. Default 4 KiB
	HistogramBuckets int // of one histogram; beyond it the histogram is refused. Default 2,000
}

// Replicas says how several senders of the same data, such as two Prometheus
// of one pair, are told apart. In each cluster one replica is elected and the
// samples of the others are absorbed. Another one is elected when its samples
// are more than Failover ahead, in event time, of the last one of the elected.
type Replicas struct {
	// ReplicaLabel names the sender and is dropped from the series, usually
	// "__replica__". Empty switches deduplication off.
	ReplicaLabel string
	// ClusterLabel names the pair and stays. Series that lack either label
	// are taken from everyone. Default "cluster".
	ClusterLabel string
	// Failover is the event time without the elected replica after which
	// another takes over. Default 30 s.
	Failover time.Duration
	// MaxClusters bounds the clusters; samples of others are taken from
	// everyone. Default 1,000.
	MaxClusters int
	// MaxAhead bounds how far ahead of the clock a sample may be to count in
	// an election. Default 10 min.
	MaxAhead time.Duration
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) withDefaults() Config {
	orDefault(&c.OwnPrefix, "homeostat_score_")
	orDefault(&c.RetryAfter, time.Second)
	orDefault(&c.ReadTimeout, 30*time.Second)
	orDefault(&c.InFlightBytes, 256<<20)
	orDefault(&c.CacheBytes, 4<<30)
	orDefault(&c.CacheAge, time.Hour)
	orDefault(&c.MetadataNames, 100_000)
	orDefault(&c.LogsPerMinute, 30)
	if c.Busy == nil {
		c.Busy = func(error) bool { return false }
	}
	if c.Identity == nil {
		c.Identity = func(*http.Request) string { return "" }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Limits = c.Limits.withDefaults()
	orDefault(&c.Replicas.ClusterLabel, "cluster")
	orDefault(&c.Replicas.Failover, 30*time.Second)
	orDefault(&c.Replicas.MaxClusters, 1000)
	orDefault(&c.Replicas.MaxAhead, 10*time.Minute)
	return c
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.CompressedBytes, 16<<20)
	orDefault(&l.DecodedBytes, 32<<20)
	orDefault(&l.Series, 50_000)
	orDefault(&l.Samples, 500_000)
	orDefault(&l.Symbols, 400_000)
	orDefault(&l.Buckets, 500_000)
	orDefault(&l.Labels, 64)
	orDefault(&l.NameBytes, 512)
	orDefault(&l.ValueBytes, 4<<10)
	orDefault(&l.HistogramBuckets, 2000)
	return l
}

// Validate says which field is out of its bounds. It changes nothing.
func (c Config) Validate() error {
	for _, d := range []struct {
		name  string
		value time.Duration
		max   time.Duration
	}{
		{"retry_after", c.RetryAfter, time.Hour},
		{"read_timeout", c.ReadTimeout, time.Hour},
		{"cache_age", c.CacheAge, 30 * 24 * time.Hour},
		{"replicas.failover", c.Replicas.Failover, 24 * time.Hour},
		{"replicas.max_ahead", c.Replicas.MaxAhead, 24 * time.Hour},
	} {
		if d.value < 0 || d.value > d.max {
			return fmt.Errorf("%s %v: want a duration from 0 to %v", d.name, d.value, d.max)
		}
	}
	l := c.Limits
	for _, n := range []struct {
		name       string
		value, max int64
	}{
		// Offsets into a request are kept in 32 bits.
		{"limits.compressed_bytes", int64(l.CompressedBytes), 1 << 30},
		{"limits.decoded_bytes", int64(l.DecodedBytes), 1 << 30},
		{"limits.series", int64(l.Series), 10_000_000},
		{"limits.samples", int64(l.Samples), 100_000_000},
		{"limits.symbols", int64(l.Symbols), 100_000_000},
		{"limits.buckets", int64(l.Buckets), 100_000_000},
		{"limits.labels", int64(l.Labels), maxPairs},
		{"limits.name_bytes", int64(l.NameBytes), 1 << 20},
		{"limits.value_bytes", int64(l.ValueBytes), 1 << 20},
		{"limits.histogram_buckets", int64(l.HistogramBuckets), 1_000_000},
		{"in_flight_bytes", c.InFlightBytes, 1 << 40},
		{"cache_bytes", c.CacheBytes, 1 << 40},
		{"metadata_names", int64(c.MetadataNames), 100_000_000},
		{"logs_per_minute", int64(c.LogsPerMinute), 6000},
		{"replicas.max_clusters", int64(c.Replicas.MaxClusters), 1_000_000},
	} {
		if n.value < 0 || n.value > n.max {
			return fmt.Errorf("%s %d: want a number from 0 to %d", n.name, n.value, n.max)
		}
	}
	return nil
}
