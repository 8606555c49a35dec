package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/homeostat/homeostat/engine"
)

// envelope is what every answer of the API is wrapped in.
type envelope struct {
	Status    string          `json:"status"`
	Data      json.RawMessage `json:"data"`
	ErrorType string          `json:"errorType"`
	Error     string          `json:"error"`
}

// matrix is the answer to a range selector.
type matrix struct {
	ResultType string         `json:"resultType"`
	Result     []answerSeries `json:"result"`
}

type answerSeries struct {
	Metric     map[string]string `json:"metric"`
	Values     []answerValue     `json:"values"`
	Histograms []answerHistogram `json:"histograms"`
}

// answerValue is [1700000000.123, "1.5"].
type answerValue struct {
	at    int64
	value float64
}

// answerHistogram is [1700000000.123, {"count": "5", "sum": "1.5", "buckets":
// [[boundaries, "lower", "upper", "count"], …]}].
type answerHistogram struct {
	at    int64
	shape struct {
		Count   string    `json:"count"`
		Sum     string    `json:"sum"`
		Buckets [][4]cell `json:"buckets"`
	}
}

// cell is a number, or a number in a string, as it was written.
type cell string

func (c *cell) UnmarshalJSON(b []byte) error {
	*c = cell(strings.Trim(string(b), `"`))
	return nil
}

func (v *answerValue) UnmarshalJSON(b []byte) error {
	var value string
	at, err := pair(b, &value)
	if err != nil {
		return err
	}
	v.at = at
	v.value, err = strconv.ParseFloat(value, 64)
	return err
}

func (h *answerHistogram) UnmarshalJSON(b []byte) (err error) {
	h.at, err = pair(b, &h.shape)
	return err
}

// pair reads [time, second].
func pair(b []byte, second any) (at int64, err error) {
	var when float64
	both := [2]any{&when, second}
	parts := both[:]
	if err := json.Unmarshal(b, &parts); err != nil {
		return 0, err
	}
	if len(parts) != 2 {
		return 0, errors.New("a sample is not a pair of time and value")
	}
	if when = math.Round(when * 1000); !(when >= 0 && when <= maxMillis) {
		return 0, errors.New("a time lies outside the years 1970 to 9999")
	}
	return int64(when), nil
}

// sample is the histogram as the engine takes it.
func (h *answerHistogram) sample(s *engine.Series) (*engine.HistogramSample, bool) {
	out := &engine.HistogramSample{Series: s, At: h.at}
	good := true
	number := func(text string) float64 {
		v, err := strconv.ParseFloat(text, 64)
		good = good && err == nil
		return v
	}
	out.Count, out.Sum = number(h.shape.Count), number(h.shape.Sum)
	upper := math.Inf(-1)
	for _, b := range h.shape.Buckets {
		bucket := engine.Bucket{Lower: number(string(b[1])), Upper: number(string(b[2])), Count: number(string(b[3]))}
		good = good && bucket.Lower <= bucket.Upper && bucket.Upper >= upper && bucket.Count >= 0
		upper = bucket.Upper
		bucket = aboveZero(bucket, len(out.Buckets) == 0)
		if bucket.Count > 0 {
			out.Buckets = append(out.Buckets, bucket)
		}
	}
	return out, good && out.Count >= 0
}

// aboveZero is the bucket as a live writer's is taken: the zero bucket, which
// reaches as far below zero as above, begins at zero when it is the lowest one,
// because nothing was observed below it.
func aboveZero(b engine.Bucket, lowest bool) engine.Bucket {
	if lowest && b.Lower == -b.Upper && !math.IsInf(b.Upper, 0) {
		b.Lower = 0
	}
	return b
}

// decode reads an answer of at most limit bytes.
func decode(res *http.Response, limit int64, into any) error {
	var e envelope
	body := &io.LimitedReader{R: res.Body, N: limit + 1}
	err := json.NewDecoder(body).Decode(&e)
	if body.N <= 0 {
		return errTooMuch
	}
	if err != nil || e.Status != "success" {
		return failure(res.StatusCode, &e, err)
	}
	if err := json.Unmarshal(e.Data, into); err != nil {
		return &selectorError{"the answer is not understood: " + sanitise(err.Error())}
	}
	if m, ok := into.(*matrix); ok && m.ResultType != "matrix" {
		return &selectorError{"the answer is a " + sanitise(m.ResultType) + ": a selector must select series, such as up{job=\"api\"}"}
	}
	return nil
}

// failure sorts what went wrong into what is too much, what is final and what
// may be tried again.
func failure(status int, e *envelope, err error) error {
	text := sanitise(e.Error)
	if e.Status == "" {
		text = "no answer of a Prometheus"
		if err != nil {
			text += ": " + sanitise(err.Error())
		}
	}
	switch {
	case strings.Contains(e.Error, "too many samples") || strings.Contains(e.Error, "too many points") ||
		e.ErrorType == "timeout" || e.ErrorType == "canceled":
		return fmt.Errorf("%w: %s", errTooMuch, text)
	case status == http.StatusTooManyRequests || status >= 500 || status == http.StatusOK:
		return fmt.Errorf("status %d: %s", status, text)
	}
	return &selectorError{fmt.Sprintf("status %d: %s", status, text)}
}

func modelType(s string) model.MetricType { return model.MetricType(s) }
