package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/engine"
	"github.com/homeostat/homeostat/engine/loop"
	"github.com/homeostat/homeostat/models"
)

// BenchmarkAppend is one append with its sync.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			s := open(b, b.TempDir(), Config{})
			defer s.Close()
			records := make([]engine.Record, n)
			for i := range records {
				records[i] = engine.Label{RequestID: "0123456789abcdef", Anomaly: 1 << 60, Series: 1 << 61, Judgement: engine.JudgedTrue, By: "a person", Note: "a deployment, not a fault", At: 1_700_000_000_000}
			}
			b.ResetTimer()
			for range b.N {
				if _, err := s.Append(records); err != nil {
					b.Fatal(err)
				}
			}
			st := s.Stats()
			b.ReportMetric(float64(st.SyncTime.Microseconds())/float64(st.Syncs), "us-sync")
		})
	}
}

// BenchmarkFrames is an append of 100 records of 250 B where a sync costs
// nothing: encoding, checksum and chain.
func BenchmarkFrames(b *testing.B) {
	j := mustOpen(b, newMemDisk(), 1<<20)
	j.file, j.segments = nullFile{}, []*segment{{size: segmentHead}}
	j.limit = 1 << 62
	payloads := make([][]byte, 100)
	for i := range payloads {
		payloads[i] = make([]byte, 250)
	}
	b.SetBytes(25_000)
	for range b.N {
		if _, err := j.append(payloads, nil); err != nil {
			b.Fatal(err)
		}
	}
}

type nullFile struct{ diskFile }

func (nullFile) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
func (nullFile) Sync() error                            { return nil }

// checkpoint is pages of 64 series of 900 B.
func checkpoint(series int) []loop.Page {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 64*900)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	pages := make([]loop.Page, series/64)
	for n := range pages {
		pages[n] = loop.Page{ID: engine.PageID{Partition: uint8(n), Number: uint32(n / 256)}, Bytes: b}
	}
	return pages
}

