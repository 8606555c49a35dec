package history

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
)

// csv reads a table with one time a row and one series a column. Separators are
// comma, semicolon or tab, whichever the first line has; a cell may be quoted,
// on one line. Empty cells are no samples.
type csv struct {
	cfg       Config
	file      *file
	in        *bufio.Reader
	line      int
	separator byte
	when      int // the column of times
	columns   []*engine.Series
	clock     clock
	cells     [][]byte
	row       int64 // time of the row at hand
	column    int   // next cell of it
	last      int64
	held      []byte // the first line, when it is no header
}

var (
	errCells    = errors.New("the row has fewer cells than the header")
	errBackward = errors.New("the time lies before that of the row above; sort the file by time")
	errLong     = errors.New("the line is longer than 64 KiB")
	errQuote    = errors.New("a quote is not closed on its line")
)

// timeColumns and ignored are the names, in lower case, that columns of times
// and of labels go by.
var (
	timeColumns = []string{"timestamp", "time", "ts", "date", "datetime", "ds"}
	ignored     = map[string]bool{"label": true, "labels": true, "anomaly": true, "is_anomaly": true, "": true}
)

func newCSV(cfg Config, f *file, in *bufio.Reader, room *seriesRoom) (*csv, error) {
	c := &csv{cfg: cfg, file: f, in: in, separator: ',', last: none}
	first, err := c.read()
	if err == io.EOF {
		return c, nil // an empty file has no rows
	}
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", f.path, c.line, err)
	}
	first = bytes.TrimPrefix(first, []byte("\xef\xbb\xbf"))
	for _, s := range []byte{';', '\t'} {
		if bytes.IndexByte(first, ',') < 0 && bytes.IndexByte(first, s) >= 0 {
			c.separator = s
		}
	}
	if err := c.split(first); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", f.path, c.line, err)
	}
	header := make([]string, len(c.cells))
	for i, cell := range c.cells {
		header[i] = strings.TrimSpace(string(cell))
	}
	if probe := (clock{}); probe.set(header[0]) == nil {
		// No header: a time, a value and perhaps a label.
		if len(header) < 2 || len(header) > 3 {
			return nil, fmt.Errorf("%s: without a header a file has a time, a value and perhaps a label in each row; this one has %d columns", f.path, len(header))
		}
		c.held = append([]byte(nil), first...)
		header = []string{"timestamp", "value", "label"}[:len(header)]
	}
	return c, c.name(header, room)
}

// name makes the series of the columns.
func (c *csv) name(header []string, room *seriesRoom) error {
	c.when = 0
	for i := len(timeColumns) - 1; i >= 0; i-- {
		for k, h := range header {
			if strings.EqualFold(h, timeColumns[i]) {
				c.when = k
			}
		}
	}
	c.columns = make([]*engine.Series, len(header))
	seen := map[string]bool{}
	for k, h := range header {
		if k == c.when || ignored[strings.ToLower(h)] {
			continue
		}
		metric, typ := metricName(h), engine.TypeUnknown
		if strings.EqualFold(h, "value") {
			metric, typ = metricName(c.file.name), engine.TypeGauge
		}
		if seen[metric] {
			return fmt.Errorf("%s: two columns are called %q", c.file.path, metric)
		}
		seen[metric] = true
		if err := room.take(); err != nil {
			return fmt.Errorf("%s: %w", c.file.path, err)
		}
		ls := labels.FromStrings(labels.MetricName, metric, "job", c.cfg.Job, "service", c.file.name)
		c.columns[k] = c.cfg.Naming.NewSeries(ls, typ)
	}
	if len(seen) == 0 {
		return fmt.Errorf("%s: the header names no column of values", c.file.path)
	}
	c.column = len(header)
	return nil
}

