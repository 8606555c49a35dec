package store

import (
	"errors"
	"fmt"

	"github.com/homeostat/homeostat/engine"
)

// RestoreReport says what a start found.
type RestoreReport struct {
	Pages   int      // loaded
	Older   int      // of those, loaded from the version before the newest
	Lost    []string // pages without a good version: their series learn anew
	Settled uint64   // as-of of the settle record, 0 when there was none
	Aged    bool     // the settle record is not the newest that was written
	From    uint64   // the first record redone, 0 when none was
	Redone  int      // records redone
	Gone    int      // pages that the last checkpoint had and of which there is no trace: they learn anew too
	Missing uint64   // records that should have been redone and are no longer kept
	Clean   bool     // the last run ended in order
	Cut     Cut      // what opening took off the end of the log
}

// Restore brings an empty engine to where the store left it: the newest good
// version of each page, the settle record, and the records of the log after
// them. It comes before anything is written. One rotten page is no reason not to
// start; a settle record that cannot be made again is, because it holds what
// people said.
func (s *Store) Restore(e *engine.Engine) (RestoreReport, error) {
	s.write.Lock()
	defer s.write.Unlock()
	r := restore{Store: s, engine: e}
	r.RestoreReport.Cut = s.log.cut
	if err := r.run(); err != nil {
		return r.RestoreReport, fmt.Errorf("restore from %s: %w", s.dir, err)
	}
	return r.RestoreReport, nil
}

type restore struct {
	RestoreReport
	*Store
	engine *engine.Engine
	oldest uint64 // as far as every page contains the log
	raw    uint64 // the same, by the as-of of each page alone
}

func (r *restore) run() error {
	settle, err := sole(r.pages.db, settlePrefix)
	if err != nil {
		return err
	}
	if len(settle.versions) > 0 {
		// Which records every page contains is known of the newest versions; the
		// older record's word on it holds all the same.
		r.pages.swept = settle.versions[0].swept
	}
	r.oldest, r.raw = r.log.Last(), r.log.Last()
	if err := eachStored(r.pages.db, pagePrefix, r.page); err != nil {
		return err
	}
	r.Gone = max(0, int(r.log.noted.pages)-r.Pages-len(r.Lost))
	if err := r.settle(settle); err != nil {
		return err
	}
	r.Aged = r.Aged || r.Settled < r.log.noted.settled
	if r.Gone > 0 || r.Aged {
		// Badger has lost keys; a page that looks like the newest may not be.
		r.oldest, r.pages.swept = r.raw, 0
	}
	if err := r.redo(); err != nil {
		return err
	}
	return r.pages.order(0, false)
}

// page loads the newest good version of a page.
func (r *restore) page(found stored) error {
	why := found.why
	for i, v := range found.versions {
		if v.asOf > r.log.Last() {
			return (Damage{File: "pages", Why: fmt.Sprintf("page %d of partition %d contains record %d and the log ends at %d",
				v.id.Number, v.id.Partition, v.asOf, r.log.Last())}).err()
		}
		if err := r.engine.LoadPage(v.id, v.bytes); err != nil {
			why = err
			continue
		}
		r.Pages++
		asOf := v.asOf
		if newest := i == 0 && found.bad == 0; newest {
			asOf = max(asOf, r.pages.swept)
		} else {
			r.Older++
		}
		r.oldest, r.raw = min(r.oldest, asOf), min(r.raw, v.asOf)
		known := version{turn: v.turn, asOf: asOf, bytes: int64(len(v.bytes)) + pageHead}
		r.pages.known[v.id] = known
		r.pages.held.Add(known.bytes)
		return nil
	}
	r.Lost = append(r.Lost, fmt.Sprintf("page %d of partition %d: %v", found.id.Number, found.id.Partition, why))
	return nil
}

func (r *restore) settle(found stored) error {
	why := found.why
	for i, v := range found.versions {
		if v.asOf > r.log.Last() {
			return (Damage{File: "pages", Why: fmt.Sprintf("the settle record contains record %d and the log ends at %d", v.asOf, r.log.Last())}).err()
		}
		record, err := unfold(v.bytes)
		if err == nil {
			err = r.engine.LoadSettle(record)
		}
		if err != nil {
			why = err
			continue
		}
		r.Settled, r.Aged = v.asOf, i > 0 || found.bad > 0
		r.pages.settle = version{turn: v.turn, asOf: v.asOf, bytes: int64(len(v.bytes)) + pageHead}
		r.pages.held.Add(r.pages.settle.bytes)
		return nil
	}
	if why != nil && r.log.First() > 1 {
		return (Damage{File: "pages", Why: fmt.Sprintf("no settle record is good, and the log no longer has all of it: %v", why)}).err()
	}
	return nil
}

// redo applies the records after the oldest as-of. Those that the settle record
// contains concern pages only.
func (r *restore) redo() error {
	order, err := sole(r.pages.db, orderPrefix)
	if err != nil {
		return err
	}
	last := r.log.Last()
	r.Clean = len(order.versions) > 0 && order.versions[0].asOf == last && r.Settled == last
	if r.Clean && r.Older == 0 && !r.Aged {
		r.pages.swept = last
		return nil
	}
	from := min(r.oldest, r.Settled) + 1
	if r.Pages == 0 {
		from = 1
	}
	if from > last {
		return nil
	}
	if first := r.log.First(); from < first {
		r.Missing = first - from
		if err := r.redoLabels(first); err != nil {
			return err
		}
	}
	return scanRecords(r.log, from, func(seq uint64, rec engine.Record) error {
		if r.From == 0 {
			r.From = seq
		}
		return r.apply(seq, rec)
	})
}

func (r *restore) apply(seq uint64, rec engine.Record) error {
	r.Redone++
	redo := r.engine.Redo
	if seq <= r.Settled {
		redo = r.engine.RedoPage
	}
	if err := redo(rec); err != nil {
		return fmt.Errorf("redo record %d: %w", seq, err)
	}
	return nil
}

// errEnough ends a scan early.
var errEnough = errors.New("enough")

// redoLabels applies what people said in records that retention took, where the
// settle record does not contain it.
func (r *restore) redoLabels(before uint64) error {
	err := scanRecords(r.labels, r.Settled+1, func(seq uint64, rec engine.Record) error {
		if seq >= before {
			return errEnough
		}
		return r.apply(seq, rec)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
