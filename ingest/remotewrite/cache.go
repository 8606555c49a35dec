package remotewrite

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/homeostat/homeostat/engine"
)

// slot is one place of the cache. Its key is the 128-bit hash of the raw bytes
// that name the series; two that differ and share all of it are not expected in
// the life of the universe, and a writer that builds such a pair could as well
// write to the other series.
type slot struct {
	hi, lo    uint64
	known     *engine.Series
	seen      uint32 // generation in which it was last found; atomic
	declared  uint16 // generation of the declared types that the series' own is from
	partition uint8
	traits    traits
}

// traits are what every sample needs to know of its series, kept in the slot so
// that the series itself is not touched.
type traits uint8

const (
	traitType    traits = 0x07 // engine.Type
	traitOwn     traits = 0x40 // homeostat's own output
	traitReplica traits = 0x80 // cache.senders says who sends it
)

func (t traits) typ() engine.Type { return engine.Type(t & traitType) }

// tables is the number of tables of the cache. Each grows, ages and shrinks
// alone, so that nobody waits for all of it.
const tables = 64

// cache finds a series by the hash of what names it. One lock guards it: a
// request takes it once to look all of its series up, and a second time only
// when some are new.
type cache struct {
	age       time.Duration
	tableRoom int64 // bytes of one table
	mu        sync.RWMutex
	tables    [tables]table
	swept     atomic.Uint32 // generation up to which tables were swept
	sweeping  int           // the next table to sweep
	workloads map[engine.Workload]engine.Workload
	senders   map[*engine.Series]*replica // of the series that have one

	series  atomic.Int64
	bytes   atomic.Int64
	missed  atomic.Uint64
	evicted atomic.Uint64
}

// table is an open-addressed hash table with linear probing.
type table struct {
	slots []slot
	used  int
	bytes int64
	turn  uint64 // which half goes next when the table is full of what is in use
}

func newCache(bytes int64, age time.Duration) *cache {
	return &cache{
		age: age, tableRoom: bytes / tables, workloads: map[engine.Workload]engine.Workload{},
		senders: map[*engine.Series]*replica{},
	}
}

// generation is the age that now belongs to: a series is kept for one
// generation after the one in which it was last seen.
func (c *cache) generation(now time.Time) uint32 {
	return uint32(now.UnixNano() / int64(c.age))
}

func tableOf(hi uint64) int { return int(hi >> 58) }

// find returns the slot with this key, or the free one where it belongs; nil
// when the table has no room at all.
func (t *table) find(hi, lo uint64) *slot {
	if len(t.slots) == 0 {
		return nil
	}
	i, _ := bits.Mul64(lo, uint64(len(t.slots)))
	for {
		s := &t.slots[i]
		if s.lo == lo && s.hi == hi || s.known == nil {
			return s
		}
		if i++; i == uint64(len(t.slots)) {
			i = 0
		}
	}
}

// lookup finds the series of all entries and lists in missing those that are
// new, or whose declared type may have changed.
func (c *cache) lookup(q *request, generation uint32, declared uint16) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for k := range q.entries {
		e := &q.entries[k]
		if e.reject != RejectNone {
			continue
		}
		s := c.tables[tableOf(e.key.Hi)].find(e.key.Hi, e.key.Lo)
		if s == nil || s.known == nil {
			q.missing = append(q.missing, int32(k))
			continue
		}
		if atomic.LoadUint32(&s.seen) != generation {
			atomic.StoreUint32(&s.seen, generation)
		}
		c.take(e, s)
		if s.declared != declared || e.declared != engine.TypeUnknown && e.declared != s.traits.typ() {
			q.missing = append(q.missing, int32(k))
		}
	}
}

// take fills the entry from its slot.
func (c *cache) take(e *entry, s *slot) {
	e.known, e.partition = s.known, s.partition
	switch {
	case s.traits&traitOwn != 0:
		e.fate = fateOwn
	case s.traits&traitReplica != 0:
		e.sender = c.senders[s.known]
	}
}

// store remembers the series of the entries listed in missing. What another
// request stored meanwhile is used instead, unless its type is an older one.
func (c *cache) store(q *request, generation uint32, declared uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range q.missing {
		e := &q.entries[k]
		if e.known == nil {
			continue
		}
		t := &c.tables[tableOf(e.key.Hi)]
		s := t.find(e.key.Hi, e.key.Lo)
		if s == nil || s.known == nil {
			s = c.insert(t, s, e, generation)
			c.missed.Add(1)
		} else if s.known.Type != e.known.Type {
			c.forget(s)
			c.fill(s, e)
		}
		s.declared = declared
		c.take(e, s)
	}
}

