package store

import (
	"fmt"
	"sync"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
)

// Memory is a journal that lasts as long as the process, for replays and tests.
// It has the interface of a Store.
type Memory struct {
	mu      sync.RWMutex
	records []engine.Record
	pages   map[engine.PageID][]byte
	asOf    map[engine.PageID]uint64
	settle  []byte
	settled uint64
}

// NewMemory makes an empty one.
func NewMemory() *Memory {
	return &Memory{pages: map[engine.PageID][]byte{}, asOf: map[engine.PageID]uint64{}}
}

// Append keeps the records; they are immutable.
func (m *Memory) Append(records []engine.Record) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := uint64(len(m.records)) + 1
	m.records = append(m.records, records...)
	return first, nil
}

// Last is the sequence of the newest record, 0 for an empty log.
func (m *Memory) Last() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return uint64(len(m.records))
}

// First is 1, or 0 for an empty log.
func (m *Memory) First() uint64 { return min(1, m.Last()) }

// Scan is Store.Scan.
func (m *Memory) Scan(from uint64, fn func(seq uint64, r engine.Record) error) error {
	m.mu.RLock()
	records := m.records
	m.mu.RUnlock()
	for seq := max(from, 1); seq <= uint64(len(records)); seq++ {
		if err := fn(seq, records[seq-1]); err != nil {
			return err
		}
	}
	return nil
}

// WritePages keeps copies.
func (m *Memory) WritePages(asOf uint64, pages []loop.Page) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range pages {
		m.pages[p.ID] = append([]byte(nil), p.Bytes...)
		m.asOf[p.ID] = asOf
	}
	return nil
}

// WriteSettle keeps a copy.
func (m *Memory) WriteSettle(asOf uint64, record []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle, m.settled = append([]byte(nil), record...), asOf
	return nil
}

// Admit always does.
func (m *Memory) Admit() error { return nil }

// Restore is Store.Restore after a crash: everything after the oldest page is
// redone.
func (m *Memory) Restore(e *engine.Engine) (RestoreReport, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	rep := RestoreReport{Settled: m.settled}
	oldest := m.settled
	for id, b := range m.pages {
		if err := e.LoadPage(id, b); err != nil {
			return rep, fmt.Errorf("store: page %d of partition %d: %w", id.Number, id.Partition, err)
		}
		rep.Pages++
		oldest = min(oldest, m.asOf[id])
	}
	if m.settle != nil {
		if err := e.LoadSettle(m.settle); err != nil {
			return rep, fmt.Errorf("store: settle record: %w", err)
		}
	}
	for seq := oldest + 1; seq <= uint64(len(m.records)); seq++ {
		redo := e.Redo
		if seq <= m.settled {
			redo = e.RedoPage
		}
		if rep.From == 0 {
			rep.From = seq
		}
		rep.Redone++
		if err := redo(m.records[seq-1]); err != nil {
			return rep, fmt.Errorf("store: redo record %d: %w", seq, err)
		}
	}
	return rep, nil
}