// metricName makes text a metric name of the classic alphabet.
func metricName(s string) string {
	b := []byte(s)
	for i, ch := range b {
		letter := ch|0x20 >= 'a' && ch|0x20 <= 'z' || ch == '_' || ch == ':'
		if !letter && (ch < '0' || ch > '9') {
			b[i] = '_'
		}
	}
	if len(b) == 0 || b[0] >= '0' && b[0] <= '9' {
		b = append([]byte{'_'}, b...)
	}
	return string(b)
}

func (c *csv) next() (row, error) {
	for {
		for c.column < len(c.columns) {
			k := c.column
			c.column++
			if c.columns[k] == nil {
				continue
			}
			if len(c.cells[k]) == 0 {
				continue
			}
			v, err := strconv.ParseFloat(view(c.cells[k]), 64)
			if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range is an infinity
				if err := c.file.bad(&c.cfg, c.line, fmt.Errorf("value %s is not a number", quote(c.cells[k]))); err != nil {
					return row{}, err
				}
				continue
			}
			return row{series: c.columns[k], at: c.row, value: v}, nil
		}
		if err := c.advance(); err != nil {
			return row{}, err
		}
	}
}

// advance reads the next row that can be read.
func (c *csv) advance() error {
	c.column = len(c.columns)
	for {
		line, err := c.read()
		if err == io.EOF {
			return err
		}
		if err == nil {
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			if err = c.split(line); err == nil {
				err = c.begin()
			}
		} else if !errors.Is(err, errLong) {
			return fmt.Errorf("%s:%d: %w", c.file.path, c.line, err)
		}
		if err == nil {
			return nil
		}
		if err := c.file.bad(&c.cfg, c.line, err); err != nil {
			return err
		}
	}
}

// begin checks the row that was split.
func (c *csv) begin() error {
	if len(c.cells) < len(c.columns) {
		return errCells
	}
	at, err := c.clock.read(view(bytes.TrimSpace(c.cells[c.when])))
	if err != nil {
		return err
	}
	if at < c.last {
		return errBackward
	}
	c.row, c.last, c.column = at, at, 0
	return nil
}

// read returns the next line without its end.
func (c *csv) read() ([]byte, error) {
	if c.held != nil {
		line := c.held
		c.held = nil
		return line, nil
	}
	c.line++
	line, err := c.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		for err == bufio.ErrBufferFull {
			_, err = c.in.ReadSlice('\n')
		}
		if err == nil || err == io.EOF {
			err = errLong
		}
		return nil, err
	}
	if err != nil && (err != io.EOF || len(line) == 0) {
		return nil, err
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// split cuts the line into c.cells, which point into it.
func (c *csv) split(line []byte) error {
	c.cells = c.cells[:0]
	for {
		if len(line) > 0 && line[0] == '"' {
			cell, rest, err := unquote(line, c.separator)
			if err != nil {
				return err
			}
			c.cells = append(c.cells, cell)
			if rest == nil {
				return nil
			}
			line = rest
			continue
		}
		i := bytes.IndexByte(line, c.separator)
		if i < 0 {
			c.cells = append(c.cells, bytes.TrimSpace(line))
			return nil
		}
		c.cells = append(c.cells, bytes.TrimSpace(line[:i]))
		line = line[i+1:]
	}
}

// unquote reads a quoted cell, in which "" is a quote; rest is nil at the end
// of the line.
func unquote(line []byte, separator byte) (cell, rest []byte, err error) {
	for i := 1; i < len(line); i++ {
		if line[i] != '"' {
			cell = append(cell, line[i])
			continue
		}
		switch {
		case i+1 == len(line):
			return cell, nil, nil
		case line[i+1] == separator:
			return cell, line[i+2:], nil
		case line[i+1] == '"':
			cell = append(cell, '"')
			i++
		default:
			return nil, nil, errQuote
		}
	}
	return nil, nil, errQuote
}

// view is the bytes as a string, without copying: it lives as long as they do.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// quote makes text from a file fit for an error: ASCII, no control characters,
// short.
func quote[T ~string | ~[]byte](s T) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(string(s[:most])) + "..."
	}
	return strconv.QuoteToASCII(string(s))
}
