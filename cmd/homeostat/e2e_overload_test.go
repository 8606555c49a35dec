//go:build e2e

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/protobuf/encoding/protowire"
)

// TestE2EOverload has 64 writers try to send five times what the server, on one
// core, can take. It answers 503 with Retry-After to what it does not take, goes
// on at its capacity with the rest, and is itself again within 10 s.
func TestE2EOverload(t *testing.T) {
	s := serve(t, serveOptions{config: "queue:\n  batches: 8\n", env: []string{"GOMAXPROCS=1"}})
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	capacity := s.press(t, client, 4, 0, 4*time.Second)
	overload := s.press(t, client, 64, 5*capacity.goodput(), 8*time.Second)
	t.Logf("capacity %.0f samples/s; pressed, it answered %.1f times as much, took %.0f samples/s and refused %d of %d requests",
		capacity.goodput(), overload.answered()/capacity.goodput(), overload.goodput(), overload.refused.Load(), overload.refused.Load()+overload.taken.Load())
	for _, p := range []*pressure{capacity, overload} {
		if n := p.strange.Load(); n > 0 {
			t.Errorf("%d answers were neither 204 nor 503 with Retry-After: %v", n, p.example.Load())
		}
	}
	if overload.refused.Load() == 0 {
		t.Error("nothing was refused: that was no overload")
	}
	if overload.goodput() < 0.8*capacity.goodput() {
		t.Errorf("goodput fell to %.0f samples/s from %.0f", overload.goodput(), capacity.goodput())
	}
	s.normalAgain(t, client, 10*time.Second)
	s.accountFor(t)
}

// pressure is what a crowd of writers saw.
type pressure struct {
	taken, refused, strange atomic.Int64
	example                 atomic.Value
	took                    time.Duration
}

// goodput and answered are samples a second.
func (p *pressure) goodput() float64 { return float64(fleet*p.taken.Load()) / p.took.Seconds() }

func (p *pressure) answered() float64 {
	return float64(fleet*(p.taken.Load()+p.refused.Load())) / p.took.Seconds()
}

// fleet is how many samples a request of the crowd holds.
const fleet = 500

var crowds atomic.Int64

// press has writers write, each a fleet of its own: as fast as they are answered,
// or together so many samples a second. What is refused is sent again as it is.
func (s *server) press(t *testing.T, client *http.Client, writers int, rate float64, lasting time.Duration) *pressure {
	t.Helper()
	crowd := crowds.Add(1)
	now := time.Now().UnixMilli()
	p := &pressure{}
	ctx, cancel := context.WithTimeout(t.Context(), lasting)
	defer cancel()
	began := time.Now()
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			var pace <-chan time.Time
			if rate > 0 {
				ticker := time.NewTicker(time.Duration(float64(writers) * fleet / rate * float64(time.Second)))
				defer ticker.Stop()
				pace = ticker.C
			}
			points := make([]point, fleet)
			for turn := 0; ctx.Err() == nil; {
				for i := range points {
					points[i] = point{fmt.Sprintf("crowd-%d-%d-%d", crowd, w, i), now + int64(turn), waver(i, turn)}
				}
				request := body(t, points)
				for taken := false; !taken && ctx.Err() == nil; {
					if pace != nil {
						select {
						case <-pace:
						case <-ctx.Done():
						}
					}
					taken = p.count(send(ctx, client, s.http, request))
				}
				turn++
			}
		})
	}
	all.Wait()
	p.took = time.Since(began)
	return p
}

// count takes an answer in and reports whether the request was taken.
func (p *pressure) count(a answer, err error) bool {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
	case err != nil:
		p.strange.Add(1)
		p.example.Store(err.Error())
	case a.status == http.StatusNoContent:
		p.taken.Add(1)
		return true
	case a.status == http.StatusServiceUnavailable && a.retryAfter != "":
		p.refused.Add(1)
	default:
		p.strange.Add(1)
		p.example.Store(fmt.Sprint(a.status, " ", a.text))
	}
	return false
}

// moment is the time of the last ordinary request, ms.
var moment atomic.Int64

// ordinary sends what a small fleet sends, at a time of its own.
func (s *server) ordinary(t *testing.T, client *http.Client) (answer, error) {
	t.Helper()
	at := max(time.Now().UnixMilli(), moment.Load()+1)
	moment.Store(at)
	return send(t.Context(), client, s.http, body(t, rooms(20).at(int(at), at)))
}

