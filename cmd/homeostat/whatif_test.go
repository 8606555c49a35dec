package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/prompb"

	"github.com/homeostat/homeostat/engine/wire"
)

// TestAWhatIfIsOneAnswerByEveryWay asks a server over gRPC and HTTP, and its
// store beside it, what another threshold would have done: all say the same.
func TestAWhatIfIsOneAnswerByEveryWay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := startServe(t, dir)
	s.ask(t, "/-/ready", 200)
	now := time.Now().UnixMilli()
	depth := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "queue_depth"}, {Name: "job", Value: "shop"}}}
	other := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "queue_depth"}, {Name: "job", Value: "other"}}}
	for n := range int64(500) {
		v := 100 + 3*math.Sin(float64(n*n))
		w := v
		switch n {
		case 300:
			v = 130
		case 450:
			v = 5000
		}
		at := now - 500_000 + 1000*n
		depth.Samples = append(depth.Samples, prompb.Sample{Value: v, Timestamp: at})
		other.Samples = append(other.Samples, prompb.Sample{Value: w, Timestamp: at})
	}
	if answer := s.write(t, packed(t, depth, other)); answer.StatusCode != 204 {
		t.Fatalf("the write is answered %s", answer.Status)
	}
	ask := func(args ...string) (l wire.LineWhatIf) {
		t.Helper()
		out, err := byHand(t, newWhatIf(), append(args, "-o", "json")...)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(out), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	address := "--address=" + s.conn.Target()
	inForce := ask(address, "--false-alarm-days=14")
	if inForce.InForce.Alerts != 2 || len(inForce.Lost)+len(inForce.Gained) != 0 || inForce.Kept != 2 || inForce.Differ != 0 {
		t.Fatalf("what is in force: %+v", inForce)
	}
	peaks := []float64{float64(math.MaxFloat32), 0}
	for _, a := range ask(address, "--threshold=30").Lost {
		peaks[0], peaks[1] = min(peaks[0], float64(a.Peak)), max(peaks[1], float64(a.Peak))
	}
	between := "--threshold=" + floatText((peaks[0]+peaks[1])/2)
	byRPC := ask(address, between)
	if byRPC.Candidate.Alerts != 1 || len(byRPC.Lost) != 1 || !strings.Contains(byRPC.Lost[0].Text, `job="shop"`) || len(byRPC.Gaps) != 0 {
		t.Fatalf("between the two: %+v", byRPC)
	}
	var byHTTP struct{ Data wire.LineWhatIf }
	if err := json.Unmarshal([]byte(s.ask(t, "/api/v1/what-if?last=14d&"+strings.TrimPrefix(between, "--"), 200)), &byHTTP); err != nil {
		t.Fatal(err)
	}
	byStore := ask("--storage.path="+dir, between)
	for way, got := range map[string]wire.LineWhatIf{"HTTP": byHTTP.Data, "the store": byStore} {
		if diff := cmp.Diff(byRPC, got); diff != "" {
			t.Errorf("%s says otherwise than gRPC (- gRPC):\n%s", way, diff)
		}
	}
	if l := ask(address, between, `--match={job="other"}`); l.InForce.Alerts != 0 || l.Series > 1 {
		t.Errorf("of the other series: %+v", l)
	}
	text, err := byHand(t, newWhatIf(), address, between)
	if err != nil || !strings.Contains(text, "lost: 1\n") || !strings.Contains(text, `queue_depth{job="shop"}`) || !strings.Contains(text, "kept: 1;") {
		t.Errorf("%v:\n%s", err, text)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{address}, "want one of"},
		{[]string{address, "--threshold=5", "--false-alarm-days=5"}, "want one of"},
		{[]string{address, "--threshold=1"}, "under the floor"},
		{[]string{"--storage.path=" + dir, "--threshold=1"}, "under the floor"},
		{[]string{address, "--threshold=-1"}, "above 0"},
		{[]string{address, "--threshold=5", "--match={"}, "--match"},
		{[]string{address, "--threshold=5", "--config.file=x"}, "goes with --storage.path"},
		{[]string{"--storage.path=" + filepath.Join(dir, "nowhere"), "--threshold=5"}, "no such file"},
	} {
		if _, err := byHand(t, newWhatIf(), c.args...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("what-if %v: %v, want %q", c.args, err, c.says)
		}
	}
	for path, status := range map[string]int{
		"/api/v1/what-if": 400, "/api/v1/what-if?threshold=x": 400, "/api/v1/what-if?threshold=5&last=-1d": 400,
		"/api/v1/what-if?threshold=5&shape=x": 400, "/api/v1/what-if?threshold=1": 422,
	} {
		s.ask(t, path, status)
	}
	noTail := filepath.Join(t.TempDir(), "no-tail.yaml")
	if err := os.WriteFile(noTail, []byte("storage: {tail_bytes: -1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := startServe(t, filepath.Join(t.TempDir(), "none"), "--config.file="+noTail)
	none.ask(t, "/-/ready", 200)
	if said := none.ask(t, "/api/v1/what-if?threshold=5", 422); !strings.Contains(said, "keeps no scores") {
		t.Errorf("without a tail log: %s", said)
	}
}

func floatText(v float64) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
