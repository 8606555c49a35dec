package history

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/homeostat/homeostat/engine"
)

func TestTimeGoesOnAsItDoesLive(t *testing.T) {
	path := put(t, t.TempDir(), "cpu.csv", "timestamp,value\n1000,1\n1001,2\n1001,3\n1060,4\n1260,5\n")
	text, r, err := replay(t, Config{Beyond: 20 * time.Second}, path)
	if err != nil {
		t.Fatal(err)
	}
	want(t, text, `
tick 1000
batch replay quiet=false
  {__name__="cpu", job="replay", service="cpu"} 1 @1000
tick 1001
batch replay quiet=false
  {__name__="cpu", job="replay", service="cpu"} 2 @1001
  {__name__="cpu", job="replay", service="cpu"} 3 @1001
tick 1012
tick 1060
batch replay quiet=false
  {__name__="cpu", job="replay", service="cpu"} 4 @1060
tick 1071
tick 1131
tick 1191
tick 1251
tick 1260
batch replay quiet=false
  {__name__="cpu", job="replay", service="cpu"} 5 @1260
tick 1271
tick 1281
`)
	if read, total := r.Progress(); read != total || total == 0 {
		t.Errorf("read %d of %d bytes, want all", read, total)
	}
}

func TestFilesMergeInOrderOfTime(t *testing.T) {
	folder := t.TempDir()
	a := put(t, folder, "a.csv", "timestamp,value\n10,1\n30,3\n50,5\n")
	b := putGzip(t, folder, "b.csv.gz", "timestamp,value\n20,2\n30,3\n40,4\n")
	text, _, err := replay(t, Config{}, b, a)
	if err != nil {
		t.Fatal(err)
	}
	got := samples(text)
	for i, at := range []string{"@10", "@20", "@30", "@30", "@40", "@50"} {
		if line := strings.Split(got, "\n")[i]; !strings.HasSuffix(line, at) {
			t.Errorf("line %d is %q, want %s", i, line, at)
		}
	}
	again, _, err := replay(t, Config{}, a, b)
	if err != nil || again != text {
		t.Errorf("the order of the paths changes the events: %v\n%s", err, again)
	}
}

func TestFilesOfOneNameAreWorkloadsOfTheirOwn(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	put(t, folder, "one/cpu.csv", "timestamp,value\n10,1\n")
	put(t, folder, "two/cpu.csv", "timestamp,value\n10,1\n")
	text, _, err := replay(t, Config{}, "one/cpu.csv", "two/cpu.csv")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{`service="one/cpu"`, `service="two/cpu"`, `__name__="one_cpu"`} {
		if !strings.Contains(text, name) {
			t.Errorf("%s is missing in\n%s", name, text)
		}
	}
}

