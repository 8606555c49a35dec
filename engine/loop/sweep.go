package loop

import (
	"fmt"

	"github.com/homeostat/homeostat/engine"
)

// sweep stores the dirty pages, a few at a time. One pass goes over the pages
// that were dirty when it began and takes Config.SweepEvery of the ticks' time;
// then it stores the settle record and the next pass begins. It is used between
// rounds only, when everything that the pages contain is in the journal.
type sweep struct {
	cfg     Config
	engine  *engine.Engine
	journal Journal
	counts  *counts

	open  bool // a pass is under way
	begun int64
	pages []engine.PageID
	done  int // of pages

	buf  []byte
	ends []int
	out  []Page
}

func newSweep(cfg Config, e *engine.Engine, j Journal, c *counts) *sweep {
	return &sweep{cfg: cfg, engine: e, journal: j, counts: c}
}

// step stores what is due at the tick, up to Config.SweepBytes, and reports
// whether more is due. The first pass begins at the first tick.
func (s *sweep) step(tick int64) (more bool, err error) {
	if tick == 0 {
		return false, nil
	}
	if !s.open {
		s.begin(tick)
	}
	over := tick-s.begun >= s.cfg.SweepEvery.Milliseconds()
	due := s.due(tick)
	if due <= s.done && !over {
		return false, nil
	}
	if s.cfg.Admit != nil && s.cfg.Admit() != nil {
		return false, nil
	}
	if s.done < due {
		if err := s.store(due); err != nil {
			return false, err
		}
		if s.done < due {
			return true, nil
		}
	}
	if over {
		if err := s.settle(tick); err != nil {
			return false, err
		}
		s.begin(tick)
	}
	return false, nil
}

// finish stores every dirty page and the settle record. Where no page may be
// stored it says so; the log has everything that was acknowledged.
func (s *sweep) finish() error {
	if s.cfg.Admit != nil {
		if err := s.cfg.Admit(); err != nil {
			return fmt.Errorf("loop: leave out the last sweep: %w", err)
		}
	}
	_, tick := s.engine.Open()
	s.begin(tick)
	for s.done < len(s.pages) {
		if err := s.store(len(s.pages)); err != nil {
			return err
		}
	}
	return s.settle(tick)
}

func (s *sweep) begin(tick int64) {
	s.open, s.begun, s.done = true, tick, 0
	s.pages = s.engine.DirtyPages()
	s.publish()
}

// due is how many pages the pass should have stored at the tick.
func (s *sweep) due(tick int64) int {
	share := float64(tick-s.begun) / float64(s.cfg.SweepEvery.Milliseconds())
	return int(min(max(share, 0), 1) * float64(len(s.pages)))
}

// store stores pages until due are done or Config.SweepBytes are written.
func (s *sweep) store(due int) error {
	s.buf, s.ends, s.out = s.buf[:0], s.ends[:0], s.out[:0]
	from := s.done
	for s.done < due && len(s.buf) < s.cfg.SweepBytes {
		id := s.pages[s.done]
		buf, err := s.engine.AppendPage(id, s.buf)
		if err != nil {
			return fmt.Errorf("loop: write page %d of partition %d: %w", id.Number, id.Partition, err)
		}
		s.buf, s.ends = buf, append(s.ends, len(buf))
		s.done++
	}
	// The pages are cut out last, because the buffer may have moved as it grew.
	begin := 0
	for i, end := range s.ends {
		s.out = append(s.out, Page{ID: s.pages[from+i], Bytes: s.buf[begin:end:end]})
		begin = end
	}
	if err := s.journal.WritePages(s.journal.Last(), s.out); err != nil {
		return fmt.Errorf("loop: store %d pages as of sequence %d: %w", len(s.out), s.journal.Last(), err)
	}
	s.counts.add(&s.counts.stats.Pages, len(s.out))
	s.counts.add(&s.counts.stats.PageBytes, len(s.buf))
	s.publish()
	return nil
}

// settle stores the settle record, which ends a pass.
func (s *sweep) settle(tick int64) error {
	buf, err := s.engine.AppendSettle(s.buf[:0])
	if err != nil {
		return fmt.Errorf("loop: write the settle record: %w", err)
	}
	s.buf = buf
	if err := s.journal.WriteSettle(s.journal.Last(), buf); err != nil {
		return fmt.Errorf("loop: store the settle record as of sequence %d: %w", s.journal.Last(), err)
	}
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	s.counts.stats.Sweeps++
	s.counts.stats.SweptAt = tick
	return nil
}

func (s *sweep) publish() {
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	s.counts.stats.SweepPage, s.counts.stats.SweepOf = s.done, len(s.pages)
}
