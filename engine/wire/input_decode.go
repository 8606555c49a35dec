package wire

import (
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
	homeostatv1 "github.com/homeostat/homeostat/proto/homeostat/v1"
)

// InputDecoder reads the inputs of a recording in the order of writing. The
// zero value is ready. After an error it reads nothing more, because it may
// have missed a series.
type InputDecoder struct {
	series []*engine.Series
	err    error
}

// Input reads what InputEncoder.Append appended.
func (d *InputDecoder) Input(b []byte) (engine.Event, error) {
	if d.err != nil {
		return nil, d.err
	}
	ev, err := d.input(b)
	if err != nil {
		d.err = fmt.Errorf("wire: decoding an input: %w", err)
		return nil, d.err
	}
	return ev, nil
}

func (d *InputDecoder) input(b []byte) (engine.Event, error) {
	var m homeostatv1.Input
	if err := unmarshal(b, &m); err != nil {
		return nil, err
	}
	var r decoder
	var ev engine.Event
	switch k := m.GetKind().(type) {
	case *homeostatv1.Input_Batch:
		return d.batch(k.Batch)
	case *homeostatv1.Input_Tick:
		ev = r.tick(k.Tick)
	case *homeostatv1.Input_Label:
		ev = r.label(k.Label)
	case *homeostatv1.Input_Undo:
		ev = r.undo(k.Undo)
	case *homeostatv1.Input_Performed:
		ev = r.performed(k.Performed)
	default:
		return nil, errors.New("it is of no kind")
	}
	if r.err != nil {
		return nil, r.err
	}
	return ev, nil
}

func (d *InputDecoder) batch(m *homeostatv1.Batch) (*engine.Batch, error) {
	if m.GetForget() {
		d.series = nil
	}
	if n := len(d.series) + len(m.GetNewSeries()); n > MaxDefined {
		return nil, fmt.Errorf("batch.new_series: %d series are defined, want at most %d", n, MaxDefined)
	}
	for _, def := range m.GetNewSeries() {
		s, err := definition(def)
		if err != nil {
			return nil, fmt.Errorf("batch.new_series: %w", err)
		}
		d.series = append(d.series, s)
	}
	n := len(m.GetSeries())
	if len(m.GetAt()) != n || len(m.GetValue()) != n {
		return nil, fmt.Errorf("batch: the columns have %d, %d and %d entries", n, len(m.GetAt()), len(m.GetValue()))
	}
	out := &engine.Batch{Sender: string(m.GetSender()), Quiet: m.GetQuiet()}
	if n > 0 {
		out.Samples = make([]engine.Sample, n)
	}
	var at int64
	for i, number := range m.GetSeries() {
		s, err := d.numbered(number)
		if err != nil {
			return nil, fmt.Errorf("batch.series: %w", err)
		}
		at += m.GetAt()[i]
		out.Samples[i] = engine.Sample{Series: s, At: at, Value: m.GetValue()[i], Partition: s.Partition}
	}
	for _, h := range m.GetHistograms() {
		hs, err := d.histogram(h)
		if err != nil {
			return nil, fmt.Errorf("batch.histograms: %w", err)
		}
		out.Histograms = append(out.Histograms, hs)
	}
	return out, nil
}

func (d *InputDecoder) numbered(n uint32) (*engine.Series, error) {
	if int64(n) >= int64(len(d.series)) {
		return nil, fmt.Errorf("series %d is not defined", n)
	}
	return d.series[n], nil
}

func (d *InputDecoder) histogram(m *homeostatv1.Histogram) (engine.HistogramSample, error) {
	s, err := d.numbered(m.GetSeries())
	if err != nil {
		return engine.HistogramSample{}, err
	}
	h := engine.HistogramSample{Series: s, At: m.GetAt(), Count: m.GetCount(), Sum: m.GetSum(), Gauge: m.GetGauge()}
	n := len(m.GetUpper())
	if len(m.GetLower()) != n || len(m.GetBucketCount()) != n {
		return engine.HistogramSample{}, fmt.Errorf("the columns have %d, %d and %d entries", len(m.GetLower()), n, len(m.GetBucketCount()))
	}
	for i, upper := range m.GetUpper() {
		h.Buckets = append(h.Buckets, engine.Bucket{Lower: m.GetLower()[i], Upper: upper, Count: m.GetBucketCount()[i]})
	}
	return h, nil
}

func definition(m *homeostatv1.SeriesDefinition) (*engine.Series, error) {
	text := m.GetLabels()
	if len(text)%2 != 0 {
		return nil, fmt.Errorf("%d names and values: one is missing", len(text))
	}
	ls := make([]labels.Label, 0, len(text)/2)
	for i := 0; i < len(text); i += 2 {
		if len(text[i]) > maxText || len(text[i+1]) > maxText {
			return nil, fmt.Errorf("label %.64q: longer than %d bytes", text[i], maxText)
		}
		l := labels.Label{Name: string(text[i]), Value: string(text[i+1])}
		if i > 0 && l.Name <= ls[i/2-1].Name {
			return nil, fmt.Errorf("label %.64q does not come after %.64q", l.Name, ls[i/2-1].Name)
		}
		ls = append(ls, l)
	}
	var r decoder
	s := &engine.Series{
		ID:        engine.SeriesID(m.GetId()),
		Labels:    labels.New(ls...),
		Workload:  engine.Workload(m.GetWorkload()),
		Partition: r.partition("partition", m.GetPartition()),
		Type:      enum[engine.Type](&r, "type", m.GetType(), homeostatv1.SeriesType_name),
	}
	return s, r.err
}
