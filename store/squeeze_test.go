package store

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/homeostat/homeostat/engine"
)

// crowdedSettle is a settle record of more text than Badger takes in one value:
// what waits when a great many series fall silent at once.
func crowdedSettle(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"Version":1,"Open":1700000000000,"Tick":1700000010000,"Hushes":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		id := uint64(i+1) * 0x9e3779b97f4a7c15
		fmt.Fprintf(&b, `{"Partition":%d,"Slot":%d,"Series":%d,"LastAt":%d,"JudgeAt":1700000060000}`, id>>56, i/256, id, 1_699_999_700_000+i%15_000)
	}
	b.WriteString("]}")
	return []byte(b.String())
}

func TestACrowdedSettleRecordIsStored(t *testing.T) {
	// One long name takes the place of many entries, which take long to read back
	// when the race detector looks on.
	record := []byte(`{"Version":1,"Open":1700000000000,"Tick":1700000010000,"Senders":{"1":"` + strings.Repeat("a crowd of series ", valueLogFile/18+1) + `"}}`)
	if len(record) <= valueLogFile {
		t.Fatalf("a record of %d bytes tests nothing", len(record))
	}
	dir := t.TempDir()
	s := open(t, dir, Config{})
	if _, err := s.Append([]engine.Record{engine.Tick{Now: 1_700_000_010_000}}); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteSettle(1, record); err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	s, e, rep := reopen(t, dir)
	defer s.Close()
	if _, tick := e.Open(); rep.Settled != 1 || tick != 1_700_000_010_000 {
		t.Errorf("settled as of %d, the tick is %d", rep.Settled, tick)
	}
}

func TestASettleRecordUnfoldsToWhatItWas(t *testing.T) {
	for _, n := range []int{0, 1, 5000, 12_000, 40_000} {
		record := crowdedSettle(n)
		stored, err := squeeze(record)
		if err != nil {
			t.Fatal(err)
		}
		if squeezed := !bytes.Equal(stored, record); squeezed != (len(record) >= squeezeFrom) {
			t.Errorf("%d bytes: compressed is %v", len(record), squeezed)
		}
		again, err := unfold(stored)
		if err != nil || !bytes.Equal(again, record) {
			t.Errorf("%d bytes came back as %d: %v", len(record), len(again), err)
		}
		if len(record) >= squeezeFrom {
			if _, err := unfold(stored[:len(stored)/2]); err == nil {
				t.Error("half of it unfolds")
			}
		}
	}
}
