package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
)

// served is the serve command, running within the test.
type served struct {
	http string
	conn *grpc.ClientConn
	end  func() error // asks it to end, as SIGTERM does, and waits
	log  *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startServe runs serve with flags until the test ends.
func startServe(t *testing.T, storage string, flags ...string) *served {
	t.Helper()
	web, rpc := unusedAddress(t), unusedAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	cmd := newServe()
	s := &served{http: web, log: &safeBuffer{}}
	cmd.SetErr(s.log)
	cmd.SetArgs(append([]string{"--storage.path=" + storage, "--web.listen-address=" + web, "--grpc.listen-address=" + rpc}, flags...))
	ended := make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		err = cmd.ExecuteContext(ctx)
	}()
	s.end = func() error {
		cancel()
		<-ended
		return err
	}
	var dialErr error
	if s.conn, dialErr = grpc.NewClient(rpc, grpc.WithTransportCredentials(insecure.NewCredentials())); dialErr != nil {
		t.Fatal(dialErr)
	}
	t.Cleanup(func() {
		s.conn.Close()
		if err := s.end(); err != nil && !t.Failed() {
			t.Errorf("serve ended with %v\n%s", err, s.log)
		}
	})
	return s
}

func unusedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// ask asks until there is an answer with the status, and returns its body.
func (s *served) ask(t *testing.T, path string, status int) string {
	t.Helper()
	deadline, again := time.NewTimer(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer again.Stop()
	last := ""
	for {
		r, err := http.Get("http://" + s.http + path)
		if err != nil {
			last = err.Error()
		} else {
			b, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if r.StatusCode == status {
				return string(b)
			}
			last = r.Status + " " + string(b)
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("%s: %s, want %d\n%s", path, last, status, s.log)
		}
	}
}

func (s *served) write(t *testing.T, body []byte, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://"+s.http+"/api/v1/write", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "snappy")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer
}

func packed(t *testing.T, series ...prompb.TimeSeries) []byte {
	t.Helper()
	raw, err := (&prompb.WriteRequest{Timeseries: series}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return s2.EncodeSnappy(nil, raw)
}

func oneSeries(name string, at int64, labels ...prompb.Label) prompb.TimeSeries {
	return prompb.TimeSeries{Labels: append([]prompb.Label{{Name: "__name__", Value: name}}, labels...), Samples: []prompb.Sample{{Value: 1, Timestamp: at}}}
}

// TestServeIsOneWhole sees that a server started with nothing but its addresses
// answers everything that it promises to, and that what it refuses is on its
// page of metrics with the reason.
func TestServeIsOneWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := startServe(t, dir)
	s.ask(t, "/-/healthy", 200)
	s.ask(t, "/-/ready", 200)

	now := time.Now().UnixMilli()
	v2 := []string{"Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
	for _, c := range []struct {
		name    string
		body    []byte
		headers []string
		status  int
		counter string
	}{
		{"one sample", packed(t, oneSeries("up", now)), nil, 204, `homeostat_ingest_samples_total{outcome="scored",protocol="remote_write_v1"} 1`},
		{"the same again", packed(t, oneSeries("up", now)), nil, 204, `homeostat_ingest_absorbed_total{reason="repeat"} 1`},
		{"another value", packed(t, prompb.TimeSeries{Labels: oneSeries("up", 0).Labels, Samples: []prompb.Sample{{Value: 7, Timestamp: now}}}), nil, 400, `homeostat_ingest_rejected_total{reason="duplicate"} 1`},
		{"an older one", packed(t, oneSeries("up", now-1)), nil, 400, `homeostat_ingest_rejected_total{reason="out_of_order"} 1`},
		{"a day ahead", packed(t, oneSeries("up", now+86_400_000)), nil, 400, `homeostat_ingest_rejected_total{reason="too_new"} 1`},
		{"too many labels", packed(t, oneSeries("up", now, many(65)...)), nil, 400, `homeostat_ingest_rejected_total{reason="series_label_limit"} 1`},
		{"a long name", packed(t, oneSeries(strings.Repeat("n", 513), now)), nil, 400, `homeostat_ingest_rejected_total{reason="series_name_limit"} 1`},
		{"a long value", packed(t, oneSeries("up", now, prompb.Label{Name: "v", Value: strings.Repeat("v", 4097)})), nil, 400, `homeostat_ingest_rejected_total{reason="series_value_limit"} 1`},
		{"many series", s2.EncodeSnappy(nil, bytes.Repeat([]byte{0x0a, 0}, 50_001)), nil, 400, `homeostat_ingest_refused_requests_total{reason="series_per_request_limit"} 1`},
		{"a body over 16 MiB", make([]byte, 16<<20+1), nil, 413, `homeostat_ingest_refused_requests_total{reason="compressed_size"} 1`},
		{"a bomb over 32 MiB", s2.EncodeSnappy(nil, make([]byte, 32<<20+1)), nil, 413, `homeostat_ingest_refused_requests_total{reason="decoded_size"} 1`},
		{"no snappy", []byte("x"), []string{"Content-Encoding", "gzip"}, 415, `homeostat_ingest_refused_requests_total{reason="content_encoding"} 1`},
		{"no protobuf", []byte("x"), []string{"Content-Type", "text/plain"}, 415, `homeostat_ingest_refused_requests_total{reason="content_type"} 1`},
		{"symbols that begin with none", s2.EncodeSnappy(nil, []byte{0x22, 1, 'x'}), v2, 400, `homeostat_ingest_refused_requests_total{reason="symbols"} 1`},
	} {
		answer := s.write(t, c.body, c.headers...)
		if answer.StatusCode != c.status {
			t.Errorf("%s: %s, want %d", c.name, answer.Status, c.status)
		}
		if c.headers != nil && c.headers[1] == v2[1] && answer.Header.Get("X-Prometheus-Remote-Write-Samples-Written") != "0" {
			t.Errorf("%s: a 2.0 answer without the counts: %v", c.name, answer.Header)
		}
		if page := s.ask(t, "/metrics", 200); !strings.Contains(page, c.counter+"\n") {
			t.Errorf("%s: /metrics lacks %s", c.name, c.counter)
		}
	}

	check, err := healthv1.NewHealthClient(s.conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: "homeostat.v1.HomeostatService"})
	if err != nil || check.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("gRPC health: %v, %v", check, err)
	}
	if names := reflected(t, s.conn); !strings.Contains(names, "homeostat.v1.HomeostatService") {
		t.Errorf("gRPC reflection lists %s", names)
	}

	// Ended in order it starts again with the same store, and knows the series.
	if err := s.end(); err != nil {
		t.Fatalf("serve ended with %v\n%s", err, s.log)
	}
	again := startServe(t, dir)
	again.ask(t, "/-/ready", 200)
	if answer := again.write(t, packed(t, oneSeries("up", now-1))); answer.StatusCode != 400 {
		t.Errorf("after a restart a sample older than the last one is answered %s", answer.Status)
	}
}

