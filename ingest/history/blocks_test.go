package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/prometheus/prometheus/tsdb/tombstones"

	"github.com/homeostat/homeostat/engine"
)

// The blocks of these tests are written by Prometheus' own writers of indexes,
// chunks and tombstones; those that a Prometheus made are in the end-to-end
// tests.

// blockSeries is a series as a block is to hold it: chunks of floats, of (time
// in seconds, value), or of native histograms.
type blockSeries struct {
	labels string
	floats [][][2]float64
	shapes []map[int64]*histogram.FloatHistogram // by the time in seconds
	gone   tombstones.Intervals
}

// blockName is a name as Prometheus gives it, different for each number.
func blockName(n int) string { return fmt.Sprintf("01K000000000000000000000%02d", n) }

// putBlock writes a block that begins at a time in seconds.
func putBlock(t testing.TB, folder string, begin float64, series ...blockSeries) string {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	all, symbols := blockChunks(t, series)
	writer, err := chunks.NewWriter(filepath.Join(folder, chunksDir))
	check(t, err)
	for i := range all {
		check(t, writer.WriteChunks(all[i].chunks...))
	}
	check(t, writer.Close())
	file, err := index.NewWriter(context.Background(), filepath.Join(folder, indexFile))
	check(t, err)
	for _, s := range symbols {
		check(t, file.AddSymbol(s))
	}
	for i := range all {
		check(t, file.AddSeries(storage.SeriesRef(i), all[i].labels, all[i].chunks...))
	}
	check(t, file.Close())
	putTombstones(t, folder, all)
	put(t, folder, metaFile, fmt.Sprintf(`{"ulid":%q,"minTime":%d,"maxTime":%d,"version":1,"stats":{}}`,
		blockName(0), int64(begin*1000), int64(begin*1000)+7_200_000))
	return folder
}

type madeSeries struct {
	labels labels.Labels
	chunks []chunks.Meta
	gone   tombstones.Intervals
}

func blockChunks(t testing.TB, series []blockSeries) (all []madeSeries, symbols []string) {
	t.Helper()
	words := map[string]bool{"": true}
	for _, s := range series {
		name, rest, _ := strings.Cut(s.labels, "{")
		made := madeSeries{labels: labels.FromStrings("__name__", name), gone: s.gone}
		if rest != "" {
			b := labels.NewBuilder(made.labels)
			for _, pair := range strings.Split(strings.TrimSuffix(rest, "}"), ",") {
				k, v, _ := strings.Cut(pair, "=")
				b.Set(k, v)
			}
			made.labels = b.Labels()
		}
		made.labels.Range(func(l labels.Label) { words[l.Name], words[l.Value] = true, true })
		for _, points := range s.floats {
			c := chunkenc.NewXORChunk()
			app, err := c.Appender()
			check(t, err)
			for _, p := range points {
				app.Append(0, int64(p[0]*1000), p[1])
			}
			made.chunks = append(made.chunks, chunks.Meta{
				Chunk: c, MinTime: int64(points[0][0] * 1000), MaxTime: int64(points[len(points)-1][0] * 1000),
			})
		}
		for _, shapes := range s.shapes {
			made.chunks = append(made.chunks, shapeChunk(t, shapes))
		}
		all = append(all, made)
	}
	slices.SortFunc(all, func(a, b madeSeries) int { return labels.Compare(a.labels, b.labels) })
	return all, slices.Sorted(maps.Keys(words))
}

func shapeChunk(t testing.TB, shapes map[int64]*histogram.FloatHistogram) chunks.Meta {
	t.Helper()
	c := chunkenc.NewFloatHistogramChunk()
	app, err := c.Appender()
	check(t, err)
	times := slices.Sorted(maps.Keys(shapes))
	for _, at := range times {
		more, _, next, err := app.AppendFloatHistogram(nil, 0, at*1000, shapes[at], false)
		check(t, err)
		if more != nil {
			t.Fatalf("the histogram at %d does not fit into the chunk", at)
		}
		app = next
	}
	return chunks.Meta{Chunk: c, MinTime: times[0] * 1000, MaxTime: times[len(times)-1] * 1000}
}