// BenchmarkWritePages is a checkpoint of 20,000 series, again and again.
func BenchmarkWritePages(b *testing.B) {
	s := open(b, b.TempDir(), Config{})
	defer s.Close()
	pages := checkpoint(20_000)
	b.SetBytes(int64(len(pages) * 64 * 900))
	b.ResetTimer()
	for range b.N {
		if err := s.WritePages(0, pages); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen reads back a checkpoint of 200,000 series and a log of 100,000
// records, without an engine.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := open(b, dir, Config{})
	if err := s.WritePages(0, checkpoint(200_000)); err != nil {
		b.Fatal(err)
	}
	for range 100 {
		fill1000(b, s)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		s := open(b, dir, Config{})
		pages := 0
		if err := eachStored(s.pages.db, pagePrefix, func(stored) error { pages++; return nil }); err != nil || pages != 3125 {
			b.Fatal(pages, err)
		}
		if err := s.Scan(0, func(uint64, engine.Record) error { return nil }); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func fill1000(b *testing.B, s *Store) {
	records := make([]engine.Record, 1000)
	for i := range records {
		records[i] = engine.Label{RequestID: "0123456789abcdef", Anomaly: 1 << 60, Judgement: engine.JudgedTrue, By: "a person", Note: "a deployment, not a fault", At: 1_700_000_000_000}
	}
	if _, err := s.Append(records); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkAdmit is what each batch pays.
func BenchmarkAdmit(b *testing.B) {
	s := open(b, b.TempDir(), Config{MinFreeBytes: 1})
	defer s.Close()
	for range b.N {
		if err := s.Admit(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHundredCheckpoints writes a checkpoint a hundred times, with pages in
// the value log and with pages in the tables, and says what one costs in CPU and
// what the directory holds at most and in the end, in units of what is stored:
// two versions of each page. Run it with -benchtime 1x.
func BenchmarkHundredCheckpoints(b *testing.B) {
	inTables := func(dir string) badger.Options {
		return badgerOptions(dir).
			WithValueThreshold(1 << 20). // nothing goes to the value log
			WithMemTableSize(32 << 20).
			WithNumLevelZeroTables(5).WithBaseLevelSize(10 << 20)
	}
	for _, series := range []int{20_000, 100_000} {
		out := checkpoint(series)
		for _, layout := range []struct {
			name    string
			options func(string) badger.Options
		}{{"value-log", badgerOptions}, {"tables", inTables}} {
			b.Run(fmt.Sprintf("series=%d/%s", series, layout.name), func(b *testing.B) {
				for b.Loop() {
					hundredCheckpoints(b, layout.options(b.TempDir()), out)
				}
			})
		}
	}
}

func hundredCheckpoints(b *testing.B, o badger.Options, out []loop.Page) {
	b.Helper()
	const checkpoints = 100
	stored, most := 0.0, 0.0
	for _, p := range out {
		stored += float64(2 * (len(p.Bytes) + pageHead))
	}
	p, err := openPagesAs(o, func() bool { return true })
	if err != nil {
		b.Fatal(err)
	}
	begun := processCPU(b)
	for n := range checkpoints {
		for i := 0; i < len(out); i += 100 { // as a sweep does: some at a time
			if err := p.write(uint64(n), out[i:min(len(out), i+100)], func(int64) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		most = max(most, diskUse(b, o.Dir))
	}
	if err := p.close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((processCPU(b)-begun).Milliseconds())/checkpoints, "cpu-ms/checkpoint")
	b.ReportMetric(most/stored, "peak-x-stored")
	b.ReportMetric(diskUse(b, o.Dir)/stored, "end-x-stored")
}

func processCPU(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// diskUse is how many bytes of disk a directory takes: Badger reserves more
// than it has written.
func diskUse(b *testing.B, dir string) (bytes float64) {
	b.Helper()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a file that was rewritten meanwhile
		}
		if err != nil || d.IsDir() {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err == nil {
			bytes += float64(st.Blocks * 512)
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	return bytes
}

// BenchmarkWhatIf asks a tail log of 14 days of 1,000 series at 15 s, of which
// one point in 64 is in the tail, what another threshold would have done.
func BenchmarkWhatIf(b *testing.B) {
	const series, days = 1000, 14
	dir := b.TempDir()
	tail, err := openTail(Config{TailBytes: 1 << 30}.withDefaults(), dir, func() bool { return true })
	if err != nil {
		b.Fatal(err)
	}
	var naming engine.Naming
	var all []*engine.Series
	for i := range series {
		all = append(all, naming.NewSeries(labels.FromStrings("__name__", "m", "job", fmt.Sprint("job-", i/20), "instance", fmt.Sprint(i)), engine.TypeGauge))
	}
	r := rand.New(rand.NewPCG(1, 1))
	var points []engine.TailPoint
	kept := 0
	for at := int64(tailStart); at < tailStart+days*24*3600*1000; at += 15_000 {
		points = points[:0]
		for i := r.IntN(64); i < series; i += 64 {
			points = append(points, engine.TailPoint{
				Series: all[i], Slot: uint32(i), Interval: 15, At: at, Score: models.ScoreOf(2 + r.ExpFloat64()), Base: 314, Open: 314, Close: 157,
				NumParts: 3, Parts: [4]uint8{uint8(r.IntN(40)), uint8(r.IntN(40)), uint8(r.IntN(40))}, Before: engine.ManyBefore,
			})
		}
		kept += len(points)
		tail.Keep(at, points)
		if at%1_000_000 == 0 {
			tail.flush() // time runs faster here than the disk
		}
	}
	tail.close()
	scan := func(from, to int64, wanted func(*engine.Series) bool, fn func(*engine.TailPoint) error) (engine.TailReport, error) {
		return ReadTail(dir, from, to, wanted, fn)
	}
	var w *engine.WhatIf
	var rep engine.TailReport
	for b.Loop() {
		if w, rep, err = engine.Try(scan, nil, 0, engine.TrialConfig{Rule: engine.DaysRule(60)}); err != nil {
			b.Fatal(err)
		}
	}
	if w.Points != kept || rep.Lost != 0 || w.Base.Alerts == 0 || len(w.Lost) == 0 {
		b.Fatalf("%d points of %d, %d alerts in force", w.Points, kept, w.Base.Alerts)
	}
	b.ReportMetric(float64(rep.Bytes)/float64(rep.Points), "B/point")
	b.ReportMetric(float64(kept), "points")
}