// normalAgain waits until the 99 % quantile of 100 ordinary requests is normal.
func (s *server) normalAgain(t *testing.T, client *http.Client, within time.Duration) {
	t.Helper()
	const normal = 50 * time.Millisecond
	eventually(t, within, "ordinary requests are answered as usual", func() error {
		var answers []answer
		for range 100 {
			a, err := s.ordinary(t, client)
			if err != nil {
				return err
			}
			if a.status != http.StatusNoContent {
				return fmt.Errorf("%d %s", a.status, a.text)
			}
			answers = append(answers, a)
		}
		if p99 := slowest(answers); p99 > normal {
			return fmt.Errorf("the p99 is %v", p99)
		}
		return nil
	})
}

// TestE2EHostile sends what no honest writer sends. Each request is answered
// within a second, costs at most 128 MB and one log line, and the server is as
// quick as before.
func TestE2EHostile(t *testing.T) {
	s := serve(t, serveOptions{})
	client := &http.Client{Timeout: 10 * time.Second}
	s.normalAgain(t, client, 5*time.Second)
	now := time.Now().UnixMilli()
	for _, c := range []struct {
		name string
		body func() []byte
		want []int // statuses
	}{
		{"not snappy", func() []byte { return []byte("hello") }, []int{400}},
		{"nothing", func() []byte { return nil }, []int{400}},
		{"a length of 4 GiB", func() []byte { return binary.AppendUvarint(nil, math.MaxUint32) }, []int{400, 413}},
		{"a bomb: 256 MiB of zeros", func() []byte { return bomb(256 << 20) }, []int{413}},
		{"a larger bomb: 1 GiB of zeros", func() []byte { return bomb(1 << 30) }, []int{413}},
		{"a bomb below the limit: 31 MiB of zeros", func() []byte { return s2.EncodeSnappy(nil, make([]byte, 31<<20)) }, []int{400}},
		{"5,000,000 empty series", func() []byte { return s2.EncodeSnappy(nil, bytes.Repeat([]byte{0x0a, 0x00}, 5_000_000)) }, []int{400, 413}},
		{"1,000,000 labels", func() []byte { return one(t, now, 1, manyLabels(1_000_000)...) }, []int{400, 413}},
		{"a label of 16 MiB", func() []byte {
			return one(t, now, 1, prompb.Label{Name: "__name__", Value: "a"}, prompb.Label{Name: "b", Value: strings.Repeat("x", 16<<20)})
		}, []int{400, 413}},
		{"bad UTF-8", func() []byte {
			return one(t, now, 1, prompb.Label{Name: "__name__", Value: "a\xff"})
		}, []int{400}},
		{"no name", func() []byte { return one(t, now, 1, prompb.Label{Name: "job", Value: "a"}) }, []int{400}},
		{"one label twice", func() []byte {
			return one(t, now, 1, prompb.Label{Name: "__name__", Value: "a"}, prompb.Label{Name: "b", Value: "1"}, prompb.Label{Name: "b", Value: "2"})
		}, []int{400}},
		{"the time 0", func() []byte { return one(t, 0, 1, prompb.Label{Name: "__name__", Value: "t0"}) }, []int{204, 400}},
		{"the largest time", func() []byte { return one(t, math.MaxInt64, 1, prompb.Label{Name: "__name__", Value: "tmax"}) }, []int{400}},
		{"the smallest time", func() []byte { return one(t, math.MinInt64, 1, prompb.Label{Name: "__name__", Value: "tmin"}) }, []int{204, 400}},
		{"a negative time", func() []byte { return one(t, -1, 1, prompb.Label{Name: "__name__", Value: "tneg"}) }, []int{204, 400}},
		{"a day ahead", func() []byte {
			return one(t, now+86_400_000, 1, prompb.Label{Name: "__name__", Value: "ahead"})
		}, []int{400}},
		{"an infinity", func() []byte { return one(t, now, math.Inf(1), prompb.Label{Name: "__name__", Value: "inf"}) }, []int{204}},
		{"a message cut short", func() []byte {
			whole, err := s2.Decode(nil, one(t, now, 1, prompb.Label{Name: "__name__", Value: "cut"}))
			if err != nil {
				t.Fatal(err)
			}
			return s2.EncodeSnappy(nil, whole[:len(whole)-3])
		}, []int{400}},
		{"groups nested 100,000 deep", func() []byte {
			return s2.EncodeSnappy(nil, bytes.Repeat(protowire.AppendTag(nil, 9, protowire.StartGroupType), 100_000))
		}, []int{400}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sent := c.body()
			lines := len(s.lines())
			before := s.resetPeak(t)
			a, err := send(t.Context(), client, s.http, sent)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			grown := s.peak(t) - before
			t.Logf("%d in %v, + %d MiB: %s", a.status, a.took.Round(time.Millisecond), grown>>20, tailOf(a.text))
			if !contains(c.want, a.status) {
				t.Errorf("answered %d, want one of %v: %s", a.status, c.want, tailOf(a.text))
			}
			if a.took > time.Second {
				t.Errorf("answered after %v", a.took)
			}
			if grown > 128<<20 {
				t.Errorf("the peak of memory grew by %d MiB", grown>>20)
			}
			if a.status == http.StatusServiceUnavailable || a.status >= 500 {
				t.Errorf("a sender that is told %d sends it again", a.status)
			}
			s.normalAgain(t, client, 5*time.Second)
			if n := len(s.lines()) - lines; n > 1 {
				t.Errorf("it wrote %d log lines", n)
			}
			if len(a.text) > 4096 {
				t.Errorf("the answer has %d bytes", len(a.text))
			}
		})
	}
	s.accountFor(t)
}

