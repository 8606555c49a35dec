package wire

import (
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// MaxDefined bounds the series that a recording refers to at a time, in its
// writer and its reader. When a batch might go beyond, the writer forgets them
// all and begins anew.
const MaxDefined = 1 << 23

// InputEncoder writes the inputs of a recording. A series is written in full
// where it first appears and by number after that, so the inputs must be read
// in the order of writing. The zero value is ready.
type InputEncoder struct {
	numbers map[engine.SeriesID]defined
	next    uint32
	bound   int // MaxDefined, but in tests
}

type defined struct {
	series *engine.Series
	number uint32
}

// Append appends the bytes of ev to b. After an error b is as it was and the
// encoder may be used again.
func (e *InputEncoder) Append(b []byte, ev engine.Event) ([]byte, error) {
	m, err := e.input(ev)
	if err != nil {
		return b, fmt.Errorf("wire: encoding an input: %w", err)
	}
	out, err := deterministic.MarshalAppend(b, m)
	if err != nil {
		return b, fmt.Errorf("wire: encoding an input: %w", err)
	}
	return out, nil
}

func (e *InputEncoder) input(ev engine.Event) (*homeostatv1.Input, error) {
	switch ev := ev.(type) {
	case *engine.Batch:
		if ev == nil {
			return nil, errors.New("the batch is nil")
		}
		if err := encodable(ev); err != nil {
			return nil, err
		}
		return &homeostatv1.Input{Kind: &homeostatv1.Input_Batch{Batch: e.batch(ev)}}, nil
	case engine.Tick:
		return &homeostatv1.Input{Kind: &homeostatv1.Input_Tick{Tick: TickToProto(ev)}}, nil
	case engine.Label:
		return &homeostatv1.Input{Kind: &homeostatv1.Input_Label{Label: LabelToProto(ev)}}, nil
	case engine.Undo:
		return &homeostatv1.Input{Kind: &homeostatv1.Input_Undo{Undo: UndoToProto(ev)}}, nil
	case engine.Performed:
		return &homeostatv1.Input{Kind: &homeostatv1.Input_Performed{Performed: PerformedToProto(ev)}}, nil
	default:
		return nil, fmt.Errorf("the kind %T has no message", ev)
	}
}

// encodable looks before anything is defined, so that an error leaves the
// numbers as the reader knows them.
func encodable(b *engine.Batch) error {
	for i := range b.Samples {
		if s := b.Samples[i].Series; s == nil {
			return fmt.Errorf("sample %d has no series", i)
		} else if s.Partition != b.Samples[i].Partition {
			return fmt.Errorf("sample %d names partition %d, its series %d", i, b.Samples[i].Partition, s.Partition)
		}
	}
	for i := range b.Histograms {
		if b.Histograms[i].Series == nil {
			return fmt.Errorf("histogram %d has no series", i)
		}
	}
	return nil
}

func (e *InputEncoder) batch(b *engine.Batch) *homeostatv1.Batch {
	m := &homeostatv1.Batch{Sender: []byte(b.Sender), Quiet: b.Quiet}
	if e.bound == 0 {
		e.bound = MaxDefined
	}
	if int(e.next)+len(b.Samples)+len(b.Histograms) > e.bound {
		m.Forget, e.numbers, e.next = true, nil, 0
	}
	if e.numbers == nil {
		e.numbers = map[engine.SeriesID]defined{}
	}
	if n := len(b.Samples); n > 0 {
		m.Series, m.At, m.Value = make([]uint32, n), make([]int64, n), make([]float64, n)
	}
	var last int64
	for i := range b.Samples {
		s := &b.Samples[i]
		m.Series[i] = e.number(s.Series, m)
		m.At[i], last = s.At-last, s.At // it may wrap, and wraps back
		m.Value[i] = s.Value
	}
	for i := range b.Histograms {
		h := &b.Histograms[i]
		out := &homeostatv1.Histogram{Series: e.number(h.Series, m), At: h.At, Count: h.Count, Sum: h.Sum, Gauge: h.Gauge}
		for _, k := range h.Buckets {
			out.Lower = append(out.Lower, k.Lower)
			out.Upper = append(out.Upper, k.Upper)
			out.BucketCount = append(out.BucketCount, k.Count)
		}
		m.Histograms = append(m.Histograms, out)
	}
	return m
}

// number is the number of s, which m defines when it has none. Two series may
// share an ID; then each change from one to the other defines anew.
func (e *InputEncoder) number(s *engine.Series, m *homeostatv1.Batch) uint32 {
	if d, ok := e.numbers[s.ID]; ok && (d.series == s || same(d.series, s)) {
		return d.number
	}
	def := &homeostatv1.SeriesDefinition{
		Id:        uint64(s.ID),
		Workload:  []byte(s.Workload),
		Partition: uint32(s.Partition),
		Type:      homeostatv1.SeriesType(s.Type),
	}
	s.Labels.Range(func(l labels.Label) {
		def.Labels = append(def.Labels, []byte(l.Name), []byte(l.Value))
	})
	m.NewSeries = append(m.NewSeries, def)
	n := e.next
	e.numbers[s.ID] = defined{s, n}
	e.next++
	return n
}

func same(a, b *engine.Series) bool {
	return a.Workload == b.Workload && a.Partition == b.Partition && a.Type == b.Type && labels.Equal(a.Labels, b.Labels)
}
