package main

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
)

// A server within the test's own process, for what needs all of it and no peer.

// journal is what a server logs; whoever waits for a line is woken by the next.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
	news chan struct{}
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Write(p)
	close(j.news)
	j.news = make(chan struct{})
	return len(p), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// await waits until the log matches and returns the groups of the match.
func (j *journal) await(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	for {
		j.mu.Lock()
		found, news := re.FindStringSubmatch(j.text.String()), j.news
		j.mu.Unlock()
		if found != nil {
			return found
		}
		select {
		case <-news:
		case <-late.C:
			t.Fatalf("the log never said %s:\n%s", pattern, j)
		}
	}
}

// running is a server that runs until the test ends.
type running struct {
	log        *journal
	http, grpc string
}

func runServer(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{log: &journal{news: make(chan struct{})}}
	root := newRoot()
	root.SetErr(r.log)
	root.SetArgs(append([]string{
		"serve", "--storage.path", filepath.Join(t.TempDir(), "data"), "--web.listen-address", "127.0.0.1:0", "--grpc.listen-address", "127.0.0.1:0",
	}, args...))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v\n%s", err, r.log)
		}
	})
	found := r.log.await(t, `msg=Ready http=(\S+) grpc=(\S+)`)
	r.http, r.grpc = "http://"+found[1], found[2]
	return r
}

// call sends a request and returns the status and the whole answer, headers
// included.
func (r *running) call(t *testing.T, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequest(method, r.http+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	response.Header.Write(&all)
	all.Write(text)
	return response.StatusCode, all.String()
}

// writeBody is a remote write 1.0 request of one sample now.
func writeBody(t *testing.T, at time.Time, value float64, pairs ...string) string {
	t.Helper()
	s := prompb.TimeSeries{Samples: []prompb.Sample{{Value: value, Timestamp: at.UnixMilli()}}}
	for i := 0; i < len(pairs); i += 2 {
		s.Labels = append(s.Labels, prompb.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	raw, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{s}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(s2.EncodeSnappy(nil, raw))
}

var writeHeaders = []string{"Content-Type", "application/x-protobuf", "Content-Encoding", "snappy"}
