package history

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/homeostat/homeostat/engine"
)

// metrics reads OpenMetrics text with timestamps, such as promtool tsdb
// dump-openmetrics writes. Series may follow each other in any order, so all of
// a file is read and sorted before its first row; Config.MaxSamples bounds it.
type metrics struct {
	cfg    Config
	file   *file
	in     *bufio.Reader
	room   *seriesRoom
	types  map[string]engine.Type
	series map[string]*seriesRef
	table  []*engine.Series
	points []point
	read   bool
	turn   int
	line   int // the last one read
	ended  bool
}

type seriesRef struct{ number uint32 }

// point is a row without pointers.
type point struct {
	at     int64
	value  float64
	series uint32
}

var (
	errNoTime   = errors.New("the sample has no timestamp")
	errAfterEnd = errors.New("there is text after # EOF")
	errNoEnd    = errors.New("the file does not end with # EOF: it is cut short")
)

func newMetrics(cfg Config, f *file, in *bufio.Reader, room *seriesRoom) *metrics {
	return &metrics{
		cfg: cfg, file: f, in: in, room: room,
		types: map[string]engine.Type{}, series: map[string]*seriesRef{},
	}
}

func (m *metrics) next() (row, error) {
	if !m.read {
		m.read = true
		if err := m.load(); err != nil {
			return row{}, err
		}
	}
	if m.turn == len(m.points) {
		m.points, m.turn = nil, 0
		m.file.yielded.Store(m.file.size)
		return row{}, io.EOF
	}
	if m.turn%4096 == 0 {
		m.file.yielded.Store(int64(float64(m.file.size) * float64(m.turn) / float64(len(m.points))))
	}
	p := m.points[m.turn]
	m.turn++
	return row{series: m.table[p.series], at: p.at, value: p.value}, nil
}

// end is the last line of OpenMetrics; the parser wants it after every chunk.
const end = "# EOF\n"

// chunkLines is how many lines are parsed at one time.
const chunkLines = 2000

// load reads the file and sorts its samples by time, those of one time in the
// order of the file.
func (m *metrics) load() error {
	var chunk []byte
	for {
		chunk = chunk[:0]
		first := m.line + 1
		lines, err := m.chunk(&chunk)
		if err != nil {
			return err
		}
		if lines == 0 {
			break
		}
		if err := m.parse(chunk, first); err != nil {
			return err
		}
	}
	if !m.ended {
		if err := m.file.bad(&m.cfg, m.line, errNoEnd); err != nil {
			return err
		}
	}
	m.series, m.types = nil, nil
	slices.SortStableFunc(m.points, func(a, b point) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	return nil
}

// chunk appends the next lines to b.
func (m *metrics) chunk(b *[]byte) (lines int, err error) {
	for lines < chunkLines {
		line, err := m.in.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			return 0, fmt.Errorf("%s:%d: %w", m.file.path, m.line+1, errLong)
		}
		if err != nil && err != io.EOF {
			return 0, fmt.Errorf("%s:%d: %w", m.file.path, m.line+1, err)
		}
		if len(line) == 0 {
			return lines, nil
		}
		m.line++
		if m.ended {
			if err := m.file.bad(&m.cfg, m.line, errAfterEnd); err != nil {
				return 0, err
			}
			continue
		}
		if string(bytes.TrimRight(line, "\r\n")) == "# EOF" {
			m.ended = true
			continue
		}
		*b = append(*b, bytes.TrimRight(line, "\r\n")...)
		*b = append(*b, '\n')
		lines++
	}
	return lines, nil
}

// parse reads the lines of a chunk. After one that can't be read it goes on
// with the one that follows.
func (m *metrics) parse(chunk []byte, line int) error {
	chunk = append(chunk, end...)
	for len(chunk) > len(end) {
		done, err := m.parseUntil(chunk)
		if err == nil {
			return nil
		}
		if err := m.file.bad(&m.cfg, line+done, err); err != nil {
			return err
		}
		for range done + 1 {
			_, chunk, _ = bytes.Cut(chunk, []byte("\n"))
		}
		line += done + 1
	}
	return nil
}

// parseUntil reads lines up to the first bad one and returns how many were good.
func (m *metrics) parseUntil(chunk []byte) (good int, err error) {
	p := textparse.NewOpenMetricsParser(chunk, labels.NewSymbolTable())
	for {
		entry, err := p.Next()
		if err == io.EOF {
			return good, nil
		}
		if err != nil {
			return good, errors.New(sanitise(err.Error()))
		}
		switch entry {
		case textparse.EntryType:
			name, typ := p.Type()
			m.types[string(name)] = engineType(typ)
		case textparse.EntrySeries:
			if err := m.sample(p); err != nil {
				return good, err
			}
		}
		good++
	}
}

func (m *metrics) sample(p textparse.Parser) error {
	text, at, value := p.Series()
	if at == nil {
		return errNoTime
	}
	if *at < 0 || *at > maxMillis {
		return errors.New("the timestamp lies outside the years 1970 to 9999")
	}
	if len(m.points) >= m.cfg.MaxSamples {
		return &limitError{fmt.Sprintf("more than %d samples to sort in memory; split the file", m.cfg.MaxSamples)}
	}
	ref := m.series[string(text)]
	if ref == nil {
		if err := m.room.take(); err != nil {
			return &limitError{err.Error()}
		}
		var ls labels.Labels
		p.Labels(&ls)
		ref = &seriesRef{uint32(len(m.table))}
		m.table = append(m.table, m.cfg.Naming.NewSeries(ls.Copy(), typeOf(m.types, ls.Get(labels.MetricName))))
		m.series[string(text)] = ref
	}
	m.points = append(m.points, point{at: *at, value: value, series: ref.number})
	return nil
}

// limitError is never skipped: lenience is for bad rows, not for bounds.
type limitError struct{ text string }

func (e *limitError) Error() string { return e.text }

// sanitise makes a parser's error, which quotes the input, fit for a terminal.
func sanitise(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}

func engineType(t model.MetricType) engine.Type {
	switch t {
	case model.MetricTypeCounter:
		return engine.TypeCounter
	case model.MetricTypeGauge, model.MetricTypeGaugeHistogram, model.MetricTypeInfo, model.MetricTypeStateset:
		return engine.TypeGauge
	case model.MetricTypeHistogram:
		return engine.TypeHistogram
	case model.MetricTypeSummary:
		return engine.TypeSummary
	}
	return engine.TypeUnknown
}

// typeOf is the type of the series with this metric name, when its own name or
// that of its family was declared.
func typeOf(types map[string]engine.Type, name string) engine.Type {
	if t, ok := types[name]; ok {
		return t
	}
	cut := strings.LastIndexByte(name, '_')
	if cut < 0 {
		return engine.TypeUnknown
	}
	t := types[name[:cut]]
	switch name[cut:] {
	case "_total":
		if t == engine.TypeCounter {
			return t
		}
	case "_bucket":
		if t == engine.TypeHistogram || t == engine.TypeGauge {
			return t
		}
	case "_sum", "_count":
		if t == engine.TypeHistogram || t == engine.TypeSummary {
			return t
		}
	case "_gsum", "_gcount":
		if t == engine.TypeGauge {
			return t
		}
	case "_created":
		if t != engine.TypeUnknown {
			return engine.TypeGauge // a time, whatever its family is
		}
	case "_info":
		if t == engine.TypeGauge {
			return t
		}
	}
	return engine.TypeUnknown
}
