package history

import (
	"cmp"
	"io"
	"math"
	"slices"

	"github.com/homeostat/homeostat/engine"
)

// row is one value of one series, or one histogram.
type row struct {
	series *engine.Series
	at     int64 // ms
	value  float64
	shape  *engine.HistogramSample // nil for a plain value
}

// rows yields rows in order of time, and io.EOF after the last.
type rows interface {
	next() (row, error)
}

// pace cuts rows in order of time into batches and puts the ticks between.
type pace struct {
	cfg   Config
	rows  rows
	ahead row
	state paceState
	err   error // that ends the stream, after what came before it
	tick  int64 // the last one
	final int64 // the tick to end with
	until int64 // tick up to here before going on
	// stride is the step to until; 0 when it is not on its way.
	stride int64
	limit  int64 // no tick lies after it

	batches []engine.Batch
	room    []engine.Sample
}

type paceState uint8

const (
	paceFresh paceState = iota // nothing read yet
	paceRows                   // ahead holds a row
	paceEnd                    // no more rows
)

const second = engine.EpochMillis

// none is before every tick.
const none = math.MinInt64

func newPace(cfg Config, src rows) *pace {
	return &pace{cfg: cfg, rows: src, tick: none, final: none, until: none, limit: math.MaxInt64}
}

// Next is the next event: a *engine.Batch, which is the caller's, or an
// engine.Tick; io.EOF after the last.
func (p *pace) Next() (engine.Event, error) {
	if p.state == paceFresh {
		p.pull()
	}
	if p.tick < p.until {
		return p.step(), nil
	}
	if p.state == paceEnd {
		if p.tick < p.final {
			p.until = p.final
			return p.step(), nil
		}
		return nil, p.err
	}
	start := floorSecond(p.ahead.at)
	if p.tick < start {
		p.until = start
		return p.step(), nil
	}
	return p.batch(start), nil
}

// maxSteps bounds the ticks in one gap: a year away from the data, a wrong time
// shall not cost the minutes in between.
const maxSteps = 100_000

// step is the next tick on the way to p.until.
func (p *pace) step() engine.Tick {
	next := p.until
	if p.tick != none {
		if p.stride == 0 {
			p.stride = max(p.cfg.TickEvery.Milliseconds(), (next-p.tick)/maxSteps)
		}
		next = min(next, p.tick+p.stride)
	}
	if next == p.until {
		p.stride = 0
	}
	p.tick = next
	return engine.Tick{Now: next}
}

// batch takes the rows of the second that begins at start.
func (p *pace) batch(start int64) *engine.Batch {
	if len(p.batches) == 0 {
		p.batches = make([]engine.Batch, 128)
	}
	b := &p.batches[0]
	p.batches = p.batches[1:]
	b.Sender, b.Quiet = p.cfg.Sender, p.cfg.Quiet
	end := start + second
	n := 0
	from := len(p.room)
	for p.state == paceRows && p.ahead.at < end && n < p.cfg.MaxBatch {
		if r := &p.ahead; r.shape != nil {
			b.Histograms = append(b.Histograms, *r.shape)
		} else {
			if len(p.room) == cap(p.room) {
				from = p.makeRoom(from)
			}
			p.room = append(p.room, engine.Sample{Series: r.series, At: r.at, Value: r.value, Partition: r.series.Partition})
		}
		n++
		p.pull()
	}
	if len(p.room) > from {
		b.Samples = p.room[from:len(p.room):len(p.room)]
	}
	order(b)
	// A row that goes back in time joins the batch at hand; the engine says
	// what it thinks of it.
	if p.state == paceRows && p.ahead.at < end {
		return b
	}
	closing := end + p.cfg.Grace.Milliseconds()
	switch {
	case p.state == paceEnd && p.err != io.EOF:
		return b // what comes after an error is not known: time stops here
	case p.state == paceEnd:
		p.final = min(end+p.cfg.Beyond.Milliseconds(), p.limit)
		p.until = min(closing, p.final)
	case floorSecond(p.ahead.at) > closing:
		p.until = closing
	default:
		p.until = end
	}
	p.until = min(p.until, p.limit)
	return b
}

// samplesAtOnce is how many samples room is made for.
const samplesAtOnce = 4096

// makeRoom takes new room for samples and moves those from from on there, which
// are of the batch at hand. The rest stays where it is: it belongs to batches
// that were handed over. It returns where the batch begins.
func (p *pace) makeRoom(from int) int {
	mine := p.room[from:]
	p.room = append(make([]engine.Sample, 0, max(samplesAtOnce, 2*len(mine))), mine...)
	return 0
}

// pull reads the next row into p.ahead.
func (p *pace) pull() {
	r, err := p.rows.next()
	if err != nil {
		p.state, p.err = paceEnd, err
		return
	}
	p.state, p.ahead = paceRows, r
}

// order sorts a batch by time and series, keeping the order of equals.
func order(b *engine.Batch) {
	if len(b.Samples) > 1 {
		slices.SortStableFunc(b.Samples, func(x, y engine.Sample) int {
			return cmp.Or(cmp.Compare(x.At, y.At), cmp.Compare(x.Series.ID, y.Series.ID))
		})
	}
	if len(b.Histograms) > 1 {
		slices.SortStableFunc(b.Histograms, func(x, y engine.HistogramSample) int {
			return cmp.Or(cmp.Compare(x.At, y.At), cmp.Compare(x.Series.ID, y.Series.ID))
		})
	}
}

// floorSecond is the start of the second of event time that at is in.
func floorSecond(at int64) int64 {
	s := at - at%second
	if at%second < 0 {
		s -= second
	}
	return s
}