// insert puts the entry's series into slot s of t, or where it belongs after
// making room.
func (c *cache) insert(t *table, s *slot, e *entry, generation uint32) *slot {
	size := sizeOf(e.known)
	full := t.bytes+size > c.tableRoom
	if full && t.used > 0 {
		c.evict(t, generation)
	}
	if full || s == nil || (t.used+1)*5 > len(t.slots)*4 {
		c.rebuild(t, max(16, (t.used+1)*15/8), nil)
		s = t.find(e.key.Hi, e.key.Lo)
	}
	*s = slot{hi: e.key.Hi, lo: e.key.Lo, seen: generation}
	c.fill(s, e)
	t.used++
	t.bytes += size
	c.series.Add(1)
	c.bytes.Add(size)
	return s
}

// fill lets the slot stand for the entry's series.
func (c *cache) fill(s *slot, e *entry) {
	s.known, s.partition, s.traits = e.known, e.known.Partition, traits(e.known.Type)
	if e.known == ownOutput {
		s.traits |= traitOwn
		return
	}
	if e.fresh {
		// Nobody else has it yet: once it is handed out it never changes.
		e.known.Workload = c.workload(e.known.Workload)
		e.fresh = false
	}
	if e.sender != nil {
		s.traits |= traitReplica
		c.senders[e.known] = e.sender
	}
}

// forget undoes fill.
func (c *cache) forget(s *slot) {
	if s.traits&traitReplica != 0 {
		delete(c.senders, s.known)
	}
	s.known = nil
}

// workload is one copy of a workload's text for all of its series.
func (c *cache) workload(w engine.Workload) engine.Workload {
	if shared, ok := c.workloads[w]; ok {
		return shared
	}
	if len(c.workloads) >= 1<<20 {
		clear(c.workloads)
	}
	c.workloads[w] = w
	return w
}

// evict drops what was not seen in this generation and, if that is not enough,
// every other series.
func (c *cache) evict(t *table, generation uint32) {
	before, bytes := t.used, t.bytes
	c.rebuild(t, 0, func(s *slot) bool { return s.seen == generation })
	if t.bytes > c.tableRoom/4*3 {
		t.turn++
		c.rebuild(t, 0, func(s *slot) bool { return s.lo&1 == t.turn&1 })
	}
	c.dropped(before-t.used, bytes-t.bytes)
}

func (c *cache) dropped(series int, bytes int64) {
	c.series.Add(-int64(series))
	c.bytes.Add(-bytes)
	c.evicted.Add(uint64(series))
}

// sweep drops, one table a request, what was not seen since the last
// generation. It never waits for the lock.
func (c *cache) sweep(generation uint32) {
	if c.swept.Load() == generation || !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	t := &c.tables[c.sweeping]
	stale := 0
	for i := range t.slots {
		if s := &t.slots[i]; s.known != nil && aged(s.seen, generation) {
			stale++
		}
	}
	if stale > 0 {
		bytes := t.bytes
		c.rebuild(t, 0, func(s *slot) bool { return !aged(s.seen, generation) })
		c.dropped(stale, bytes-t.bytes)
	}
	if c.sweeping++; c.sweeping == tables {
		c.sweeping = 0
		clear(c.workloads)
		c.swept.Store(generation)
	}
}

func aged(seen, generation uint32) bool { return int32(generation-seen) >= 2 }

// rebuild moves the series that stay into a new array, with room for what they
// need or for room slots.
func (c *cache) rebuild(t *table, room int, stays func(*slot) bool) {
	old := t.slots
	kept := 0
	for i := range old {
		s := &old[i]
		if s.known == nil {
			continue
		}
		if stays != nil && !stays(s) {
			t.used--
			t.bytes -= sizeOf(s.known)
			c.forget(s)
			continue
		}
		kept++
	}
	t.slots = make([]slot, max(room, kept*3/2+1))
	for i := range old {
		if s := &old[i]; s.known != nil {
			*t.find(s.hi, s.lo) = *s
		}
	}
}

// sizeOf estimates the bytes that the cache needs for a series: its slot at the
// usual load, the series and its labels. The workload's text is shared.
func sizeOf(k *engine.Series) int64 {
	return int64(unsafe.Sizeof(slot{}))*3/2 + int64(unsafe.Sizeof(*k)) + int64(k.Labels.ByteSize())
}

// ownOutput stands for every series of homeostat's own output.
var ownOutput = &engine.Series{}
