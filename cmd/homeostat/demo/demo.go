package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/homeostat/homeostat/benchmarks/scorecard"
)

// Config says what to show.
type Config struct {
	// Recordings holds NAME.om.zst (or .om.gz, or .om) and NAME.truth.json of
	// each name in Names.
	Recordings fs.FS
	Names      []string // in the order in which they are shown
	// Where says in words where the recordings come from.
	Where string
	Style Style
	Out   io.Writer
	// Report takes the report page; nil when none is wanted. ReportName is its
	// name in the output.
	Report     io.Writer
	ReportName string
	// Now is the clock for how long it took. Default time.Now.
	Now func() time.Time
}

// ErrUnknown says that a recording of that name is not there.
var ErrUnknown = errors.New("no such recording")

// story is all that is told of one recording.
type story struct {
	rec    *recording
	pass   *pass
	scenes []*scene
}

// Result is what a run came to.
type Result struct {
	Cards  []scorecard.Card // of each recording, in order
	Sum    scorecard.Sum
	Second *scorecard.Card // of the recording with one label, nil when there was none
	Took   time.Duration
}

// Run shows the recordings. It ends with ctx's error when ctx ends.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Style.Width = max(cfg.Style.Width, MinWidth)
	s := &screen{w: cfg.Out, style: cfg.Style}
	began := cfg.Now()
	s.opening(&cfg)
	stories, err := tellAll(ctx, &cfg, s)
	if err != nil {
		return nil, err
	}
	out := &Result{}
	for _, st := range stories {
		out.Cards = append(out.Cards, st.pass.card)
		out.Sum.Add(&st.pass.card)
	}
	s.card(stories, &out.Sum)
	s.status("replaying once more, with a label")
	lessons, err := teach(ctx, stories)
	s.status("")
	if err != nil {
		return nil, err
	}
	s.lessons(stories, lessons)
	if len(lessons) > 0 {
		out.Second = &lessons[0].after.card
	}
	if cfg.Report != nil {
		if err := writeReport(cfg.Report, &cfg, stories, &out.Sum, lessons); err != nil {
			return nil, err
		}
	}
	out.Took = cfg.Now().Sub(began)
	s.closing(&cfg, stories, out.Took)
	if s.err != nil {
		return nil, fmt.Errorf("writing: %w", s.err)
	}
	return out, nil
}

// tellAll replays the recordings, several at one time, and tells of each in
// their order as soon as it and those before it are done.
func tellAll(ctx context.Context, cfg *Config, s *screen) ([]*story, error) {
	done := make([]chan *story, len(cfg.Names))
	for i := range done {
		done[i] = make(chan *story, 1)
	}
	var share atomic.Int64 // of all work, in thousandths of a recording
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(min(runtime.GOMAXPROCS(0), maxWorkers) + 1)
	var stories []*story
	workers.Go(func() error {
		beat := time.NewTicker(100 * time.Millisecond)
		defer beat.Stop()
		for i := range cfg.Names {
			st, err := s.await(ctx, done[i], beat.C, &share, cfg.Names)
			if err != nil {
				return err
			}
			s.story(i+1, len(cfg.Names), st)
			stories = append(stories, st)
		}
		return nil
	})
	for i, name := range cfg.Names {
		workers.Go(func() error {
			st, err := watch(ctx, cfg, name, &share)
			if err == nil {
				done[i] <- st
			}
			return err
		})
	}
	if err := workers.Wait(); err != nil {
		s.status("")
		return nil, err
	}
	return stories, nil
}

// maxWorkers bounds the recordings in memory at one time.
const maxWorkers = 4

// await waits for a story and shows meanwhile how far all of them are.
func (s *screen) await(ctx context.Context, done <-chan *story, beat <-chan time.Time, share *atomic.Int64, names []string) (*story, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case st := <-done:
			s.status("")
			return st, nil
		case <-beat:
			s.status(fmt.Sprintf("replaying: %d %%", share.Load()/int64(10*len(names))))
		}
	}
}

// watch replays one recording and films what is worth a picture: for a terminal
// one scene, for the report all.
func watch(ctx context.Context, cfg *Config, name string, share *atomic.Int64) (*story, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	rec, err := load(cfg.Recordings, name)
	if err != nil {
		return nil, err
	}
	st := &story{rec: rec}
	told := int64(0)
	progress := func(events int) {
		now := 900 * int64(events) / int64(max(1, len(rec.events)))
		share.Add(now - told)
		told = now
	}
	if st.pass, err = rec.run(ctx, nil, progress); err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	st.scenes = rec.scenes(st.pass)
	if poster := st.poster(); cfg.Report == nil && poster != nil {
		st.scenes = []*scene{poster}
	}
	if err := rec.film(ctx, st.scenes); err != nil {
		return nil, err
	}
	share.Add(1000 - told)
	return st, nil
}

// List writes a line for each recording.
func List(cfg Config) error {
	s := &screen{w: cfg.Out, style: cfg.Style}
	for _, name := range cfg.Names {
		text, err := fs.ReadFile(cfg.Recordings, name+truthSuffix)
		if err != nil {
			return fmt.Errorf("recording %s: %w", name, err)
		}
		t, err := scorecard.Parse(text)
		if err != nil {
			return err
		}
		var kinds []string
		for _, f := range t.Faults {
			kinds = append(kinds, string(f.Kind))
		}
		for _, f := range t.Nuisances {
			kinds = append(kinds, "harmless "+string(f.Kind))
		}
		s.para("", 2, piece{name, bold}, in(plain, "  %s: %s", span(t.End.Sub(t.Start)), strings.Join(kinds, ", ")))
	}
	return s.err
}

// Choose is the names that were asked for, all of them when none was.
func Choose(names, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return names, nil
	}
	for _, a := range asked {
		if !slices.Contains(names, a) {
			return nil, fmt.Errorf("%w: %q; there are %s", ErrUnknown, a, strings.Join(names, ", "))
		}
	}
	return asked, nil
}
