package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homeostat/homeostat/engine"
)

// fakeWork is a source whose samples and progress the test says.
type fakeWork struct{ done, total atomic.Int64 }

func (*fakeWork) Next() (engine.Event, error)     { return nil, io.EOF }
func (w *fakeWork) Progress() (done, total int64) { return w.done.Load(), w.total.Load() }
func fakeScreen(w io.Writer, columns int) *screen {
	return &screen{w: w, width: func() int { return columns }}
}

func (w *fakeWork) goTo(done int64, c *counting) {
	w.done.Store(done)
	c.samples.Store(uint64(done) * 10)
}

func newWork(total int64) (w *fakeWork, c *counting) {
	w = &fakeWork{}
	w.total.Store(total)
	return w, &counting{source: w}
}

// visible is what a terminal shows after text was written to it, as far as we
// use one: line feeds, carriage returns and clearing to the end of the line.
func visible(text string) string {
	lines := []string{""}
	column := 0
	for len(text) > 0 {
		last := &lines[len(lines)-1]
		switch {
		case strings.HasPrefix(text, "\x1b[K"):
			*last, text = (*last)[:column], text[len("\x1b[K"):]
			continue
		case text[0] == '\r':
			column = 0
		case text[0] == '\n':
			lines, column = append(lines, ""), 0
		default:
			*last = (*last)[:column] + text[:1] + (*last)[min(column+1, len(*last)):]
			column++
		}
		text = text[1:]
	}
	return strings.Join(lines, "\n")
}

func TestProgressTellsRateAndTimeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		work, counted := newWork(1000)
		p := startProgress(fakeScreen(&out, 80), "replay", counted)
		for _, c := range []struct {
			done int64
			want string
		}{
			{100, "replay: 10 %, 1.00k samples, 2.00k samples/s, ETA 5s"},
			{100, "replay: 10 %, 1.00k samples, 1.00k samples/s, ETA 9s"},
			{150, "replay: 15 %, 1.50k samples, 1.00k samples/s, ETA 9s"},
			{1000, "replay: 100 %, 10.0k samples, 5.00k samples/s, ETA 0s"},
		} {
			work.goTo(c.done, counted)
			<-time.After(drawEvery)
			synctest.Wait()
			if got := visible(out.String()); got != c.want {
				t.Errorf("at %d the line is %q, want %q", c.done, got, c.want)
			}
		}
		p.stop()
		if got := visible(out.String()); got != "" {
			t.Errorf("at the end %q is left", got)
		}
	})
}

// After a slow beginning the rate and the time left are those of the last ten
// seconds.
func TestProgressForgetsWhatIsLongAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		work, counted := newWork(100_000)
		p := startProgress(fakeScreen(&out, 80), "bootstrap", counted)
		defer p.stop()
		<-time.After(time.Hour)
		for i := range int64(25) {
			work.goTo(i*100, counted)
			<-time.After(drawEvery)
			synctest.Wait()
		}
		if got, want := visible(out.String()), "bootstrap: 2 %, 24.0k samples, 2.00k samples/s, ETA 8m08s"; got != want {
			t.Errorf("the line is %q, want %q", got, want)
		}
	})
}

// A file that is sorted in memory is read to its end before its first sample.
func TestProgressOfWhatIsOnlyRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		work, counted := newWork(1000)
		p := startProgress(fakeScreen(&out, 80), "replay", counted)
		defer p.stop()
		work.done.Store(250)
		<-time.After(drawEvery)
		synctest.Wait()
		if got, want := visible(out.String()), "replay: reading, 25 %, ETA 2s"; got != want {
			t.Errorf("the line is %q, want %q", got, want)
		}
	})
}

func TestProgressFitsNarrowTerminals(t *testing.T) {
	for columns, want := range map[int]string{
		200: "replay: 25 %, 2.50k samples, 5.00k samples/s, ETA 2s",
		53:  "replay: 25 %, 2.50k samples, 5.00k samples/s, ETA 2s",
		52:  "25 %, 5.00k samples/s, ETA 2s",
		20:  "25 %, ETA 2s",
		12:  "25 %",
		4:   "",
		0:   "",
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			work, counted := newWork(1000)
			p := startProgress(fakeScreen(&out, columns), "replay", counted)
			defer p.stop()
			work.goTo(250, counted)
			<-time.After(drawEvery)
			synctest.Wait()
			if got := visible(out.String()); got != want {
				t.Errorf("in %d columns the line is %q, want %q", columns, got, want)
			}
		})
	}
}

func TestProgressGivesWayToWhatIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		work, counted := newWork(1000)
		s := fakeScreen(&out, 80)
		events := neighbour{s, &out} // stdout on the same terminal
		p := startProgress(s, "replay", counted)
		work.goTo(500, counted)
		<-time.After(drawEvery)
		synctest.Wait()
		fmt.Fprintln(events, "an event")
		fmt.Fprintln(s, "a message")
		<-time.After(drawEvery)
		synctest.Wait()
		if got, want := visible(out.String()), "an event\na message\nreplay: 50 %, 5.00k samples, 5.00k samples/s, ETA 1s"; got != want {
			t.Errorf("the terminal shows %q, want %q", got, want)
		}
		p.stop()
		fmt.Fprintln(s, "the summary")
		if got, want := visible(out.String()), "an event\na message\nthe summary\n"; got != want {
			t.Errorf("the terminal shows %q, want %q", got, want)
		}
	})
}

func TestProgressIsForTerminalsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, events bytes.Buffer
		work, counted := newWork(1000)
		s := newScreen(&out)
		if s.beside(&events) != io.Writer(&events) {
			t.Error("what is no terminal is written to by a detour")
		}
		p := startProgress(s, "replay", counted)
		work.goTo(500, counted)
		<-time.After(time.Minute)
		synctest.Wait()
		p.stop()
		if out.Len() > 0 {
			t.Errorf("%q was written", out.String())
		}
	})
}

// Work that is done before the first draw leaves no trace.
func TestShortWorkShowsNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		_, counted := newWork(1000)
		p := startProgress(fakeScreen(&out, 80), "replay", counted)
		<-time.After(drawEvery - 1)
		p.stop()
		if out.Len() > 0 {
			t.Errorf("%q was written", out.String())
		}
	})
}

func TestWhatAPersonReads(t *testing.T) {
	for n, want := range map[float64]string{
		0: "0", 7: "7", 999: "999", 999.6: "1.00k", 1234: "1.23k", 99_949: "99.9k", 99_951: "100k", 1e6: "1.00M", 41_650_000: "41.6M", 3e12: "3000G",
	} {
		if got := count(n); got != want {
			t.Errorf("count of %v is %q, want %q", n, got, want)
		}
	}
	for s, want := range map[float64]string{0: "0s", 0.2: "1s", 59.5: "1m00s", 61: "1m01s", 3599.1: "1h00m", 7500: "2h05m", 1e12: "?"} {
		if got := eta(s); got != want {
			t.Errorf("eta of %v s is %q, want %q", s, got, want)
		}
	}
}
