package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/dgraph-io/badger/v4"

	"github.com/homeostat/homeostat/engine"
)

// RestoreReport says what a start found.
type RestoreReport struct {
	Pages   int      // loaded
	Older   int      // of those, loaded from the version before the newest
	Lost    []string // pages without a good version: their series learn anew
	Settled uint64   // as-of of the settle record, 0 when there was none
	Redone  int      // records redone
	Clean   bool     // the last run ended in order
}

// Restore brings an empty engine to where the store left it: the newest good
// version of each page, the settle record, and the records of the log after
// them.
func (s *Store) Restore(e *engine.Engine) (RestoreReport, error) {
	var rep RestoreReport
	oldest := uint64(math.MaxUint64)
	err := s.pages.View(func(t *badger.Txn) error {
		var err error
		if oldest, err = s.loadPages(t, e, &rep); err != nil {
			return err
		}
		return s.loadSettle(t, e, &rep)
	})
	if err != nil {
		return rep, err
	}
	if rep.Clean && len(rep.Lost) == 0 && rep.Older == 0 {
		return rep, s.forgetClean()
	}
	from := min(oldest, rep.Settled) + 1
	if rep.Pages == 0 || rep.Settled == 0 {
		from = 0
	}
	err = s.Scan(max(from, s.First()), func(seq uint64, r engine.Record) error {
		rep.Redone++
		if seq <= rep.Settled {
			return e.RedoPage(r)
		}
		return e.Redo(r)
	})
	if err != nil {
		return rep, err
	}
	return rep, s.forgetClean()
}

// forgetClean takes the note of an orderly end away, before anything changes.
func (s *Store) forgetClean() error {
	return s.pages.Update(func(t *badger.Txn) error { return t.Delete(cleanKey) })
}

func (s *Store) loadPages(t *badger.Txn, e *engine.Engine, rep *RestoreReport) (oldest uint64, err error) {
	oldest = math.MaxUint64
	it := t.NewIterator(badger.IteratorOptions{Prefix: []byte{'p'}, AllVersions: true, PrefetchValues: true, PrefetchSize: 16})
	defer it.Close()
	var key []byte
	versions, loaded := 0, true
	settle := func() {
		if !loaded {
			rep.Lost = append(rep.Lost, fmt.Sprintf("%x", key))
		}
	}
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		if !bytes.Equal(item.Key(), key) {
			settle()
			key, versions, loaded = item.KeyCopy(nil), 0, false
		}
		versions++
		if loaded || len(key) != 6 {
			continue
		}
		err := item.Value(func(v []byte) error {
			asOf, payload, ok := unseal(key, v)
			if !ok {
				return nil
			}
			id := engine.PageID{Partition: key[1], Number: binary.BigEndian.Uint32(key[2:])}
			if err := e.LoadPage(id, payload); err != nil {
				return nil // the version before it may be good
			}
			loaded = true
			oldest = min(oldest, asOf)
			return nil
		})
		if loaded {
			rep.Pages++
			if versions > 1 {
				rep.Older++
			}
		}
		// A value that cannot be read is a rotten version; the next may be good.
		_ = err
	}
	settle()
	return oldest, nil
}

func (s *Store) loadSettle(t *badger.Txn, e *engine.Engine, rep *RestoreReport) error {
	asOf, record, err := one(t, settleKey)
	if err != nil {
		return err
	}
	if record == nil {
		return nil
	}
	if err := e.LoadSettle(record); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	rep.Settled = asOf
	at, _, err := one(t, cleanKey)
	rep.Clean = err == nil && at == s.Last() && at == asOf
	return err
}

// one reads the newest version of a key; nil when there is none. A bad one is
// an error: what people said is not lost in silence.
func one(t *badger.Txn, key []byte) (asOf uint64, payload []byte, err error) {
	item, err := t.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("store: %w", err)
	}
	v, err := item.ValueCopy(nil)
	if err != nil {
		return 0, nil, fmt.Errorf("store: %w", err)
	}
	asOf, payload, ok := unseal(key, v)
	if !ok {
		return 0, nil, fmt.Errorf("%w: the record %q", ErrDamaged, key)
	}
	return asOf, append([]byte{}, payload...), nil
}
