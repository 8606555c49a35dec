package main

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/homeostat/homeostat/benchmarks/detection/measure"
)

// series is what a file says, row by row.
type series struct {
	at      []int64        // ms
	value   []float64      // NaN for a value that is missing
	label   []bool         // nil without labels
	layout  string         // of its times, empty for seconds since the epoch
	windows []measure.Rows // NAB's
}

func open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(path, ".gz") {
		return f, nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

// readRows calls f with each row of a CSV file after its first.
func readRows(path string, f func(row []string) error) error {
	file, err := open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	rows := csv.NewReader(bufio.NewReaderSize(file, 1<<20))
	rows.ReuseRecord = true
	if _, err := rows.Read(); err != nil {
		return err
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(row); err != nil {
			line, _ := rows.FieldPos(0)
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// read reads the file of a series, and takes its labels from its corpus if it
// has one.
func (f *source) read() (*series, error) {
	s := &series{}
	err := readRows(f.path, func(row []string) error {
		at, layout, err := parseTime(row[0])
		if err != nil {
			return err
		}
		v := math.NaN()
		if row[1] != "" {
			if v, err = strconv.ParseFloat(row[1], 64); err != nil {
				return err
			}
		}
		s.at, s.value, s.layout = append(s.at, at), append(s.value, v), layout
		if f.labelled {
			if row[2] != "0" && row[2] != "1" {
				return fmt.Errorf("label %q: want 0 or 1", row[2])
			}
			s.label = append(s.label, row[2] == "1")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if f.corpus != nil {
		if s.windows, s.label, err = f.corpus.windowsOf(f.nab, s.at); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// wallClocks are the forms of a time that is not seconds since the epoch: NAB's,
// whose zone is unknown and taken for UTC, and RFC 3339.
var wallClocks = []string{time.DateTime, time.RFC3339}

// parseTime reads a time in milliseconds, and says how it was written: empty for
// seconds.
func parseTime(s string) (at int64, layout string, err error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > -1e12 && n < 1e12 {
		return n * 1000, "", nil
	}
	if x, err := strconv.ParseFloat(s, 64); err == nil && x > -1e12 && x < 1e12 {
		return int64(math.Round(x * 1000)), "", nil
	}
	for _, layout := range wallClocks {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UnixMilli(), layout, nil
		}
	}
	return 0, "", fmt.Errorf("time %q: want seconds since the epoch or 2006-01-02 15:04:05", s)
}

// clock writes a time as the series' file does.
func (s *series) clock(at int64) string {
	if s.layout != "" {
		return time.UnixMilli(at).UTC().Format(s.layout)
	}
	if at%1000 == 0 {
		return strconv.FormatInt(at/1000, 10)
	}
	return strconv.FormatFloat(float64(at)/1000, 'f', -1, 64)
}

// inOrder is which rows go on in time. The others are repeats and steps back,
// which the engine refuses; what is measured leaves them out.
func (s *series) inOrder() []int {
	rows := make([]int, 0, len(s.at))
	for i, at := range s.at {
		if n := len(rows); n == 0 || at > s.at[rows[n-1]] {
			rows = append(rows, i)
		}
	}
	return rows
}
