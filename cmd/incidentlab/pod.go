package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// settings are how an instance is to be, whole: each time they are told the
// instance becomes so. The zero value is as usual.
type settings struct {
	Slower  float64 `json:"slower,omitempty"`  // its service time is multiplied by this; 0 is 1
	Fails   float64 `json:"fails,omitempty"`   // share of requests that it fails, if more than usual
	Workers int     `json:"workers,omitempty"` // left in its pool; 0 is all
	Kept    int64   `json:"kept,omitempty"`    // bytes that it holds and does not need
	Mute    bool    `json:"mute,omitempty"`    // answers no scrape
}

// spec is what a process is told when it begins: who it is.
type spec struct {
	Service string        `json:"service"`
	Number  int           `json:"number"`
	Version string        `json:"version"`
	Work    time.Duration `json:"work_ns"` // median time that a request takes here, downstream apart
	Pool    int           `json:"pool"`    // workers
	Down    []route       `json:"down,omitempty"`
	// Where it listens. Empty is anywhere, and it says where.
	API    string `json:"api,omitempty"`
	Scrape string `json:"scrape,omitempty"`
}

// route is what an instance asks of another service.
type route struct {
	Share float64  `json:"share"` // of requests that make the call at all
	To    []string `json:"to"`    // the addresses of its instances
}

// report is a line that a process writes: where it listens, first of all, and
// then each time that it was woken late.
type report struct {
	API    string `json:"api,omitempty"`
	Scrape string `json:"scrape,omitempty"`
	Late   *late  `json:"late,omitempty"`
}

// late is a stretch of real time, in ns since the epoch, through which a timer
// that was due did not ring.
type late struct {
	From, To int64
}

// pod is an instance as the shop sees it: what it is to be, and the process that
// is so. A process that begins anew has the addresses that the one before had.
// Several events may do something to it at once.
type pod struct {
	changing sync.Mutex // holds what is below, once the shop is open

	spec     spec
	settings settings
	body     body // nil while nothing runs
	start    func(spec) (body, error)
	late     []late // of the processes that have ended
}

// body is a running process.
type body interface {
	addresses() (api, scrape string)
	tell(settings) error
	// end lets it finish what it has begun, and returns when it was late.
	end() []late
}

func newPod(s spec, start func(spec) (body, error)) *pod { return &pod{spec: s, start: start} }

// again ends the process and starts it anew.
func (p *pod) again() error {
	p.end()
	return p.begin(p.version())
}

func (p *pod) version() string {
	p.changing.Lock()
	defer p.changing.Unlock()
	return p.spec.Version
}

// begin starts the process of a version, as usual.
func (p *pod) begin(version string) (err error) {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.spec.Version, p.settings = version, settings{}
	if p.body, err = p.start(p.spec); err != nil {
		p.body = nil
		return fmt.Errorf("starting instance %d of %s: %w", p.spec.Number, p.spec.Service, err)
	}
	p.spec.API, p.spec.Scrape = p.body.addresses()
	return nil
}

// end ends the process, if there is one.
func (p *pod) end() {
	p.changing.Lock()
	defer p.changing.Unlock()
	if p.body != nil {
		p.late = append(p.late, p.body.end()...)
		p.body = nil
	}
}

// become tells the process how to be.
func (p *pod) become(s settings) error {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.settings = s
	if p.body == nil {
		return nil // it will begin as usual
	}
	if err := p.body.tell(s); err != nil {
		return fmt.Errorf("telling instance %d of %s: %w", p.spec.Number, p.spec.Service, err)
	}
	return nil
}

// process is this program, run once more as an instance.
type process struct {
	cmd    *exec.Cmd
	orders io.WriteCloser
	where  report
	ended  chan struct{} // closed when it is gone; err and late are complete then
	err    error
	late   []late
	failed func(error) // called when it ends unasked
	asked  sync.Once
}

const (
	patience = 10 * time.Second // for a process to begin, or to end
	maxLate  = 10_000           // stretches that one process may tell of
)

// startProcess starts one; failed is called when it ends before it is told to.
func startProcess(s spec, failed func(error)) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(program, instanceCommand), ended: make(chan struct{}), failed: failed}
	p.cmd.Stderr = os.Stderr
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	if p.orders, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	told, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	began := make(chan error, 1)
	go p.listen(told, began)
	err = json.NewEncoder(p.orders).Encode(s)
	if err == nil {
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case err = <-began:
		case <-late.C:
			err = errors.New("it says nothing")
		}
	}
	if err != nil {
		p.end()
		return nil, errors.Join(err, p.err)
	}
	return p, nil
}

// listen reads what the process says until it is gone.
func (p *process) listen(told io.Reader, began chan<- error) {
	defer close(p.ended)
	lines := bufio.NewScanner(told)
	first := true
	for lines.Scan() {
		var r report
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			break
		}
		switch {
		case first:
			p.where, first = r, false
			began <- nil
		case r.Late != nil && len(p.late) < maxLate:
			p.late = append(p.late, *r.Late)
		}
	}
	p.err = p.cmd.Wait()
	if first {
		began <- errors.New("it ended")
	}
	p.asked.Do(func() { p.failed(fmt.Errorf("an instance ended by itself: %w", p.err)) })
}

func (p *process) addresses() (api, scrape string) { return p.where.API, p.where.Scrape }

func (p *process) tell(s settings) error { return json.NewEncoder(p.orders).Encode(s) }

func (p *process) end() []late {
	p.asked.Do(func() {})
	p.orders.Close()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	return p.late
}