func putTombstones(t testing.TB, folder string, all []madeSeries) {
	t.Helper()
	r, err := index.NewFileReader(filepath.Join(folder, indexFile), index.DecodePostingsRaw)
	check(t, err)
	defer r.Close()
	p, err := r.Postings(context.Background(), "", "")
	check(t, err)
	stones := tombstones.NewMemTombstones()
	for i := 0; p.Next(); i++ {
		if len(all[i].gone) > 0 {
			stones.AddInterval(p.At(), all[i].gone...)
		}
	}
	check(t, p.Err())
	_, err = tombstones.WriteFile(slog.New(slog.DiscardHandler), folder, stones)
	check(t, err)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestABlockIsReadInOrderOfTimeAcrossSeries(t *testing.T) {
	block := putBlock(
		t, t.TempDir(), 100,
		blockSeries{labels: "b", floats: [][][2]float64{{{100, 1}, {130, 2}}, {{160, 3}}}},
		blockSeries{labels: "a{job=x}", floats: [][][2]float64{{{101, 10}, {130, 20}, {131.5, math.Inf(1)}}}},
	)
	text, r, err := replay(t, Config{}, block)
	check(t, err)
	want(t, samples(text), `{__name__="b"} 1 @100
		{__name__="a", job="x"} 10 @101
		{__name__="b"} 2 @130
		{__name__="a", job="x"} 20 @130
		{__name__="a", job="x"} +Inf @131.5
		{__name__="b"} 3 @160`)
	if read, total := r.Progress(); read != total || total == 0 {
		t.Errorf("progress %d of %d bytes, want all", read, total)
	}
}

// A data directory holds several blocks; two overlap, as those do that a
// compaction has merged and not deleted yet. Where they disagree, the first one
// counts.
func TestBlocksOfADataDirectoryAreMerged(t *testing.T) {
	data := t.TempDir()
	whole := blockSeries{labels: "a", floats: [][][2]float64{{{100, 1}, {110, 2}, {120, 3}}}}
	putBlock(t, filepath.Join(data, blockName(3)), 200, blockSeries{labels: "a", floats: [][][2]float64{{{200, 5}}}}, blockSeries{labels: "z", floats: [][][2]float64{{{200, 7}}}})
	putBlock(t, filepath.Join(data, blockName(1)), 100, whole)
	putBlock(t, filepath.Join(data, blockName(2)), 110, blockSeries{labels: "a", floats: [][][2]float64{{{110, 99}, {115, 2.5}}}})
	put(t, filepath.Join(data, blockName(4)+".tmp-for-deletion"), metaFile, "{")
	put(t, filepath.Join(data, "chunks_head"), "000001", "x")
	put(t, filepath.Join(data, walDir), "00000000", "x")
	text, r, err := replay(t, Config{}, data)
	check(t, err)
	want(t, samples(text), `{__name__="a"} 1 @100
		{__name__="a"} 2 @110
		{__name__="a"} 2.5 @115
		{__name__="a"} 3 @120
		{__name__="z"} 7 @200
		{__name__="a"} 5 @200`)
	if got := r.Heads(); len(got) != 1 || got[0] != data {
		t.Errorf("heads %q, want the directory, which has a write-ahead log", got)
	}
	if n := len(r.files[0].rows.(*blocks).open); n != 0 {
		t.Errorf("%d blocks are still open at the end", n)
	}
}

// The one series that a file of OpenMetrics and a block have in common is one
// series, and they are merged.
func TestABlockAndAFileAreReplayedTogether(t *testing.T) {
	folder := t.TempDir()
	block := putBlock(t, filepath.Join(folder, "b"), 100, blockSeries{labels: "a", floats: [][][2]float64{{{100, 1}, {120, 3}}}})
	text, _, err := replay(t, Config{}, put(t, folder, "a.om", "a 2 110\n# EOF\n"), block)
	check(t, err)
	want(t, samples(text), "{__name__=\"a\"} 1 @100\n{__name__=\"a\"} 2 @110\n{__name__=\"a\"} 3 @120")
}

func TestWhatWasDeletedIsNotReplayed(t *testing.T) {
	data := t.TempDir()
	putBlock(t, filepath.Join(data, blockName(1)), 100,
		blockSeries{
			labels: "a", floats: [][][2]float64{{{100, 1}, {110, 2}, {120, 3}, {130, 4}}, {{140, 5}}},
			gone: tombstones.Intervals{{Mint: 105_000, Maxt: 120_000}, {Mint: 140_000, Maxt: 140_000}},
		},
		blockSeries{labels: "b", floats: [][][2]float64{{{110, 9}}}})
	// What another block holds of the same time was not deleted there.
	putBlock(t, filepath.Join(data, blockName(2)), 120, blockSeries{labels: "a", floats: [][][2]float64{{{120, 3}}}})
	text, _, err := replay(t, Config{}, data)
	check(t, err)
	want(t, samples(text), `{__name__="a"} 1 @100
		{__name__="b"} 9 @110
		{__name__="a"} 3 @120
		{__name__="a"} 4 @130`)
}

func TestStaleMarkersOfABlockAreHandedOn(t *testing.T) {
	stale := math.Float64frombits(value.StaleNaN)
	block := putBlock(
		t, t.TempDir(), 100,
		blockSeries{labels: "a", floats: [][][2]float64{{{100, 1}, {115, stale}}}},
		blockSeries{labels: "h", shapes: []map[int64]*histogram.FloatHistogram{{100: shape(1), 115: {Sum: stale}}}},
	)
	r, err := Open(Config{}, block)
	check(t, err)
	defer r.Close()
	ended := map[string]bool{}
	for {
		ev, err := r.Next()
		if err != nil {
			break
		}
		if b, ok := ev.(*engine.Batch); ok {
			for _, s := range b.Samples {
				if value.IsStaleNaN(s.Value) {
					ended[s.Series.Labels.Get("__name__")] = true
				}
			}
		}
	}
	if !ended["a"] || !ended["h"] {
		t.Errorf("stale markers of %v, want of a and h", ended)
	}
}

// shape is a histogram with n observations in (0.5, 1] and twice as many in the
// zero bucket.
func shape(n float64) *histogram.FloatHistogram {
	return &histogram.FloatHistogram{
		Schema: 0, ZeroThreshold: 0.001, ZeroCount: 2 * n, Count: 3 * n, Sum: n,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 1}}, PositiveBuckets: []float64{n},
	}
}

