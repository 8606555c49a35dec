package serve

import (
	"errors"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// page is how many events a stream takes at a time.
const page = 256

var errPageFull = errors.New("page full")

// Watch streams what the log holds after a token, and then what comes.
func (s *Service) Watch(req *homeostatv1.WatchRequest, stream homeostatv1.HomeostatService_WatchServer) error {
	if most := s.most.Load(); s.subscribers.Add(1) > most {
		s.subscribers.Add(-1)
		return refuse(codes.ResourceExhausted, "TOO_MANY_SUBSCRIBERS", nil, "%d subscribers are the most", most)
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
	w := &watcher{service: s, choose: choose, at: at}
	defer w.open(stream)()
	return w.run(stream.Context().Done(), func() error { return status.FromContextError(stream.Context().Err()).Err() })
}

// start is the sequence after which a stream begins.
func (s *Service) start(token string) (uint64, error) {
	last, _ := s.board.state()
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

// watcher is one stream.
type watcher struct {
	service *Service
	choose  *chooser
	at      uint64 // the sequence up to which everything was sent
	out     chan *homeostatv1.WatchResponse
	sent    chan error // one value for each message of out
	late    *time.Timer
	events  []*told
}

// open starts the goroutine that sends, and returns what ends it. A send may
// hang for as long as the subscriber takes nothing, and only the end of the
// stream frees it then, so that the stream itself never waits for one.
func (w *watcher) open(stream homeostatv1.HomeostatService_WatchServer) (end func()) {
	w.out, w.sent = make(chan *homeostatv1.WatchResponse), make(chan error, 1)
	w.late = time.NewTimer(w.service.cfg.SendTimeout)
	w.service.senders.Go(func() {
		for m := range w.out {
			w.sent <- stream.Send(m)
		}
	})
	return func() {
		w.late.Stop()
		close(w.out)
	}
}

// Wait waits until no message is being sent any more: after the gRPC server has
// stopped.
func (s *Service) Wait() { s.senders.Wait() }

// send sends one message, or ends the stream when the subscriber takes nothing.
func (w *watcher) send(m *homeostatv1.WatchResponse) error {
	w.late.Reset(w.service.cfg.SendTimeout)
	w.out <- m
	select {
	case err := <-w.sent:
		return err
	case <-w.late.C:
		w.service.stuck.Add(1)
		return refuse(codes.DeadlineExceeded, "SUBSCRIBER_STUCK", map[string]string{"resume_token": strconv.FormatUint(w.at, 10)},
			"nothing was taken for %v; resume after %d", w.service.cfg.SendTimeout, w.at)
	}
}

// run sends what there is and what comes, until the subscriber is gone.
func (w *watcher) run(gone <-chan struct{}, why func() error) error {
	every := w.service.heartbeat.Load()
	beat := time.NewTicker(time.Duration(every))
	defer beat.Stop()
	due := true // the first heartbeat says that there is nothing more for now
	for {
		// What the watermark speaks of is on the board already, and so is sent
		// before the heartbeat.
		mark := w.service.cfg.Watermark()
		last, news := w.service.board.state()
		for w.at < last {
			if err := w.page(); err != nil {
				return err
			}
		}
		if due {
			if err := w.heartbeat(mark); err != nil {
				return err
			}
			due = false
		}
		select {
		case <-news:
		case <-beat.C:
			due = true
			if now := w.service.heartbeat.Load(); now != every {
				every = now
				beat.Reset(time.Duration(every))
			}
		case <-gone:
			return why()
		}
	}
}

// page sends some of what comes next.
func (w *watcher) page() error {
	if first := w.service.log.First(); w.at+1 < first {
		if err := w.gap(first - 1); err != nil {
			return err
		}
	}
	var ok bool
	if w.events, ok = w.service.board.after(w.at, w.events[:0], page); !ok {
		if err := w.read(); err != nil {
			return err
		}
	}
	for _, e := range w.events {
		if m := e.message(); m != nil && w.choose.wants(e.record) {
			if err := w.send(m); err != nil {
				return err
			}
		}
		w.at = e.seq
	}
	clear(w.events)
	return nil
}

// gap says that the log no longer holds what comes next, up to a sequence.
func (w *watcher) gap(to uint64) error {
	w.service.gaps.Add(to - w.at)
	m := &homeostatv1.WatchResponse{ResumeToken: strconv.FormatUint(to, 10), Event: &homeostatv1.WatchResponse_Gap{Gap: &homeostatv1.Gap{
		Count: to - w.at, FirstToken: strconv.FormatUint(w.at+1, 10), LastToken: strconv.FormatUint(to, 10),
	}}}
	if err := w.send(m); err != nil {
		return err
	}
	w.at = to
	return nil
}

// read takes from the log what the board no longer has.
func (w *watcher) read() error {
	w.events = w.events[:0]
	err := w.service.log.Scan(w.at+1, func(seq uint64, r engine.Record) error {
		w.events = append(w.events, &told{seq: seq, record: r})
		if len(w.events) == page {
			return errPageFull
		}
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, errPageFull):
		return status.Errorf(codes.Internal, "reading the log: %v", err)
	case len(w.events) == 0:
		return status.Error(codes.Internal, "the log ends before what was delivered")
	}
	return nil
}

func (w *watcher) heartbeat(mark int64) error {
	h := &homeostatv1.Heartbeat{}
	if mark > 0 {
		h.LowWatermarkTime = timestamppb.New(time.UnixMilli(mark))
	}
	return w.send(&homeostatv1.WatchResponse{ResumeToken: strconv.FormatUint(w.at, 10), Event: &homeostatv1.WatchResponse_Heartbeat{Heartbeat: h}})
}

// messageOf is a record as a stream carries it; nil for a tick.
func messageOf(r engine.Record) *homeostatv1.WatchResponse {
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
