package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/spf13/cobra"
)

// byHand runs a command of the client to its end.
func byHand(t *testing.T, cmd *cobra.Command, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// firstLine is a writer that gives the first whole line it is written, and takes
// the rest.
type firstLine struct {
	line chan string
	b    []byte
	done bool
}

func (f *firstLine) Write(p []byte) (int, error) {
	f.b = append(f.b, p...)
	if i := bytes.IndexByte(f.b, '\n'); i >= 0 && !f.done {
		f.done = true
		f.line <- string(f.b[:i])
	}
	return len(p), nil
}

// TestAPersonSeesLabelsAndTakesBack walks the way of a person with the commands:
// watch shows an anomaly, explain says why, label moves its threshold, undo takes
// that back; and a label given twice counts once.
func TestAPersonSeesLabelsAndTakesBack(t *testing.T) {
	s := startServe(t, filepath.Join(t.TempDir(), "data"))
	s.ask(t, "/-/ready", 200)
	now := time.Now().UnixMilli()
	depth := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "queue_depth"}, {Name: "job", Value: "shop"}}}
	for n := range int64(400) {
		v := 100 + 3*math.Sin(float64(n*n))
		if n == 399 {
			v = 900
		}
		depth.Samples = append(depth.Samples, prompb.Sample{Value: v, Timestamp: now - 400_000 + 1000*n})
	}
	if answer := s.write(t, packed(t, depth)); answer.StatusCode != 204 {
		t.Fatalf("the write is answered %s", answer.Status)
	}
	address := "--address=" + s.conn.Target()

	ctx, stop := context.WithCancel(t.Context())
	watch := newWatch()
	seen := &firstLine{line: make(chan string, 1)}
	watch.SetOut(seen)
	watch.SetErr(io.Discard)
	watch.SetArgs([]string{address, "--resume-token=0", "-o", "jsonl", "--kind=spike", "--workload", `job="shop"`})
	ended := make(chan error, 1)
	go func() { ended <- watch.ExecuteContext(ctx) }()
	var event struct {
		Type string
		ID   string
	}
	line := <-seen.line
	stop()
	if err := <-ended; err != nil {
		t.Errorf("watch ended with %v", err)
	}
	if err := json.Unmarshal([]byte(line), &event); err != nil || event.Type != "anomaly" || event.ID == "" {
		t.Fatalf("watch wrote %s: %v", line, err)
	}

	for _, c := range []struct {
		cmd  *cobra.Command
		args []string
		says string // of what is written, or of the error
		code error
	}{
		{newExplain(), []string{event.ID}, "quiet", nil},
		{newExplain(), []string{event.ID, "-o", "json"}, `"anomaly"`, nil},
		{newLabel(), []string{event.ID, "false-alarm", "--by=ann", "--request-id=one"}, "homeostat undo one", nil},
		{newLabel(), []string{event.ID, "false-alarm", "--by=ann", "--request-id=one"}, "homeostat undo one", nil},
		{newExplain(), []string{event.ID}, `"ann" said false-alarm (label "one")`, nil},
		{newUndo(), []string{"one", "--by=ben"}, "taken back", nil},
		{newExplain(), []string{event.ID}, `"ben" took label "one" back`, nil},
		{newUndo(), []string{"two"}, `no label has the request_id "two"`, errAny},
		{newLabel(), []string{event.ID, "maybe"}, "want false-alarm or true", errUsage},
		{newLabel(), []string{event.ID}, "want the ID of an anomaly", errUsage},
		{newExplain(), []string{"00000000000000ff"}, "is not known", errAny},
		{newExplain(), []string{event.ID, "-o", "xml"}, "xml", errUsage},
	} {
		out, err := byHand(t, c.cmd, append(c.args, address)...)
		switch {
		case (err != nil) != (c.code != nil), err != nil && c.code != errAny && !strings.Contains(err.Error(), errUsage.Error()):
			t.Errorf("%s %v: %v", c.cmd.Name(), c.args, err)
		case err != nil:
			out = err.Error()
		}
		if !strings.Contains(out, c.says) {
			t.Errorf("%s %v says %q, want %q", c.cmd.Name(), c.args, out, c.says)
		}
	}
	if _, err := byHand(t, newExplain(), event.ID, "--address="+unusedAddress(t)); err == nil || !strings.Contains(err.Error(), "is homeostat serve running there?") {
		t.Errorf("where nobody listens: %v", err)
	}
}

// errAny stands for an error that is none of usage.
var errAny = io.ErrUnexpectedEOF