func TestNativeHistogramsOfABlock(t *testing.T) {
	below := shape(2)
	below.Count, below.NegativeSpans, below.NegativeBuckets = 7, []histogram.Span{{Offset: 1, Length: 1}}, []float64{1}
	gauge := shape(5)
	gauge.CounterResetHint = histogram.GaugeType
	custom := &histogram.FloatHistogram{
		Schema: histogram.CustomBucketsSchema, Count: 3, Sum: 4, CustomValues: []float64{1, 2},
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 3}}, PositiveBuckets: []float64{1, 0, 2},
	}
	block := putBlock(
		t, t.TempDir(), 100,
		blockSeries{labels: "a", shapes: []map[int64]*histogram.FloatHistogram{{100: shape(1), 115: shape(2)}}},
		blockSeries{labels: "b", shapes: []map[int64]*histogram.FloatHistogram{{101: below}}},
		blockSeries{labels: "c", shapes: []map[int64]*histogram.FloatHistogram{{102: custom}}},
		blockSeries{labels: "g", shapes: []map[int64]*histogram.FloatHistogram{{103: gauge}}},
	)
	text, _, err := replay(t, Config{}, block)
	check(t, err)
	want(t, samples(text), `{__name__="a"} count 3 sum 1 [{0 0.001 2} {0.5 1 1}] @100
		{__name__="b"} count 7 sum 2 [{-2 -1 1} {-0.001 0.001 4} {0.5 1 2}] @101
		{__name__="c"} count 3 sum 4 [{-Inf 1 1} {2 +Inf 2}] @102
		{__name__="g"} count 15 sum 5 [{0 0.001 10} {0.5 1 5}] @103
		{__name__="a"} count 6 sum 2 [{0 0.001 4} {0.5 1 2}] @115`)
}

