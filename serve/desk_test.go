package serve

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/models"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// start is when the incidents of these tests begin, ms.
const start = int64(1_772_000_000_000)

// desk is a service over a board, a log in memory and a loop that journals at
// once.
type desk struct {
	log     *memory
	board   *Board
	service *Service
	engine  *engine.Engine // asked by queries
	busy    error          // what sending comes to; nil is taken
}

func newDesk(t testing.TB, cfg Config) *desk {
	t.Helper()
	e, err := engine.New(engine.Config{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return time.UnixMilli(start) }
	}
	d := &desk{log: &memory{first: 1}, board: NewBoard(), engine: e}
	d.service = NewService(cfg, d.board, d.log, d)
	return d
}

// Send journals an event, as the loop does with labels and undos.
func (d *desk) Send(_ context.Context, ev engine.Event) error {
	if d.busy != nil {
		return d.busy
	}
	d.add(ev.(engine.Record))
	return nil
}

// Query asks the engine.
func (d *desk) Query(ctx context.Context, f func(*engine.Engine)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f(d.engine)
	return nil
}

// add makes records durable and delivers them.
func (d *desk) add(records ...engine.Record) {
	d.log.mu.Lock()
	first := d.log.first + uint64(len(d.log.records))
	d.log.records = append(d.log.records, records...)
	d.log.mu.Unlock()
	d.board.Deliver(first, records)
}

// trouble is the nth anomaly of these tests: one a minute, each on a series of
// its own, of a workload that takes turns.
func trouble(n int, pairs ...string) *engine.Anomaly {
	ls := labels.FromStrings(append([]string{"__name__", "load", "job", fmt.Sprint("job", n%2), "n", fmt.Sprint(n)}, pairs...)...)
	at := start + int64(n)*60_000
	kind := engine.KindSpike
	if n%3 == 0 {
		kind = engine.KindDip
	}
	return &engine.Anomaly{
		ID: engine.AnomalyID(1000 + n), Revision: engine.Opened, Series: naming.NewSeries(ls, engine.TypeGauge), Kind: kind,
		Epoch: at, At: at, OpenedAt: at, Value: 9, Expected: 1, Lower: 0, Upper: 2, Direction: 1,
		Score: models.ScoreOf(9), Peak: models.ScoreOf(9),
		Threshold: engine.Threshold{Open: models.ScoreOf(5), Close: models.ScoreOf(3), Cause: "config"}, Tier: "lean",
	}
}

// ended is the last revision of an anomaly, a minute later.
func ended(a *engine.Anomaly) *engine.Anomaly {
	b := *a
	b.Revision, b.At = engine.Closed, a.At+60_000
	return &b
}

// incidentOf is the incident of one anomaly.
func incidentOf(a *engine.Anomaly, state engine.IncidentState) *engine.Incident {
	i := &engine.Incident{
		ID: engine.IncidentID(a.ID) + 1000, Revision: engine.Opened, State: state, Workload: a.Series.Workload, Epoch: a.Epoch, At: a.At,
		OpenedAt: a.OpenedAt, Peak: a.Peak,
		Members: []engine.Member{{Anomaly: a.ID, Series: a.Series.ID, Kind: a.Kind, OpenedAt: a.OpenedAt, Peak: a.Peak}},
	}
	if state == engine.IncidentClosed {
		i.Revision, i.At = engine.Closed, a.At+60_000
	}
	return i
}

// stream is a subscriber of the service, without a network.
type stream struct {
	grpc.ServerStream
	ctx  context.Context
	take chan *homeostatv1.WatchResponse // the subscriber's end; nobody reads, nobody takes
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) Send(m *homeostatv1.WatchResponse) error {
	select {
	case s.take <- m:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// subscribe watches until the returned function is called, which returns how the
// stream ended.
func (d *desk) subscribe(t *testing.T, req *homeostatv1.WatchRequest) (s *stream, leave func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s = &stream{ctx: ctx, take: make(chan *homeostatv1.WatchResponse)}
	gone := make(chan error, 1)
	go func() { gone <- d.service.Watch(req, s) }()
	return s, func() error {
		cancel()
		return <-gone
	}
}
