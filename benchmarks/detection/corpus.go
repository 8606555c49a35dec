package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/homeostat/homeostat/benchmarks/detection/measure"
)

// corpus is NAB's data: by the name of a series the windows of its anomalies, as
// pairs of times, both ends included.
type corpus struct {
	root    string
	windows map[string][][2]string
}

// openCorpus returns the corpus of a folder, nil when the folder holds none.
func openCorpus(root string) (*corpus, error) {
	b, err := os.ReadFile(filepath.Join(root, "labels", "combined_windows.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := &corpus{root: root}
	if err := json.Unmarshal(b, &c.windows); err != nil {
		return nil, fmt.Errorf("%s: labels/combined_windows.json: %w", root, err)
	}
	return c, nil
}

// windowsOf returns the windows of a series in rows, and its labels: the rows in
// a window.
func (c *corpus) windowsOf(name string, at []int64) ([]measure.Rows, []bool, error) {
	named, ok := c.windows[name]
	if !ok {
		return nil, nil, fmt.Errorf("labels/combined_windows.json does not name %s", name)
	}
	label := make([]bool, len(at))
	windows := make([]measure.Rows, 0, len(named))
	for _, w := range named {
		rows := measure.Rows{}
		for end, row := range []*int{&rows.First, &rows.Last} {
			t, _, err := parseTime(w[end])
			if err != nil {
				return nil, nil, err
			}
			if *row = slices.Index(at, t); *row < 0 {
				return nil, nil, fmt.Errorf("window %s: no row has that time", w[end])
			}
		}
		last := -1
		if n := len(windows); n > 0 {
			last = windows[n-1].Last
		}
		if rows.First <= last || rows.Last < rows.First {
			return nil, nil, fmt.Errorf("window %s to %s: want windows in order and apart", w[0], w[1])
		}
		for row := rows.First; row <= rows.Last; row++ {
			label[row] = true
		}
		windows = append(windows, rows)
	}
	return windows, label, nil
}
