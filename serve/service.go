package serve

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// Loop is what serve asks of the running loop.
type Loop interface {
	Send(ctx context.Context, ev engine.Event) error
	Query(ctx context.Context, f func(*engine.Engine)) error
}

// Tail is what serve reads of the scores that were kept; see engine.TailScan.
type Tail interface {
	Scan(from, to int64, wanted func(*engine.Series) bool, fn func(*engine.TailPoint) error) (engine.TailReport, error)
}

// Config says how the service behaves. Its zero value is usable.
type Config struct {
	// Heartbeat is how often a quiet stream says that it lives. Default 5 s.
	Heartbeat time.Duration
	// MaxSubscribers bounds the streams. Default 1,000.
	MaxSubscribers int
	// SendTimeout is how long a subscriber may take nothing before its stream
	// is ended. Default 10 s.
	SendTimeout time.Duration
	// Watermark is the start of the open epoch, in milliseconds, before which
	// everything was delivered to the board; 0 while nobody knows. Default
	// always 0.
	Watermark func() int64
	// Tail is what scored in the tail. Without it nobody can ask what another
	// threshold would have done.
	Tail Tail
	// IncidentGap is the engine's, by which a what-if counts incidents. Default
	// the engine's default.
	IncidentGap time.Duration
	// Now is the clock that dates labels. Default time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Heartbeat == 0 {
		c.Heartbeat = 5 * time.Second
	}
	if c.MaxSubscribers == 0 {
		c.MaxSubscribers = 1000
	}
	if c.SendTimeout == 0 {
		c.SendTimeout = 10 * time.Second
	}
	if c.Watermark == nil {
		c.Watermark = func() int64 { return 0 }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Service is homeostat.v1.HomeostatService, and the lists over HTTP.
type Service struct {
	homeostatv1.UnimplementedHomeostatServiceServer
	cfg         Config
	heartbeat   atomic.Int64 // ns; what cfg began with may be changed
	most        atomic.Int64 // subscribers
	board       *Board
	log         Log
	loop        Loop
	subscribers atomic.Int64
	gaps        atomic.Uint64
	stuck       atomic.Uint64
	senders     sync.WaitGroup
	trying      sync.Mutex // held while a what-if is worked out
	saying      sync.Mutex // held from the look at what was said to what is said
}

// NewService makes the service over a board, the log behind it and the loop.
func NewService(cfg Config, b *Board, log Log, l Loop) *Service {
	cfg = cfg.withDefaults()
	s := &Service{cfg: cfg, board: b, log: log, loop: l}
	s.SetWatch(cfg.Heartbeat, cfg.MaxSubscribers)
	return s
}

// SetWatch puts another heartbeat and bound on the streams in force; 0 is the
// default. A stream that runs keeps its place and beats anew after its next beat.
func (s *Service) SetWatch(heartbeat time.Duration, subscribers int) {
	cfg := Config{Heartbeat: heartbeat, MaxSubscribers: subscribers}.withDefaults()
	s.heartbeat.Store(int64(cfg.Heartbeat))
	s.most.Store(int64(cfg.MaxSubscribers))
}

// refuse is an error with a reason that programs can read.
func refuse(code codes.Code, reason string, meta map[string]string, format string, args ...any) error {
	s := status.New(code, fmt.Sprintf(format, args...))
	if d, err := s.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "homeostat", Metadata: meta}); err == nil {
		s = d
	}
	return s.Err()
}

// GetBaseline says what is normal for one measurement now.
func (s *Service) GetBaseline(ctx context.Context, req *homeostatv1.GetBaselineRequest) (*homeostatv1.GetBaselineResponse, error) {
	id := req.GetSeriesId()
	if id == "" {
		ls, err := wire.LabelsFromProto(req.GetLabels())
		if err != nil || ls.IsEmpty() {
			return nil, refuse(codes.InvalidArgument, "SERIES_INVALID", nil, "want a series_id or labels: %v", err)
		}
		id = engine.SeriesID(labels.StableHash(ls)).String()
	}
	b, err := s.baseline(ctx, id)
	if err != nil {
		return nil, err
	}
	return &homeostatv1.GetBaselineResponse{Baseline: wire.BaselineToProto(*b)}, nil
}

// baseline asks the loop for one.
func (s *Service) baseline(ctx context.Context, text string) (*engine.Baseline, error) {
	id, err := engine.ParseSeriesID(text)
	if err != nil {
		return nil, refuse(codes.InvalidArgument, "SERIES_INVALID", nil, "series id %q: want 16 hexadecimal digits", clip(text))
	}
	var b engine.Baseline
	var ok bool
	if err := s.loop.Query(ctx, func(e *engine.Engine) { b, ok = e.Baseline(id) }); err != nil {
		return nil, unavailable(err)
	}
	if !ok {
		return nil, refuse(codes.NotFound, "SERIES_NOT_FOUND", nil, "the series %v has no baseline", id)
	}
	return &b, nil
}

func unavailable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	return refuse(codes.Unavailable, "UNAVAILABLE", nil, "%v", err)
}

