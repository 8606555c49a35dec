package serve

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/homeostat/homeostat/engine"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a log in memory, of which retention may take the beginning.
type memory struct {
	mu      sync.Mutex
	first   uint64
	records []engine.Record // from the sequence first on
	scans   int
}

func (l *memory) First() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

func (l *memory) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first + uint64(len(l.records)) - 1
}

func (l *memory) Scan(from uint64, fn func(uint64, engine.Record) error) error {
	l.mu.Lock()
	l.scans++
	from = max(from, l.first)
	records := l.records[min(from-l.first, uint64(len(l.records))):]
	l.mu.Unlock()
	for i, r := range records {
		if err := fn(from+uint64(i), r); err != nil {
			return err
		}
	}
	return nil
}

// retire takes the records before a sequence.
func (l *memory) retire(before uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = l.records[before-l.first:]
	l.first = before
}

// stage is a service over a log in memory, reached over loopback as in life.
type stage struct {
	t      *testing.T
	log    *memory
	board  *Board
	svc    *Service
	client homeostatv1.HomeostatServiceClient
	engine *engine.Engine // of queries

	mu    sync.Mutex
	mark  int64
	later chan struct{} // when set, what is sent is delivered once it is closed
	tasks sync.WaitGroup
}

func newStage(t *testing.T, cfg Config) *stage {
	t.Helper()
	s := &stage{t: t, log: &memory{first: 1}, board: NewBoard()}
	var err error
	if s.engine, err = engine.New(engine.Config{}, 1); err != nil {
		t.Fatal(err)
	}
	cfg.Watermark = func() int64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.mark
	}
	cfg.Now = func() time.Time { return time.UnixMilli(1_700_000_000_000) }
	s.svc = NewService(cfg, s.board, s.log, s)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	homeostatv1.RegisterHomeostatServiceServer(server, s.svc)
	s.tasks.Go(func() { server.Serve(listener) })
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		s.svc.Wait()
		s.tasks.Wait()
	})
	s.client = homeostatv1.NewHomeostatServiceClient(conn)
	return s
}

// tell makes records durable and delivers them, as the loop does.
func (s *stage) tell(records ...engine.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.mu.Lock()
	first := s.log.first + uint64(len(s.log.records))
	s.log.records = append(s.log.records, records...)
	s.log.mu.Unlock()
	s.board.Deliver(first, records)
}

// Send takes a label or an undo in. As in the loop, whoever sent it is answered
// before the sinks are told.
func (s *stage) Send(_ context.Context, ev engine.Event) error {
	s.tasks.Go(func() {
		if s.later != nil {
			<-s.later
		}
		s.tell(ev.(engine.Record))
	})
	return nil
}

// Query calls f.
func (s *stage) Query(_ context.Context, f func(*engine.Engine)) error {
	f(s.engine)
	return nil
}

func (s *stage) setMark(ms int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mark = ms
}

// watch begins a stream. It ends with the test at the latest.
func (s *stage) watch(req *homeostatv1.WatchRequest) (stream grpc.ServerStreamingClient[homeostatv1.WatchResponse], end func()) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	stream, err := s.client.Watch(ctx, req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(cancel)
	return stream, cancel
}

// next is the next message of a stream.
func next(t *testing.T, stream grpc.ServerStreamingClient[homeostatv1.WatchResponse]) *homeostatv1.WatchResponse {
	t.Helper()
	m, err := stream.Recv()
	if err != nil {
		t.Fatalf("the stream ended: %v", err)
	}
	return m
}

// nextEvent is the next message that is no heartbeat.
func nextEvent(t *testing.T, stream grpc.ServerStreamingClient[homeostatv1.WatchResponse]) *homeostatv1.WatchResponse {
	t.Helper()
	for {
		if m := next(t, stream); m.GetHeartbeat() == nil {
			return m
		}
	}
}

// refusedWith fails the test unless an error has the code.
func refusedWith(t *testing.T, what string, err error, code codes.Code) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("%s: %v, want %v", what, err, code)
	}
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline, again := time.NewTimer(20*time.Second), time.NewTicker(time.Millisecond)
	defer deadline.Stop()
	defer again.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

var naming engine.Naming

// anomaly is a revision of the n-th anomaly, on a series of one of two services.
func anomaly(n int, rev engine.Revision) *engine.Anomaly {
	series := naming.NewSeries(labels.FromStrings("__name__", "queue_depth", "job", fmt.Sprintf("job-%d", n%2), "instance", "a"), engine.TypeGauge)
	at := int64(1_700_000_000_000 + n*1000)
	return &engine.Anomaly{
		ID: engine.AnomalyID(n + 1), Revision: rev, Series: series, Kind: engine.KindSpike, Epoch: at, At: at, OpenedAt: at,
		Value: 400, Expected: 100, Lower: 80, Upper: 120, Direction: 1, Score: 640, Peak: 640, Tier: "lean",
		Threshold: engine.Threshold{Open: 300, Close: 150, Cause: "config"},
		Factors: []engine.Factor{
			{Name: "usual", Score: 640, Text: "4 times the usual 100"},
			{Name: "step", Score: 512, Text: "it went from 98 to 400 in one step"},
			{Name: "turn", Score: 10, Text: "it left the course of the last eight values"},
		},
		Quiet: engine.Counterfactual{Text: "quiet if ≤ 120 (was 400)", Value: 120, Named: true},
	}
}

func anomalies(from, to int) []engine.Record {
	var out []engine.Record
	for n := from; n < to; n++ {
		out = append(out, anomaly(n, engine.Opened))
	}
	return out
}