func many(n int) []prompb.Label {
	var out []prompb.Label
	for i := range n {
		out = append(out, prompb.Label{Name: fmt.Sprintf("l%02d", i), Value: "v"})
	}
	return out
}

// reflected asks the reflection service for the names of the services.
func reflected(t *testing.T, conn *grpc.ClientConn) string {
	t.Helper()
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	m, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(m.GetListServicesResponse())
}

// TestWhileItLearnsFromHistoryItSaysSo: a start that reads weeks of history is
// alive and not ready. Writers come again, and what they then send is held
// against the present and not against the time at which reading began.
func TestWhileItLearnsFromHistoryItSaysSo(t *testing.T) {
	asked, go1 := make(chan struct{}), make(chan struct{})
	var once sync.Once
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		once.Do(func() { close(asked) })
		<-go1
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
	}))
	defer prometheus.Close()
	release := sync.OnceFunc(func() { close(go1) })
	defer release()
	s := startServe(t, filepath.Join(t.TempDir(), "data"), "--bootstrap.url="+prometheus.URL, "--bootstrap.last=1h")
	<-asked
	s.ask(t, "/-/healthy", 200)
	if text := s.ask(t, "/-/ready", 503); !strings.Contains(text, "learning from history") {
		t.Errorf("not ready, and it says %q", text)
	}
	health := healthv1.NewHealthClient(s.conn)
	if check, err := health.Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil || check.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("gRPC health while it learns: %v, %v", check, err)
	}
	now := time.Now().UnixMilli()
	if answer := s.write(t, packed(t, oneSeries("up", now))); answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" {
		t.Errorf("a write while it learns: %s, Retry-After %q", answer.Status, answer.Header.Get("Retry-After"))
	}
	release()
	s.ask(t, "/-/ready", 200)
	if answer := s.write(t, packed(t, oneSeries("up", now))); answer.StatusCode != 204 {
		t.Errorf("the same write after it: %s", answer.Status)
	}
}

// TestAnEndWhileItLearnsIsNoError: whoever stops it then did nothing wrong.
func TestAnEndWhileItLearnsIsNoError(t *testing.T) {
	asked := make(chan struct{}, 100)
	prometheus := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer prometheus.Close()
	s := startServe(t, filepath.Join(t.TempDir(), "data"), "--bootstrap.url="+prometheus.URL, "--bootstrap.last=1h")
	<-asked
	if err := s.end(); err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

func TestServeRefusesWhatIsUnsafe(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
	}{
		{"HTTP for everyone", []string{"--web.listen-address=:9860"}},
		{"HTTP on an address of the machine", []string{"--web.listen-address=192.0.2.1:9860"}},
		{"gRPC for everyone", []string{"--grpc.listen-address=0.0.0.0:9861"}},
		{"no port", []string{"--web.listen-address=127.0.0.1"}},
		{"a log level that is none", []string{"--log.level=loud"}},
		{"a recording beside history", []string{"--record=x.rec", "--bootstrap.url=http://127.0.0.1:1"}},
		{"no shards", []string{"--shards=0"}},
	} {
		cmd := newServe()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetErr(io.Discard)
		cmd.SetArgs(append([]string{"--storage.path=" + filepath.Join(t.TempDir(), "data")}, c.flags...))
		if err := cmd.ExecuteContext(t.Context()); !errors.Is(err, errUsage) {
			t.Errorf("%s: %v, want a usage error", c.name, err)
		}
	}
}