// Label takes a person's word on an anomaly.
func (s *Service) Label(ctx context.Context, req *homeostatv1.LabelRequest) (*homeostatv1.LabelResponse, error) {
	l, err := s.label(ctx, req)
	if err != nil {
		return nil, err
	}
	return &homeostatv1.LabelResponse{Label: wire.LabelToProto(l)}, nil
}

// label returns the label that holds: the one that is asked for, or the one that
// was given with the same request_id before.
func (s *Service) label(ctx context.Context, req *homeostatv1.LabelRequest) (engine.Label, error) {
	var none engine.Label
	id, err := engine.ParseAnomalyID(req.GetAnomalyId())
	if err != nil {
		return none, refuse(codes.InvalidArgument, "ANOMALY_INVALID", nil, "anomaly id %q: want 16 hexadecimal digits", clip(req.GetAnomalyId()))
	}
	j := engine.Judgement(req.GetJudgement())
	if j != engine.JudgedFalse && j != engine.JudgedTrue {
		return none, refuse(codes.InvalidArgument, "JUDGEMENT_INVALID", nil, "want a judgement: false alarm or true")
	}
	if req.GetBy() == engine.ByMeasurement {
		return none, refuse(codes.InvalidArgument, "BY_RESERVED", nil, "%q is how outcomes say that nobody said them", engine.ByMeasurement)
	}
	if len(req.GetRequestId()) > 128 || len(req.GetBy()) > 256 || len(req.GetNote()) > 4096 {
		return none, refuse(codes.InvalidArgument, "TOO_LONG", nil, "request_id holds 128 bytes, by 256, note 4096")
	}
	// One word after the other, so that two calls with one request_id cannot both
	// find it unused.
	s.saying.Lock()
	defer s.saying.Unlock()
	s.board.mu.RLock()
	story := s.board.stories[id]
	var a *engine.Anomaly
	if story != nil {
		a = story.latest()
	}
	known, repeated := s.board.labels[req.GetRequestId()]
	s.board.mu.RUnlock()
	switch {
	case repeated && known.Anomaly == id && known.Judgement == j:
		return known, nil
	case repeated:
		return none, refuse(codes.AlreadyExists, "REQUEST_ID_USED", nil, "the request_id was used for another label")
	case a == nil:
		return none, refuse(codes.NotFound, "ANOMALY_NOT_FOUND", nil, "the anomaly %v is not known", id)
	}
	l := engine.Label{
		RequestID: orMadeUp(req.GetRequestId()), Anomaly: id, Series: a.Series.ID, Partition: a.Series.Partition, Judgement: j,
		By: caller(ctx, req.GetBy()), Note: req.GetNote(), At: s.cfg.Now().UnixMilli(),
	}
	if err := s.loop.Send(ctx, l); err != nil {
		return none, unavailable(err)
	}
	// It is durable. Who has the answer may take the label back at once, so that
	// the board has to know it first.
	if err := s.board.await(ctx, func() bool { _, ok := s.board.labels[l.RequestID]; return ok }); err != nil {
		return none, unavailable(err)
	}
	return l, nil
}

// caller is who says something: with authentication on the name that was
// proven, else the one that was given.
func caller(ctx context.Context, given string) string {
	if name := Caller(ctx); name != "" {
		return name
	}
	return given
}

func orMadeUp(request string) string {
	if request != "" {
		return request
	}
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Undo takes a label back.
func (s *Service) Undo(ctx context.Context, req *homeostatv1.UndoRequest) (*homeostatv1.UndoResponse, error) {
	u, err := s.undo(ctx, req)
	if err != nil {
		return nil, err
	}
	return &homeostatv1.UndoResponse{Undo: wire.UndoToProto(u)}, nil
}

// undo returns the undo that holds, as label does.
func (s *Service) undo(ctx context.Context, req *homeostatv1.UndoRequest) (engine.Undo, error) {
	var none engine.Undo
	if len(req.GetRequestId()) > 128 || len(req.GetBy()) > 256 {
		return none, refuse(codes.InvalidArgument, "TOO_LONG", nil, "request_id holds 128 bytes, by 256")
	}
	s.saying.Lock()
	defer s.saying.Unlock()
	s.board.mu.RLock()
	_, known := s.board.labels[req.GetLabelRequestId()]
	undone, already := s.board.undone[req.GetLabelRequestId()]
	s.board.mu.RUnlock()
	switch {
	case already:
		return undone, nil
	case !known:
		return none, refuse(codes.NotFound, "LABEL_NOT_FOUND", nil, "no label has the request_id %q", clip(req.GetLabelRequestId()))
	}
	u := engine.Undo{RequestID: orMadeUp(req.GetRequestId()), Label: req.GetLabelRequestId(), By: caller(ctx, req.GetBy()), At: s.cfg.Now().UnixMilli()}
	if err := s.loop.Send(ctx, u); err != nil {
		return none, unavailable(err)
	}
	if err := s.board.await(ctx, func() bool { _, ok := s.board.undone[u.Label]; return ok }); err != nil {
		return none, unavailable(err)
	}
	return u, nil
}