func contains(want []int, status int) bool {
	for _, w := range want {
		if w == status {
			return true
		}
	}
	return false
}

// bomb is a snappy block that says it holds n bytes and does: one literal, then
// copies of it.
func bomb(n int) []byte {
	out := binary.AppendUvarint(nil, uint64(n))
	out = append(out, 0x00, 0x00) // a literal of one byte
	for left := n - 1; left > 0; {
		length := min(left, 64)
		out = append(out, byte(length-1)<<2|2, 1, 0) // a copy of that length at offset 1
		left -= length
	}
	return out
}

// one is a request with one sample of one series.
func one(t *testing.T, at int64, value float64, labels ...prompb.Label) []byte {
	t.Helper()
	request := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: labels, Samples: []prompb.Sample{{Timestamp: at, Value: value}}}}}
	raw, err := request.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return s2.EncodeSnappy(nil, raw)
}

func manyLabels(n int) []prompb.Label {
	labels := make([]prompb.Label, n)
	for i := range labels {
		labels[i] = prompb.Label{Name: fmt.Sprintf("l%07d", i), Value: "v"}
	}
	labels[0] = prompb.Label{Name: "__name__", Value: "many"}
	return labels
}

// resetPeak forgets the peak of the server's memory and returns what is resident.
func (s *server) resetPeak(t *testing.T) int {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	return s.memory(t, "VmRSS:")
}

// peak is the most memory that was resident since resetPeak, in bytes.
func (s *server) peak(t *testing.T) int { return s.memory(t, "VmHWM:") }

func (s *server) memory(t *testing.T, field string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), field)
	number, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	kb, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("%s in /proc: %v", field, err)
	}
	return kb << 10
}

// TestE2EDiskFull fills the disk under a running server. It answers 503 and goes
// on answering readers; when there is room again it takes data again, and all
// that it had acknowledged is there.
func TestE2EDiskFull(t *testing.T) {
	const size, guard = 256 << 20, 64 << 20
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size="+strconv.Itoa(size)); err != nil {
		t.Fatalf("mounting a small tmpfs, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	s := serve(t, serveOptions{
		storage: filepath.Join(mount, "data"),
		config:  fmt.Sprintf("storage:\n  min_free_bytes: %d\n  sweep_every: 2s\n", guard),
	})
	client := &http.Client{Timeout: 10 * time.Second}
	s.normalAgain(t, client, 10*time.Second)

	hog, err := os.Create(filepath.Join(mount, "hog"))
	if err != nil {
		t.Fatal(err)
	}
	defer hog.Close()
	if _, err := io.Copy(hog, io.LimitReader(zeros{}, size)); err == nil {
		t.Fatal("the disk did not fill")
	}
	eventually(t, 10*time.Second, "a full disk is answered by 503", func() error {
		a, err := s.ordinary(t, client)
		if err != nil {
			return err
		}
		if a.status != http.StatusServiceUnavailable || a.retryAfter == "" {
			return fmt.Errorf("answered %d, Retry-After %q", a.status, a.retryAfter)
		}
		return nil
	})
	received := s.accountFor(t)
	for range 20 {
		if a, err := s.ordinary(t, client); err != nil || a.status != http.StatusServiceUnavailable {
			t.Fatalf("on a full disk: %v, %v", a, err)
		}
	}
	if now := s.accountFor(t); now != received {
		t.Errorf("%v samples count as received on a full disk", now-received)
	}
	if response, err := http.Get("http://" + s.http + "/-/healthy"); err != nil {
		t.Errorf("not healthy: %v", err)
	} else {
		response.Body.Close()
	}

	if err := os.Remove(hog.Name()); err != nil {
		t.Fatal(err)
	}
	hog.Close()
	eventually(t, 15*time.Second, "data is taken again", func() error {
		a, err := s.ordinary(t, client)
		if err != nil {
			return err
		}
		if a.status != http.StatusNoContent {
			return fmt.Errorf("answered %d: %s", a.status, a.text)
		}
		return nil
	})
	s.accountFor(t)
	s.stop(t)
	serve(t, serveOptions{storage: s.storage})
}

// zeros is an endless file of zeros.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
