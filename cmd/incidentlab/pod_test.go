package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// runningPod is a pod with a real process.
func runningPod(t *testing.T, s spec) *pod {
	t.Helper()
	p := newPod(s, func(s spec) (body, error) { return startProcess(s, func(err error) { t.Error(err) }) })
	if err := p.begin("v1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.end()
		http.DefaultClient.CloseIdleConnections()
	})
	return p
}

// ask sends a request and says what was answered.
func ask(t *testing.T, address, path string) (code int, text string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// scrapedOf reads one metric from an instance, by the beginning of its line.
func scrapedOf(t *testing.T, p *pod, metric string) float64 {
	t.Helper()
	_, text, err := ask(t, p.spec.Scrape, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if rest, is := strings.CutPrefix(line, metric); is && strings.HasPrefix(rest, "{") {
			fields := strings.Fields(line)
			v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return v
		}
	}
	t.Fatalf("%s is not in %s", metric, text)
	return 0
}

// within waits for something that a process does by itself.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline, beat := time.Now().Add(20*time.Second), time.NewTicker(20*time.Millisecond)
	defer beat.Stop()
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("in twenty seconds it was not so that %s", what)
		}
		<-beat.C
	}
}

// TestAProcessHoldsWhatItIsToldTo is the leak, and its end: the kernel counts
// the bytes, and a new process has none of them and the same addresses.
func TestAProcessHoldsWhatItIsToldTo(t *testing.T) {
	p := runningPod(t, spec{Service: cart, Work: time.Millisecond, Pool: 4})
	held := func() float64 { return scrapedOf(t, p, "container_memory_working_set_bytes") / (1 << 20) }
	before := held()
	if before < 1 || before > 40 {
		t.Errorf("an idle instance holds %.1f MiB", before)
	}
	if err := p.become(settings{Kept: 30 << 20}); err != nil {
		t.Fatal(err)
	}
	within(t, "it holds 30 MiB more", func() bool { return held() > before+29 })
	was, cpu := p.spec, scrapedOf(t, p, "container_cpu_usage_seconds_total")
	if cpu <= 0 {
		t.Errorf("it has used %v s of a processor", cpu)
	}
	if err := p.again(); err != nil {
		t.Fatal(err)
	}
	if p.spec.API != was.API || p.spec.Scrape != was.Scrape {
		t.Errorf("it was at %s and %s and is at %s and %s", was.API, was.Scrape, p.spec.API, p.spec.Scrape)
	}
	if after := held(); after > before+20 {
		t.Errorf("the new process holds %.1f MiB, the old one began with %.1f", after, before)
	}
}

// TestAProcessIsAsItIsTold goes through what an instance can be told.
func TestAProcessIsAsItIsTold(t *testing.T) {
	p := runningPod(t, spec{Service: payment, Number: 2, Work: time.Millisecond, Pool: 4})
	if code, text, err := ask(t, p.spec.Scrape, "/metrics"); err != nil || code != 200 || !strings.Contains(text, `shop_build_info{pod="payment-7d9c5b6f4d-q2mtv",version="v1"} 1`) {
		t.Errorf("it answers a scrape with %d, %v, %s", code, err, text)
	}
	become := func(s settings) {
		t.Helper()
		if err := p.become(s); err != nil {
			t.Fatal(err)
		}
	}
	become(settings{Fails: 1})
	within(t, "it fails", func() bool {
		code, _, err := ask(t, p.spec.API, "/")
		return err == nil && code == 500
	})
	if got := scrapedOf(t, p, `http_requests_total`); got < 0 {
		t.Errorf("it counted %v requests", got)
	}
	become(settings{Mute: true})
	within(t, "it answers no scrape", func() bool {
		_, _, err := ask(t, p.spec.Scrape, "/metrics")
		return err != nil
	})
	become(settings{Slower: 300})
	within(t, "it is slow", func() bool {
		began := time.Now()
		_, _, err := ask(t, p.spec.API, "/")
		return err == nil && time.Since(began) > 50*time.Millisecond
	})
	p.end()
	if _, _, err := ask(t, p.spec.API, "/"); err == nil {
		t.Error("a process that was ended answers")
	}
	if err := p.become(settings{Fails: 1}); err != nil {
		t.Errorf("what is gone can be told nothing, and that is no error: %v", err)
	}
}