func TestBoundsHoldForBlocks(t *testing.T) {
	block := putBlock(t, t.TempDir(), 100,
		blockSeries{labels: "a", floats: [][][2]float64{{{100, 1}}, {{110, 1}}}},
		blockSeries{labels: "b", floats: [][][2]float64{{{100, 1}}}})
	for _, lenient := range []bool{false, true} {
		if _, _, err := replay(t, Config{MaxSeries: 1, Lenient: lenient}, block); err == nil || !strings.Contains(err.Error(), "more than 1 series") {
			t.Errorf("two series of one: error %v", err)
		}
		if _, _, err := replay(t, Config{MaxSamples: 2, Lenient: lenient}, block); err == nil || !strings.Contains(err.Error(), "more than 2 chunks") {
			t.Errorf("three chunks of two: error %v", err)
		}
	}
	if _, _, err := replay(t, Config{MaxSeries: 2, MaxSamples: 3}, block); err != nil {
		t.Errorf("at the bounds: %v", err)
	}
}

// smallBlock has something of everything.
func smallBlock(t testing.TB, folder string) string {
	stale := math.Float64frombits(value.StaleNaN)
	return putBlock(
		t, folder, 100,
		blockSeries{
			labels: "a{job=x}", floats: [][][2]float64{{{100, 1}, {110, 2}, {120, stale}}, {{130, 4}}},
			gone: tombstones.Intervals{{Mint: 110_000, Maxt: 111_000}},
		},
		blockSeries{labels: "h", shapes: []map[int64]*histogram.FloatHistogram{{100: shape(1), 115: shape(2)}}},
	)
}

// Each byte of each file is changed, and each file is cut at each length. What
// comes is what the block holds or an error that names the file; a panic ends
// the test.
func TestADamagedBlockIsAnErrorThatNamesTheFile(t *testing.T) {
	good := smallBlock(t, filepath.Join(t.TempDir(), "good"))
	expected, _, err := replay(t, Config{}, good)
	check(t, err)
	damages := 0
	for _, name := range []string{metaFile, indexFile, "chunks/000001", "tombstones"} {
		content, err := os.ReadFile(filepath.Join(good, name))
		check(t, err)
		folder := smallBlock(t, filepath.Join(t.TempDir(), "bad"))
		try := func(what string, b []byte) {
			// A new file each time: the one before may still be mapped.
			path := filepath.Join(folder, name)
			check(t, os.Remove(path))
			check(t, os.WriteFile(path, b, 0o644))
			text, _, err := replay(t, Config{}, folder)
			switch {
			case err == nil && text != expected:
				t.Errorf("%s %s: other events, and no error", name, what)
			case err != nil && !namesAFile(err, folder):
				t.Errorf("%s %s: the error %q names no file", name, what, err)
			case err != nil:
				damages++
			}
		}
		for i := range content {
			changed := bytes.Clone(content)
			changed[i] ^= 0xff
			try(fmt.Sprintf("with byte %d inverted", i), changed)
			changed[i] = content[i] ^ 1
			try(fmt.Sprintf("with a bit of byte %d flipped", i), changed)
			try(fmt.Sprintf("cut to %d bytes", i), content[:i])
		}
	}
	if damages < 1000 {
		t.Errorf("%d damages were noticed; most should be", damages)
	}
}