func TestBatchesBelongToTheCaller(t *testing.T) {
	path := put(t, t.TempDir(), "cpu.csv", "timestamp,value\n"+strings.Repeat("10,1\n", 10)+strings.Repeat("11,2\n", 10))
	r, err := Open(Config{MaxBatch: 4}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	kept := map[*engine.Batch]float64{}
	total := 0
	for {
		ev, err := r.Next()
		if err != nil {
			break
		}
		if b, ok := ev.(*engine.Batch); ok {
			if len(b.Samples) > 4 {
				t.Errorf("a batch of %d samples, want 4 at most", len(b.Samples))
			}
			kept[b] = b.Samples[0].Value
			total += len(b.Samples)
		}
	}
	for b, v := range kept {
		for _, s := range b.Samples {
			if s.Value != v {
				t.Fatalf("a batch changed after it was handed over: %v", b.Samples)
			}
		}
	}
	if total != 20 {
		t.Errorf("%d samples, want 20", total)
	}
}

// The room for samples does not grow with what was read.
func TestRoomForBatchesIsBounded(t *testing.T) {
	var text strings.Builder
	text.WriteString("time")
	for i := range 300 {
		fmt.Fprintf(&text, ",c%d", i)
	}
	for i := range 400 {
		fmt.Fprintf(&text, "\n%d%s", 1_700_000_000+i, strings.Repeat(",1", 300))
	}
	r, err := Open(Config{}, put(t, t.TempDir(), "x.csv", text.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	total := 0
	for {
		ev, err := r.Next()
		if err != nil {
			break
		}
		if b, ok := ev.(*engine.Batch); ok {
			total += len(b.Samples)
		}
		if n := cap(r.pace.room); n > samplesAtOnce {
			t.Fatalf("after %d samples there is room for %d at once", total, n)
		}
	}
	if total != 300*400 {
		t.Errorf("%d samples, want %d", total, 300*400)
	}
}

func TestAnEmptyReplayHasNoEvents(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{"empty.csv": "", "header.csv": "timestamp,value\n", "m.om": "# EOF\n"} {
		text, _, err := replay(t, Config{}, put(t, folder, name, text))
		if err != nil || text != "" {
			t.Errorf("%s: %v, events %q, want none", name, err, text)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{
		{Grace: -1},
		{Beyond: -1},
		{TickEvery: time.Millisecond},
		{MaxBatch: -1},
		{MaxSamples: -1},
		{MaxSeries: -1},
		{Naming: engine.Naming{WorkloadBy: [][]string{{}}}},
	} {
		if _, err := Open(cfg, "x.csv"); err == nil || !strings.HasPrefix(err.Error(), "replay: ") {
			t.Errorf("%+v: error %v, want one of the configuration", cfg, err)
		}
	}
	if _, err := Open(Config{}); err == nil {
		t.Error("a replay of no file is accepted")
	}
	if _, err := Open(Config{}, t.TempDir()); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("a folder: error %v, want one that says so", err)
	}
}

func TestAWrongTimeCostsABoundedNumberOfTicks(t *testing.T) {
	path := put(t, t.TempDir(), "x.csv", "time,value\n0,1\n4000000000,2\n")
	text, _, err := replay(t, Config{}, path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text, "tick"); n > maxSteps+10 {
		t.Errorf("%d ticks, want at most about %d", n, maxSteps)
	}
	if !strings.Contains(text, "tick 4e+09\nbatch") {
		t.Error("there is no tick at the second of the last sample")
	}
}

// A file replays alike however it is compressed; what asks for more memory than
// unpacking may take is an error that names it.
func TestCompressedFilesReplayAsTheTextDoes(t *testing.T) {
	folder := t.TempDir()
	const text = "timestamp,value\n1000,1\n1060,4\n"
	want, _, err := replay(t, Config{}, put(t, folder, "cpu.csv", text))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{putGzip(t, folder, "cpu.csv.gz", text), putZstd(t, folder, "cpu.csv.zst", text)} {
		if got, _, err := replay(t, Config{}, path); err != nil || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", path, err, got, want)
		}
	}
	// The frame header of a window of 2 GiB, and of a file cut short.
	for name, b := range map[string]string{"large.zst": "\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", "cut.zst": "\x28\xb5\x2f\xfd\x00"} {
		path := put(t, folder, name, b)
		if _, _, err := replay(t, Config{}, path); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

// An embedded file replays as the same file on disk does.
func TestAFileSystemReplaysAsTheDiskDoes(t *testing.T) {
	folder := t.TempDir()
	putGzip(t, folder, "deep/cpu.csv.gz", "timestamp,value\n1000,1\n1060,4\n")
	want, _, err := replay(t, Config{}, folder+"/deep/cpu.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenFS(Config{}, os.DirFS(folder), "deep/cpu.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	got, err := tell(t, r)
	if err != nil || got != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
	if read, total := r.Progress(); read != total || total == 0 {
		t.Errorf("read %d of %d bytes, want all", read, total)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"deep", "missing.csv"} {
		if r, err := OpenFS(Config{}, os.DirFS(folder), path); err == nil {
			r.Close()
			t.Errorf("%s was opened", path)
		}
	}
}
