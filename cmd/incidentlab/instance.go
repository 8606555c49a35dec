package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// instanceCommand makes this program an instance of a service. The shop starts
// them; it is not for people.
const instanceCommand = "instance"

// beInstance is an instance from its spec, the first thing on the input, to the
// end of the input; settings come in between.
func beInstance(ctx context.Context, in io.Reader, out io.Writer) error {
	if _, err := heldBytes(); err != nil {
		return fmt.Errorf("an instance tells what the kernel says of its memory: %w", err)
	}
	orders := json.NewDecoder(in)
	var s spec
	if err := orders.Decode(&s); err != nil {
		return fmt.Errorf("reading who it is: %w", err)
	}
	i := newInstance(s)
	if err := i.listen(s.API, s.Scrape); err != nil {
		return err
	}
	defer i.stop()
	var said sync.Mutex
	say := func(r report) {
		said.Lock()
		defer said.Unlock()
		_ = json.NewEncoder(out).Encode(r) // whom it is told is gone when this fails, and then so is the input
	}
	say(report{API: i.api.Addr().String(), Scrape: i.scrape.Addr().String()})

	ctx, cancel := context.WithCancel(ctx)
	var aside sync.WaitGroup
	defer aside.Wait()
	defer cancel()
	aside.Go(func() { watchTimers(ctx, func(l late) { say(report{Late: &l}) }) })
	aside.Go(func() { giveBack(ctx) })
	for {
		var to settings
		err := orders.Decode(&to)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading what to be: %w", err)
		}
		i.become(ctx, to, &aside)
	}
}

// become makes an instance as it is told to be.
func (in *instance) become(ctx context.Context, to settings, aside *sync.WaitGroup) {
	in.state.Store(&to)
	in.keep(to.Kept)
	workers := to.Workers
	if workers == 0 {
		workers = in.pool
	}
	if workers != int(in.workers.Swap(int64(workers))) {
		aside.Go(func() { in.shrink(ctx, workers) })
	}
}

// keep holds so many bytes in all, each page of them written to.
func (in *instance) keep(bytes int64) {
	if more := bytes - in.keptBytes; more > 0 {
		in.kept = append(in.kept, touched(make([]byte, more)))
		in.keptBytes = bytes
	}
}

// touched writes to each page of a buffer, so that it is memory and not only
// addresses.
func touched(b []byte) []byte {
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	return b
}

// giveBackEvery is how often an instance gives memory that it does not need back
// to the kernel. A Go program does so over minutes; with time compressed, those
// would be a day of the recording.
const giveBackEvery = 3 * time.Second

func giveBack(ctx context.Context) {
	beat := time.NewTicker(giveBackEvery)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			debug.FreeOSMemory()
		}
	}
}

// stallAfter is how late a timer may ring: a busy processor is a few
// milliseconds late, and what takes longer is seen in the shop's latencies.
const stallAfter = 20 * time.Millisecond

// watchTimers tells of each time that a timer rang late, until ctx ends.
func watchTimers(ctx context.Context, tell func(late)) {
	const beat = 20 * time.Millisecond
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		now := time.Now()
		if now.Sub(last)-beat >= stallAfter {
			tell(late{last.Add(beat).UnixNano(), now.UnixNano()})
		}
		last = now
	}
}

// heldBytes is the memory that the process holds, as the kernel counts it: pages
// in memory that are not backed by a file. It is what a container's working set
// is, but for the cache of files, of which an instance has none.
func heldBytes() (float64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "\nRssAnon:")
	amount, _, found := strings.Cut(rest, " kB\n")
	kib, err := strconv.ParseInt(strings.TrimSpace(amount), 10, 64)
	if !found || err != nil {
		return 0, fmt.Errorf("/proc/self/status has no RssAnon: %w", err)
	}
	return float64(kib << 10), nil
}

// usedSeconds is the processor time that the process has used.
func usedSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// listenAt listens at an address that was in use a moment ago.
func listenAt(address string) (net.Listener, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	deadline := time.Now().Add(2 * time.Second)
	for {
		l, err := net.Listen("tcp", address)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return l, err
		}
		again := time.NewTimer(20 * time.Millisecond)
		<-again.C
	}
}