// namesAFile says whether an error names a file or folder of the block.
func namesAFile(err error, folder string) bool {
	for _, name := range []string{metaFile, indexFile, chunksDir, "tombstones"} {
		if strings.Contains(err.Error(), filepath.Join(folder, name)) {
			return true
		}
	}
	return false
}

// A file that loses its end while it is mapped faults when it is read.
func TestABlockThatIsCutWhileItIsReadIsAnError(t *testing.T) {
	block := putBlock(t, t.TempDir(), 100,
		blockSeries{labels: "a", floats: [][][2]float64{{{100, 1}}, {{4000, 2}}, {{8000, 3}}}})
	r, err := Open(Config{}, block)
	check(t, err)
	defer r.Close()
	_, err = r.Next() // a replay reads two rows ahead
	check(t, err)
	check(t, os.Truncate(filepath.Join(block, chunksDir, "000001"), 0))
	if _, err = tell(t, r); err == nil || !strings.Contains(err.Error(), filepath.Join(block, chunksDir, "000001")) {
		t.Errorf("error %v, want one that names the file", err)
	}
}

func TestALenientReplaySkipsADamagedChunk(t *testing.T) {
	block := putBlock(t, t.TempDir(), 100,
		blockSeries{labels: "a", floats: [][][2]float64{{{100, 1}, {110, 2}}, {{120, 3}}}},
		blockSeries{labels: "b", floats: [][][2]float64{{{105, 9}}}})
	path := filepath.Join(block, chunksDir, "000001")
	content, err := os.ReadFile(path)
	check(t, err)
	content[chunks.SegmentHeaderSize+4] ^= 0xff
	check(t, os.WriteFile(path, content, 0o644))
	if _, _, err := replay(t, Config{}, block); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names %s", err, path)
	}
	text, r, err := replay(t, Config{Lenient: true}, block)
	check(t, err)
	want(t, samples(text), "{__name__=\"b\"} 9 @105\n{__name__=\"a\"} 3 @120")
	if n := r.Skipped(); n != 1 {
		t.Errorf("%d were skipped, want 1", n)
	}
}

func TestFoldersThatAreNoBlocks(t *testing.T) {
	folder := t.TempDir()
	if _, err := Open(Config{}, folder); err == nil || !strings.Contains(err.Error(), "holds no blocks") {
		t.Errorf("an empty folder: error %v", err)
	}
	bad := filepath.Join(folder, blockName(1))
	check(t, os.Mkdir(bad, 0o755))
	_, err := Open(Config{}, folder)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), filepath.Join(bad, metaFile)) {
		t.Errorf("a block without meta.json: error %v", err)
	}
}

// FuzzBlock reads a block of which each file may be anything.
func FuzzBlock(f *testing.F) {
	good := smallBlock(f, filepath.Join(f.TempDir(), "good"))
	names := []string{metaFile, indexFile, "chunks/000001", "tombstones"}
	var seed [4][]byte
	for i, name := range names {
		var err error
		seed[i], err = os.ReadFile(filepath.Join(good, name))
		check(f, err)
	}
	f.Add(seed[0], seed[1], seed[2], seed[3], false)
	f.Add(seed[0], seed[1], seed[2], []byte{}, true)
	f.Add([]byte(`{"version":1,"minTime":0}`), seed[1][:20], seed[2][:8], seed[3], true)
	f.Fuzz(func(t *testing.T, meta, indexed, chunked, deleted []byte, lenient bool) {
		folder := t.TempDir()
		for i, content := range [][]byte{meta, indexed, chunked, deleted} {
			put(t, folder, names[i], string(content))
		}
		if _, _, err := replay(t, Config{Lenient: lenient, MaxSeries: 100, MaxSamples: 1000}, folder); err != nil && !strings.Contains(err.Error(), folder) {
			t.Errorf("error %v names no file", err)
		}
	})
}
