package history

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/tsdb/tombstones"
)

// sampleKey is what is counted once: a time of a series.
type sampleKey struct {
	at     int64
	series string
}

// Whatever the blocks, the chunks and what was deleted: what comes is every
// sample that is left, once, in order of time.
func TestBlocksAreTheirSamplesInOrder(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 7))
		data := t.TempDir()
		left := map[sampleKey]float64{}
		begin := int64(1000)
		for n := range 1 + random.IntN(5) {
			begin += 1 + random.Int64N(60)
			putBlock(t, filepath.Join(data, blockName(n)), float64(begin), randomBlock(random, begin, float64(n), left)...)
		}
		text, _, err := replay(t, Config{MaxBatch: 1 + random.IntN(20)}, data)
		check(t, err)
		expected := []string{}
		for key, v := range left {
			expected = append(expected, fmt.Sprintf("%d %s %v", key.at, key.series, v))
		}
		got := []string{}
		last := ""
		for _, line := range strings.Split(samples(text), "\n") {
			if line == "" {
				continue
			}
			var series, at string
			var v float64
			if _, err := fmt.Sscanf(line, `{__name__=%q} %g @%s`, &series, &v, &at); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if at = fmt.Sprintf("%6s", at); at < last {
				t.Fatalf("seed %d: %q comes after %s", seed, line, last)
			}
			last = at
			got = append(got, fmt.Sprintf("%s %s %v", strings.TrimSpace(at), series, v))
		}
		slices.Sort(expected)
		slices.Sort(got)
		if !slices.Equal(got, expected) {
			t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, strings.Join(got, "\n"), strings.Join(expected, "\n"))
		}
	}
}

// randomBlock makes series of a block, and notes in left which of their samples
// count.
func randomBlock(random *rand.Rand, begin int64, value float64, left map[sampleKey]float64) []blockSeries {
	var out []blockSeries
	for n := range 1 + random.IntN(6) {
		s := blockSeries{labels: fmt.Sprintf("s%d", n)}
		if random.IntN(3) == 0 {
			from := (begin + random.Int64N(60)) * 1000
			s.gone = tombstones.Intervals{{Mint: from, Maxt: from + random.Int64N(30_000)}}
		}
		at := begin + random.Int64N(30)
		for range 1 + random.IntN(4) {
			var chunk [][2]float64
			for range 1 + random.IntN(8) {
				chunk = append(chunk, [2]float64{float64(at), value})
				key := sampleKey{at, s.labels}
				if _, taken := left[key]; !taken && (len(s.gone) == 0 || !s.gone[0].InBounds(at*1000)) {
					left[key] = value
				}
				at += 1 + random.Int64N(15)
			}
			s.floats = append(s.floats, chunk)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b blockSeries) int { return cmp.Compare(a.labels, b.labels) })
	return out
}
