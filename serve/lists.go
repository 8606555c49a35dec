package serve

import (
	"context"
	"sort"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/wire"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// This chapter is the lists of what was found. gRPC and HTTP are two faces of
// it: they differ in how a filter is written and an entry is.

// listing names a list of the board.
type listing uint8

const (
	listAnomalies listing = iota
	listIncidents
	listActions
	listOutcomes
)

// item is an entry of a list: the latest of what is told.
type item struct {
	first  uint64 // sequence of its beginning; lists are in this order
	last   uint64 // sequence of record
	record engine.Record
	result engine.Result // of the decision's action; 0 for none
	line   []byte        // of a baseline, which has no record
}

const (
	defaultPage = 100
	maxPage     = 1000
	// maxAnswerBytes bounds an answer, but for its first entry: what gRPC's
	// clients take by default is 4 MiB.
	maxAnswerBytes = 3 << 20
	// stretch is how many entries are looked at while the board is held: who
	// delivers waits meanwhile.
	stretch = 1000
)

// place is where a page begins, and how long it may be.
type place struct {
	before uint64 // only what began before this sequence; 0 for all
	most   int
}

// pageOf reads a page token and a size. The token is the sequence of the last
// entry before the page, so that what comes in between moves nothing.
func pageOf(token string, size int32) (place, error) {
	p := place{most: int(size)}
	if p.most <= 0 {
		p.most = defaultPage
	}
	p.most = min(p.most, maxPage)
	if token == "" {
		return p, nil
	}
	before, err := strconv.ParseUint(token, 10, 64)
	if err != nil || before == 0 {
		return p, refuse(codes.InvalidArgument, "PAGE_TOKEN_INVALID", nil, "the page token %q is not one of ours", clip(token))
	}
	p.before = before
	return p, nil
}

// clip shortens what strangers sent before it is quoted back.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// size and entry read a list; the caller holds the lock.
func (b *Board) size(of listing) int {
	return [...]int{len(b.order), len(b.incOrder), len(b.acts), len(b.verdicts)}[of]
}

func (b *Board) entry(of listing, i int) item {
	switch of {
	case listAnomalies:
		s := b.order[i]
		return item{first: s.first, last: s.last, record: s.latest()}
	case listIncidents:
		g := b.incOrder[i]
		return item{first: g.first, last: g.last, record: g.incident}
	case listActions:
		a := b.acts[i]
		return item{first: a.seq, last: a.seq, record: a.decision, result: a.result}
	}
	v := b.verdicts[i]
	return item{first: v.seq, last: v.seq, record: v.outcome}
}

// list is a page of a list, what began last first, and the token of the next
// page; that is empty on the last one.
func (b *Board) list(of listing, c *chooser, at place) (page []item, next string) {
	for more := true; more; {
		b.mu.RLock()
		i := b.size(of)
		if at.before > 0 {
			i = sort.Search(i, func(i int) bool { return b.entry(of, i).first >= at.before })
		}
		for end := max(0, i-stretch); i > end; i-- {
			it := b.entry(of, i-1)
			at.before = it.first
			if !c.judges(it.record) {
				continue
			}
			if len(page) == at.most {
				b.mu.RUnlock()
				return page, page[at.most-1].token()
			}
			page = append(page, it)
		}
		more = i > 0
		b.mu.RUnlock()
	}
	return page, ""
}

// token is what a page after this entry begins with.
func (it *item) token() string { return strconv.FormatUint(it.first, 10) }

// fit makes the entries of an answer, as many as fit into one.
func fit[T any](page []item, next string, turn func(*item) (entry T, bytes int, err error)) ([]T, string, error) {
	out := make([]T, 0, len(page))
	size := 0
	for i := range page {
		one, n, err := turn(&page[i])
		if err != nil {
			return nil, "", err
		}
		if size += n; i > 0 && size > maxAnswerBytes {
			return out, page[i-1].token(), nil
		}
		out = append(out, one)
	}
	return out, next, nil
}

// ListAnomalies lists the latest revision of each anomaly, the newest first.
func (s *Service) ListAnomalies(_ context.Context, req *homeostatv1.ListAnomaliesRequest) (*homeostatv1.ListAnomaliesResponse, error) {
	c, err := compile(req.GetFilter(), s.board)
	if err != nil {
		return nil, err
	}
	at, err := pageOf(req.GetPageToken(), req.GetPageSize())
	if err != nil {
		return nil, err
	}
	page, next := s.board.list(listAnomalies, c, at)
	out := &homeostatv1.ListAnomaliesResponse{}
	out.Anomalies, out.NextPageToken, err = fit(page, next, func(it *item) (*homeostatv1.Anomaly, int, error) {
		m := wire.AnomalyToProto(it.record.(*engine.Anomaly))
		return m, proto.Size(m), nil
	})
	return out, err
}

// ListIncidents lists the latest revision of each incident, the newest first.
func (s *Service) ListIncidents(_ context.Context, req *homeostatv1.ListIncidentsRequest) (*homeostatv1.ListIncidentsResponse, error) {
	c, err := compile(req.GetFilter(), s.board)
	if err != nil {
		return nil, err
	}
	at, err := pageOf(req.GetPageToken(), req.GetPageSize())
	if err != nil {
		return nil, err
	}
	page, next := s.board.list(listIncidents, c, at)
	out := &homeostatv1.ListIncidentsResponse{}
	out.Incidents, out.NextPageToken, err = fit(page, next, func(it *item) (*homeostatv1.Incident, int, error) {
		m := wire.IncidentToProto(it.record.(*engine.Incident))
		return m, proto.Size(m), nil
	})
	return out, err
}