// TestACallGoesToTheNextInstance when one cannot be reached, as it is while it
// begins anew.
func TestACallGoesToTheNextInstance(t *testing.T) {
	p := runningPod(t, spec{Service: payment, Work: time.Millisecond, Pool: 4})
	gone := runningPod(t, spec{Service: payment, Number: 1, Work: time.Millisecond, Pool: 4})
	gone.end()
	c := newCaller(route{Share: 1, To: []string{p.spec.API, gone.spec.API}})
	defer c.http.CloseIdleConnections()
	failed := 0
	for range 50 {
		if c.call(t.Context()) != nil {
			failed++
		}
	}
	if failed > 5 { // two in a thousand fail on any day
		t.Errorf("%d of 50 calls failed while one of two instances was there", failed)
	}
	p.end()
	if err := c.call(t.Context()); err == nil {
		t.Error("a call succeeded with nobody there")
	}
}

// TestAProcessThatEndsByItselfIsTold kills one.
func TestAProcessThatEndsByItselfIsTold(t *testing.T) {
	ended := make(chan error, 1)
	b, err := startProcess(spec{Service: cart, Version: "v1", Pool: 1}, func(err error) { ended <- err })
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("the error is %v", err)
	}
	b.end()
}

// TestAProcessWithoutAPlaceIsAnError has an address that is taken, by itself.
func TestAProcessWithoutAPlaceIsAnError(t *testing.T) {
	p := runningPod(t, spec{Service: cart, Pool: 1})
	_, err := startProcess(spec{Service: cart, Version: "v1", Pool: 1, API: p.spec.API}, func(error) {})
	if err == nil || !strings.Contains(err.Error(), "it ended") {
		t.Errorf("the error is %v", err)
	}
}

// TestAShopThatCannotBeOpenedIsClosed has a second process that does not start.
func TestAShopThatCannotBeOpenedIsClosed(t *testing.T) {
	var bodies []*counted
	s := newShop(func(spec) (body, error) {
		if len(bodies) == 4 {
			return nil, errors.New("no more")
		}
		bodies = append(bodies, &counted{})
		return bodies[len(bodies)-1], nil
	})
	if err := s.open(); err == nil || !strings.Contains(err.Error(), "starting instance 1 of cart: no more") {
		t.Errorf("the error is %v", err)
	}
	for n, b := range bodies {
		if b.ended != 1 {
			t.Errorf("process %d was ended %d times", n, b.ended)
		}
	}
}

type counted struct {
	sketch
	ended int
}

func (b *counted) end() []late {
	b.ended++
	return nil
}

// TestStallsThatTouchAreOne puts together what several processes say.
func TestStallsThatTouchAreOne(t *testing.T) {
	c := clock{began: time.Unix(1000, 0), start: start, compression: 240}
	at := func(ms int64) int64 { return c.began.Add(time.Duration(ms) * time.Millisecond).UnixNano() }
	got := stalls(c, []late{
		{at(5000), at(5030)}, {at(1000), at(1050)}, {at(1010), at(1040)}, {at(1200), at(1225)}, {at(9000), at(9021)},
	})
	want := []scorecard.Stall{
		{Start: c.start.Add(240 * time.Second), End: c.start.Add(294 * time.Second), Longest: 50},
		{Start: c.start.Add(1200 * time.Second), End: c.start.Add(1207 * time.Second), Longest: 30},
		{Start: c.start.Add(2160 * time.Second), End: c.start.Add(2165 * time.Second), Longest: 21},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the stalls are\n%v\nwant\n%v", got, want)
	}
}
