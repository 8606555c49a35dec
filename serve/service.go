package serve

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

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

// page is how many records a stream reads of the log at a time.
const page = 256

var errPageFull = errors.New("page full")

// Watch streams what the log holds after a token, and then what comes.
func (s *Service) Watch(req *homeostatv1.WatchRequest, stream homeostatv1.HomeostatService_WatchServer) error {
	if s.subscribers.Add(1) > int64(s.cfg.MaxSubscribers) {
		s.subscribers.Add(-1)
		return refuse(codes.ResourceExhausted, "TOO_MANY_SUBSCRIBERS", nil, "%d subscribers are the most", s.cfg.MaxSubscribers)
	}
	defer s.subscribers.Add(-1)
	choose, err := newChooser(req, s.board)
	if err != nil {
		return err
	}
	at, err := s.start(req.GetResumeToken())
	if err != nil {
		return err
	}
	beat := time.NewTicker(s.cfg.Heartbeat)
	defer beat.Stop()
	if err := s.heartbeat(stream, at); err != nil {
		return err
	}
	for {
		last, _, news := s.board.state()
		for at < last {
			next, err := s.sendPage(stream, choose, at)
			if err != nil {
				return err
			}
			at = next
		}
		select {
		case <-news:
		case <-beat.C:
			if err := s.heartbeat(stream, at); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

// start is the sequence after which a stream begins.
func (s *Service) start(token string) (uint64, error) {
	last, _, _ := s.board.state()
	if token == "" {
		return last, nil
	}
	at, err := strconv.ParseUint(token, 10, 64)
	if err != nil || at > last {
		return 0, refuse(codes.InvalidArgument, "RESUME_TOKEN_INVALID", nil, "the resume token %q is not one of this log", token)
	}
	if first := s.log.First(); first > 0 && at+1 < first && at != 0 {
		oldest := strconv.FormatUint(first-1, 10)
		return 0, refuse(codes.OutOfRange, "RESUME_TOKEN_TOO_OLD", map[string]string{"oldest_token": oldest},
			"the log begins after token %s; %s is too old", oldest, token)
	}
	return at, nil
}

// sendPage sends some records after a sequence, and returns how far it came.
func (s *Service) sendPage(stream homeostatv1.HomeostatService_WatchServer, choose *chooser, at uint64) (uint64, error) {
	type entry struct {
		seq uint64
		rec engine.Record
	}
	if first := s.log.First(); at+1 < first {
		s.gaps.Add(first - 1 - at)
		m := &homeostatv1.WatchResponse{ResumeToken: strconv.FormatUint(first-1, 10), Event: &homeostatv1.WatchResponse_Gap{Gap: &homeostatv1.Gap{
			Count: first - 1 - at, FirstToken: strconv.FormatUint(at+1, 10), LastToken: strconv.FormatUint(first-1, 10),
		}}}
		if err := stream.Send(m); err != nil {
			return at, err
		}
		at = first - 1
	}
	entries := make([]entry, 0, page)
	err := s.log.Scan(at+1, func(seq uint64, r engine.Record) error {
		entries = append(entries, entry{seq, r})
		if len(entries) == page {
			return errPageFull
		}
		return nil
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return at, status.Errorf(codes.Internal, "reading the log: %v", err)
	}
	if len(entries) == 0 {
		return at, status.Error(codes.Internal, "the log ends before what was delivered")
	}
	for _, e := range entries {
		if m := message(e.rec); m != nil && choose.wants(e.rec) {
			m.ResumeToken = strconv.FormatUint(e.seq, 10)
			if err := stream.Send(m); err != nil {
				return at, err
			}
		}
		at = e.seq
	}
	return at, nil
}

func (s *Service) heartbeat(stream homeostatv1.HomeostatService_WatchServer, at uint64) error {
	_, mark, _ := s.board.state()
	h := &homeostatv1.Heartbeat{}
	if mark > 0 {
		h.LowWatermarkTime = timestamppb.New(time.UnixMilli(mark))
	}
	return stream.Send(&homeostatv1.WatchResponse{ResumeToken: strconv.FormatUint(at, 10), Event: &homeostatv1.WatchResponse_Heartbeat{Heartbeat: h}})
}

// message is a record as a stream carries it; nil for a tick.
func message(r engine.Record) *homeostatv1.WatchResponse {
	m := &homeostatv1.WatchResponse{}
	switch r := r.(type) {
	case *engine.Anomaly:
		m.Event = &homeostatv1.WatchResponse_Anomaly{Anomaly: wire.AnomalyToProto(r)}
	case *engine.Incident:
		m.Event = &homeostatv1.WatchResponse_Incident{Incident: wire.IncidentToProto(r)}
	case engine.Decision:
		m.Event = &homeostatv1.WatchResponse_Decision{Decision: wire.DecisionToProto(r)}
	case engine.Performed:
		m.Event = &homeostatv1.WatchResponse_Performed{Performed: wire.PerformedToProto(r)}
	case engine.Outcome:
		m.Event = &homeostatv1.WatchResponse_Outcome{Outcome: wire.OutcomeToProto(r)}
	case engine.ThresholdMove:
		m.Event = &homeostatv1.WatchResponse_ThresholdMove{ThresholdMove: wire.ThresholdMoveToProto(r)}
	case engine.Label:
		m.Event = &homeostatv1.WatchResponse_Label{Label: wire.LabelToProto(r)}
	case engine.Undo:
		m.Event = &homeostatv1.WatchResponse_Undo{Undo: wire.UndoToProto(r)}
	default:
		return nil
	}
	return m
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
	if len(req.GetRequestId()) > 128 || len(req.GetBy()) > 256 || len(req.GetNote()) > 4096 {
		return nil, refuse(codes.InvalidArgument, "TOO_LONG", nil, "request_id holds 128 bytes, by 256, note 4096")
	}
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
	return &homeostatv1.UndoResponse{Undo: wire.UndoToProto(u)}, nil
}
