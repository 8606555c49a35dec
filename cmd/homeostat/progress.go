package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/homeostat/homeostat/engine"
)

// screen is where messages go, with a line of progress under them when that is a
// terminal. What is written to it, or to a writer that stands on the same
// terminal, first clears the line.
type screen struct {
	mu    sync.Mutex
	w     io.Writer
	width func() int // of the terminal, in columns; nil when it is none
	shown bool
}

// newScreen is a screen on w, with a line of progress if w is a terminal that
// can clear a line.
func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if fd, ok := terminal(w); ok && os.Getenv("TERM") != "dumb" {
		s.width = func() int {
			columns, _, err := term.GetSize(fd)
			if err != nil {
				return 0
			}
			return columns
		}
	}
	return s
}

func terminal(w io.Writer) (fd int, ok bool) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, false
	}
	return int(f.Fd()), term.IsTerminal(int(f.Fd()))
}

// Write writes a message.
func (s *screen) Write(b []byte) (int, error) { return s.writeTo(s.w, b) }

func (s *screen) writeTo(w io.Writer, b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	return w.Write(b)
}

// clearLine goes back to the beginning of the line and clears it.
const clearLine = "\r\x1b[K"

func (s *screen) erase() {
	if s.shown {
		_, _ = io.WriteString(s.w, clearLine)
		s.shown = false
	}
}

// show replaces the line by the first of the texts that fits, or by none.
func (s *screen) show(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	columns := s.width()
	for _, text := range texts {
		// A line that fills the last column would wrap on some terminals.
		if len(text) < columns {
			s.shown = true
			_, _ = io.WriteString(s.w, clearLine+text)
			return
		}
	}
	s.erase()
}

func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
}

// beside is w, whose writes clear the line first if w is a terminal.
func (s *screen) beside(w io.Writer) io.Writer {
	if _, ok := terminal(w); !ok || s.width == nil {
		return w
	}
	return neighbour{s, w}
}

type neighbour struct {
	screen *screen
	w      io.Writer
}

func (n neighbour) Write(b []byte) (int, error) { return n.screen.writeTo(n.w, b) }

// counting is a source whose samples are counted.
type counting struct {
	source
	samples atomic.Uint64
}

// Next is the source's.
func (c *counting) Next() (engine.Event, error) {
	ev, err := c.source.Next()
	if b, ok := ev.(*engine.Batch); ok {
		c.samples.Add(uint64(len(b.Samples) + len(b.Histograms)))
	}
	return ev, err
}

// The line is drawn twice a second, and tells of the last ten seconds.
const (
	drawEvery = 500 * time.Millisecond
	window    = 20
)

// progress is a line of progress that is drawn until it is stopped.
type progress struct {
	screen *screen
	name   string
	source *counting
	past   []mark // the oldest first, at most window of them
	end    chan struct{}
	ended  chan struct{}
}

// mark is how far the work was.
type mark struct {
	at          time.Time
	samples     uint64
	done, total int64
}

// startProgress draws the progress of the source on the screen, if that is a
// terminal.
func startProgress(s *screen, name string, source *counting) *progress {
	p := &progress{screen: s, name: name, source: source, end: make(chan struct{}), ended: make(chan struct{})}
	if s.width == nil {
		close(p.ended)
		return p
	}
	p.past = append(p.past, p.now())
	go p.run()
	return p
}

func (p *progress) run() {
	defer close(p.ended)
	next := time.NewTicker(drawEvery)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			p.draw()
		case <-p.end:
			p.screen.clear()
			return
		}
	}
}

// stop clears the line. It is called once.
func (p *progress) stop() {
	close(p.end)
	<-p.ended
}

func (p *progress) now() mark {
	m := mark{at: time.Now(), samples: p.source.samples.Load()}
	if s, ok := p.source.source.(interface{ Progress() (done, total int64) }); ok {
		m.done, m.total = s.Progress()
	}
	return m
}

func (p *progress) draw() {
	m := p.now()
	p.screen.show(lines(p.name, p.past[0], m)...)
	if p.past = append(p.past, m); len(p.past) > window {
		p.past = p.past[1:]
	}
}

// lines is what there is to say of the work between two marks, the longest
// first.
func lines(name string, from, to mark) []string {
	took := to.at.Sub(from.at).Seconds()
	samples := count(float64(to.samples)) + " samples"
	rate := count(float64(to.samples-from.samples)/took) + " samples/s"
	if to.total <= 0 {
		return []string{name + ": " + samples + ", " + rate, samples}
	}
	share := float64(to.done) / float64(to.total)
	percent := fmt.Sprintf("%d %%", int(100*min(1, share)))
	left := "ETA ?"
	if speed := float64(to.done-from.done) / took; speed > 0 {
		left = "ETA " + eta(float64(to.total-to.done)/speed)
	}
	if to.samples == 0 {
		// What is sorted first gives no sample until all of it was read.
		return []string{name + ": reading, " + percent + ", " + left, percent + ", " + left, percent}
	}
	return []string{
		name + ": " + percent + ", " + samples + ", " + rate + ", " + left,
		percent + ", " + rate + ", " + left,
		percent + ", " + left,
		percent,
	}
}

// count is a number of three digits with k, M or G.
func count(n float64) string {
	unit := ""
	for _, u := range []string{"k", "M", "G"} {
		if n < 999.5 {
			break
		}
		n, unit = n/1000, u
	}
	switch {
	case unit == "" || n >= 99.95:
		return fmt.Sprintf("%.0f%s", n, unit)
	case n >= 9.995:
		return fmt.Sprintf("%.1f%s", n, unit)
	}
	return fmt.Sprintf("%.2f%s", n, unit)
}

// eta is a time to wait, in its two largest units.
func eta(seconds float64) string {
	const most = 1000 * 3600
	s := int(math.Ceil(min(seconds, most)))
	switch {
	case s >= most:
		return "?"
	case s >= 3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	case s >= 60:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%ds", s)
}
