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

// Service is homeostat.v1.HomeostatService.
type Service struct {
	homeostatv1.UnimplementedHomeostatServiceServer
	cfg         Config
	board       *Board
	log         Log
	loop        Loop
	subscribers atomic.Int64
	gaps        atomic.Uint64
	stuck       atomic.Uint64
	senders     sync.WaitGroup
	saying      sync.Mutex // held from the look at what was said to what is said
}

// NewService makes the service over a board, the log behind it and the loop.
func NewService(cfg Config, b *Board, log Log, l Loop) *Service {
	return &Service{cfg: cfg.withDefaults(), board: b, log: log, loop: l}
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
	var id engine.SeriesID
	if req.GetSeriesId() != "" {
		var err error
		if id, err = engine.ParseSeriesID(req.GetSeriesId()); err != nil {
			return nil, refuse(codes.InvalidArgument, "SERIES_INVALID", nil, "%v", err)
		}
	} else {
		ls, err := wire.LabelsFromProto(req.GetLabels())
		if err != nil || ls.IsEmpty() {
			return nil, refuse(codes.InvalidArgument, "SERIES_INVALID", nil, "want a series_id or labels: %v", err)
		}
		id = engine.SeriesID(labels.StableHash(ls))
	}
	var b engine.Baseline
	var ok bool
	if err := s.loop.Query(ctx, func(e *engine.Engine) { b, ok = e.Baseline(id) }); err != nil {
		return nil, unavailable(err)
	}
	if !ok {
		return nil, refuse(codes.NotFound, "SERIES_NOT_FOUND", nil, "the series %v has no baseline", id)
	}
	return &homeostatv1.GetBaselineResponse{Baseline: wire.BaselineToProto(b)}, nil
}

func unavailable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	return refuse(codes.Unavailable, "UNAVAILABLE", nil, "%v", err)
}

// Label takes a person's word on an anomaly.
func (s *Service) Label(ctx context.Context, req *homeostatv1.LabelRequest) (*homeostatv1.LabelResponse, error) {
	id, err := engine.ParseAnomalyID(req.GetAnomalyId())
	if err != nil {
		return nil, refuse(codes.InvalidArgument, "ANOMALY_INVALID", nil, "%v", err)
	}
	j := engine.Judgement(req.GetJudgement())
	if j != engine.JudgedFalse && j != engine.JudgedTrue {
		return nil, refuse(codes.InvalidArgument, "JUDGEMENT_INVALID", nil, "want a judgement: false alarm or true")
	}
	if req.GetBy() == engine.ByMeasurement {
		return nil, refuse(codes.InvalidArgument, "BY_RESERVED", nil, "%q is how outcomes say that nobody said them", engine.ByMeasurement)
	}
	if len(req.GetRequestId()) > 128 || len(req.GetBy()) > 256 || len(req.GetNote()) > 4096 {
		return nil, refuse(codes.InvalidArgument, "TOO_LONG", nil, "request_id holds 128 bytes, by 256, note 4096")
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
		return &homeostatv1.LabelResponse{Label: wire.LabelToProto(known)}, nil
	case repeated:
		return nil, refuse(codes.AlreadyExists, "REQUEST_ID_USED", nil, "the request_id was used for another label")
	case a == nil:
		return nil, refuse(codes.NotFound, "ANOMALY_NOT_FOUND", nil, "the anomaly %v is not known", id)
	}
	l := engine.Label{
		RequestID: orMadeUp(req.GetRequestId()), Anomaly: id, Series: a.Series.ID, Partition: a.Series.Partition, Judgement: j,
		By: req.GetBy(), Note: req.GetNote(), At: s.cfg.Now().UnixMilli(),
	}
	if err := s.loop.Send(ctx, l); err != nil {
		return nil, unavailable(err)
	}
	// It is durable. Who has the answer may take the label back at once, so that
	// the board has to know it first.
	if err := s.board.await(ctx, func() bool { _, ok := s.board.labels[l.RequestID]; return ok }); err != nil {
		return nil, unavailable(err)
	}
	return &homeostatv1.LabelResponse{Label: wire.LabelToProto(l)}, nil
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
	s.saying.Lock()
	defer s.saying.Unlock()
	s.board.mu.RLock()
	_, known := s.board.labels[req.GetLabelRequestId()]
	undone, already := s.board.undone[req.GetLabelRequestId()]
	s.board.mu.RUnlock()
	switch {
	case already:
		return &homeostatv1.UndoResponse{Undo: wire.UndoToProto(undone)}, nil
	case !known:
		return nil, refuse(codes.NotFound, "LABEL_NOT_FOUND", nil, "no label has the request_id %q", req.GetLabelRequestId())
	}
	u := engine.Undo{RequestID: orMadeUp(req.GetRequestId()), Label: req.GetLabelRequestId(), By: req.GetBy(), At: s.cfg.Now().UnixMilli()}
	if err := s.loop.Send(ctx, u); err != nil {
		return nil, unavailable(err)
	}
	if err := s.board.await(ctx, func() bool { _, ok := s.board.undone[u.Label]; return ok }); err != nil {
		return nil, unavailable(err)
	}
	return &homeostatv1.UndoResponse{Undo: wire.UndoToProto(u)}, nil
}
