package engine

import (
	"encoding/binary"
	"math"
	"slices"
)

// A p99 says nothing of fewer than a hundred observations: it is their largest,
// so that one slow answer of thirty is told as a p99 that rose tenfold. A pod
// that answers thirty requests a minute has its p99 taken over the last hundred
// of them: what each scrape brings counts in full, older ones fade to make room,
// so that a rise is still seen at the next scrape. Where a scrape brings a
// hundred or more it is the p99 of that scrape alone.

const (
	tailCount  = 100.0          // observations that a p99 is taken over, at least
	tailMemory = 10 * 60 * 1000 // ms in which an old observation fades to 1/e
	tailLeast  = 1.0 / 64       // of an observation: a bucket with less is forgotten
)

// fade makes room for fresh observations in what is left of older ones, after a
// time in ms: what remains, with the fresh ones, comes to no more than tailCount.
func fade(old []Bucket, after int64, fresh float64) []Bucket {
	old = slices.DeleteFunc(old, func(b Bucket) bool { return b.Count < tailLeast })
	left := total(old)
	if left == 0 {
		return old
	}
	keep := min(math.Exp(-float64(after)/tailMemory), max(0, tailCount-fresh)/left)
	for k := range old {
		old[k].Count *= keep
	}
	return old
}

// blend adds fresh buckets to old ones, both in order of their bounds. ok is
// false when they were cut differently, as a native histogram's are after its
// schema changed: then what is old is of no use.
func blend(old, fresh []Bucket) (out []Bucket, ok bool) {
	out = old
	k := 0
	for _, b := range fresh {
		if b.Count == 0 {
			continue
		}
		for k < len(out) && out[k].Upper < b.Upper {
			k++
		}
		switch {
		case k < len(out) && out[k].Upper == b.Upper:
			if out[k].Lower != b.Lower {
				return nil, false
			}
			out[k].Count += b.Count
		case k < len(out) && out[k].Lower < b.Upper, k > 0 && out[k-1].Upper > b.Lower:
			return nil, false
		default:
			out = slices.Insert(out, k, b)
		}
	}
	return out, true
}

func total(buckets []Bucket) (n float64) {
	for _, b := range buckets {
		n += b.Count
	}
	return n
}

// lastHundred takes fresh observations in, made within so many ms, and returns
// the p99 of the last tailCount or more; ok is false while there are fewer.
func (gr *group) lastHundred(fresh []Bucket, after int64) (p99 float64, ok bool) {
	n := total(fresh)
	kept := fade(gr.tail, after, n)
	if gr.tail, ok = blend(kept, fresh); !ok {
		gr.tail, _ = blend(kept[:0], fresh)
	}
	// Rounding may leave a hair less than what fade makes room for.
	all := total(gr.tail)
	if all < tailCount*(1-1e-9) {
		return 0, false
	}
	return quantile(gr.tail, all, 0.99), true
}

func appendBuckets(b []byte, buckets []Bucket) []byte {
	b = binary.AppendUvarint(b, uint64(len(buckets)))
	for _, k := range buckets {
		b = appendFloat(appendFloat(appendFloat(b, k.Lower), k.Upper), k.Count)
	}
	return b
}

func (r *reader) buckets() []Bucket {
	var out []Bucket
	for range r.count(24) {
		out = append(out, Bucket{Lower: r.float(), Upper: r.float(), Count: r.float()})
	}
	return out
}

// tailFits says that buckets read from a record are what lastHundred leaves.
func tailFits(buckets []Bucket) bool {
	for k, b := range buckets {
		if !(b.Count >= 0 && b.Count < math.MaxUint32) || !(b.Lower < b.Upper) || k > 0 && buckets[k-1].Upper > b.Lower {
			return false
		}
	}
	return true
}
