package remotewrite

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/zeebo/xxh3"

	"github.com/homeostat/homeostat/engine"
)

// stock puts series numbered from..to into the cache, those that it lacks, and
// returns how many it lacked.
func stock(c *cache, generation uint32, from, to int) int {
	q := newRequest()
	for i := from; i < to; i++ {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(i))
		q.entries = append(q.entries, entry{key: xxh3.Hash128(b[:])})
	}
	c.lookup(q, generation, 0)
	for _, k := range q.missing {
		ls := labels.FromStrings("__name__", "n", "i", fmt.Sprint(from+int(k)))
		q.entries[k].known = engine.Naming{}.NewSeries(ls, engine.TypeUnknown)
	}
	c.store(q, generation, 0)
	for i := from; i < to; i++ {
		if got := q.entries[i-from].known.Labels.Get("i"); got != fmt.Sprint(i) {
			panic("series " + got + " is returned for " + fmt.Sprint(i))
		}
	}
	return len(q.missing)
}

func TestTheCacheFindsWhatItHolds(t *testing.T) {
	c := newCache(1<<30, time.Hour)
	g := rand.New(rand.NewPCG(1, 1))
	const all = 50_000
	for at := 0; at < all; {
		n := 1 + g.IntN(900)
		if lacked := stock(c, 1, at, min(all, at+n)); lacked != min(all, at+n)-at {
			t.Fatalf("%d new series of %d", lacked, n)
		}
		at += n
	}
	if lacked := stock(c, 1, 0, all); lacked != 0 {
		t.Errorf("%d series were lost", lacked)
	}
	if c.series.Load() != all {
		t.Errorf("%d series are counted, want %d", c.series.Load(), all)
	}
	slots := 0
	for i := range c.tables {
		slots += len(c.tables[i].slots)
	}
	if slots > 2*all {
		t.Errorf("%d slots for %d series", slots, all)
	}
}

func TestTheCacheForgetsByAge(t *testing.T) {
	c := newCache(1<<30, time.Hour)
	now := time.UnixMilli(1_700_000_000_000)
	first := c.generation(now)
	stock(c, first, 0, 2000)
	sweep := func(generation uint32) {
		for range tables {
			c.sweep(generation)
		}
	}
	next := c.generation(now.Add(time.Hour))
	stock(c, next, 0, 1000)
	sweep(next)
	if n := c.series.Load(); n != 2000 {
		t.Errorf("%d series after an hour, want all 2,000", n)
	}
	later := c.generation(now.Add(2 * time.Hour))
	sweep(later)
	if n := c.series.Load(); n != 1000 {
		t.Errorf("%d series after two hours, want the 1,000 seen since", n)
	}
	if lacked := stock(c, later, 0, 2000); lacked != 1000 {
		t.Errorf("%d series are lacking, want 1,000", lacked)
	}
	sweep(c.generation(now.Add(100 * time.Hour)))
	if c.series.Load() != 0 || c.bytes.Load() != 0 || c.evicted.Load() != 3000 {
		t.Errorf("%d series, %d bytes, %d evicted after days, want 0, 0 and 3,000", c.series.Load(), c.bytes.Load(), c.evicted.Load())
	}
}

func TestTheCacheKeepsWithinItsBytes(t *testing.T) {
	const room = 2 << 20
	c := newCache(room, time.Hour)
	for i := range 100 {
		stock(c, uint32(1+i/50), 500*i, 500*(i+1))
		if n := c.bytes.Load(); n > room {
			t.Fatalf("%d bytes, want %d at most", n, room)
		}
	}
	if c.evicted.Load() == 0 || c.bytes.Load() < room/8 {
		t.Errorf("%d evicted and %d bytes left", c.evicted.Load(), c.bytes.Load())
	}
	// A series larger than the room of its table is still found in its own
	// request, and hardly more than that one stays.
	tiny := newCache(1, time.Hour)
	stock(tiny, 1, 0, 1000)
	if n := tiny.series.Load(); n > 2*tables {
		t.Errorf("%d series in a cache without room", n)
	}
}

func TestDigestsTellSymbolsApart(t *testing.T) {
	h := func(s string) xxh3.Uint128 { return xxh3.HashString128(s) }
	of := func(words ...string) xxh3.Uint128 {
		var d digest
		for _, w := range words {
			d.add(h(w))
		}
		return d.sum()
	}
	seen := map[xxh3.Uint128]string{}
	low := map[uint64]bool{}
	high := map[uint64]bool{}
	for i := range 200_000 {
		words := []string{"__name__", fmt.Sprint("m", i%7), "a", fmt.Sprint(i / 7 % 400), "b", fmt.Sprint(i / 2800)}
		d := of(words...)
		if other, ok := seen[d]; ok && other != fmt.Sprint(words) {
			t.Fatalf("%v and %v share a digest", other, words)
		}
		seen[d] = fmt.Sprint(words)
		low[d.Lo], high[d.Hi] = true, true
	}
	if n := len(seen); n-len(low) > 0 || n-len(high) > 0 {
		t.Errorf("of %d digests the halves repeat %d and %d times", n, n-len(low), n-len(high))
	}
	for _, pair := range [][2][]string{
		{{"a", "b"}, {"b", "a"}},
		{{"a", "b", "c", "d"}, {"c", "d", "a", "b"}},
		{{"a", "a"}, {"b", "b"}},
		{{"a"}, {"a", ""}},
		{{}, {"", ""}},
		{{"a", "b", "c"}, {"a", "c", "b"}},
	} {
		if of(pair[0]...) == of(pair[1]...) {
			t.Errorf("%v and %v share a digest", pair[0], pair[1])
		}
	}
	// Both halves spread over the tables and their slots.
	var tops, slots [tables]int
	for d := range seen {
		tops[tableOf(d.Hi)]++
		slots[d.Lo>>58]++
	}
	mean := float64(len(seen)) / tables
	for i := range tops {
		for _, n := range []int{tops[i], slots[i]} {
			if math.Abs(float64(n)-mean) > 8*math.Sqrt(mean) {
				t.Errorf("%d of %d digests fall into one of %d parts", n, len(seen), tables)
			}
		}
	}
}
