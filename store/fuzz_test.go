package store

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/homeostat/homeostat/engine"
)

// FuzzLog opens any bytes as the one segment of a log. It may not panic; what
// it takes for records must be so: read again, and appended to, it stays.
func FuzzLog(f *testing.F) {
	d := newMemDisk()
	j := mustOpen(f, d, 1<<20)
	for _, p := range [][][]byte{{[]byte("one"), []byte("two")}, {bytes.Repeat([]byte{7}, 600)}, {{}}} {
		if _, err := j.append(p, nil); err != nil {
			f.Fatal(err)
		}
	}
	whole := d.names["/log/"+segmentName(1)].data
	f.Add(whole)
	f.Add(whole[:len(whole)-9])
	f.Add(whole[:segmentHead])
	f.Add(append(append([]byte(nil), whole...), make([]byte, 700)...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newMemDisk()
		n := &inode{data: append([]byte(nil), b...), durable: append([]byte(nil), b...)}
		d.names["/log/"+segmentName(1)], d.durable["/log/"+segmentName(1)] = n, n
		j, err := openJournal(d, "/log", segmentOfLog, 1<<20)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		before := contents(t, j, 0)
		if _, err := j.append([][]byte{[]byte("more")}, nil); err != nil {
			t.Fatal(err)
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
		if after := contents(t, mustOpen(t, d, 1<<20), 0); !equal(after, append(before, []byte("more"))) {
			t.Fatalf("%d records, and %d after one more", len(before), len(after))
		}
	})
}

// FuzzValue parses any bytes as a page; what parses is written the same.
func FuzzValue(f *testing.F) {
	f.Add(value{kind: kindPage, id: engine.PageID{Partition: 3, Number: 4}, turn: 1, asOf: 9, bytes: []byte("page")}.append(nil))
	f.Add(value{kind: kindSettle, asOf: 1 << 60, swept: 5}.append(nil))
	f.Add([]byte(pageMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseValue(b)
		if err != nil {
			return
		}
		if !bytes.Equal(v.append(nil), b) {
			t.Fatalf("%+v is written otherwise", v)
		}
	})
}

// FuzzTip parses any bytes as a tip, likewise.
func FuzzTip(f *testing.F) {
	f.Add(tip{first: 1, last: 77, tail: 60, noted: noted{settled: 70, pages: 4}}.append(nil))
	f.Add([]byte(tipMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseTip(b)
		if err == nil && !bytes.Equal(v.append(nil), b) {
			t.Fatalf("%+v is written otherwise", v)
		}
	})
}

// FuzzRecording plays any bytes. It may not panic, and it ends.
func FuzzRecording(f *testing.F) {
	d := newMemDisk()
	record(f, d, "/rec", inputs(6))
	whole := d.names["/rec"].data
	f.Add(whole)
	f.Add(whole[:len(whole)-5])
	f.Add(whole[:segmentHead])
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newMemDisk()
		d.names["/rec"] = &inode{data: b}
		p, err := openRecording(d, "/rec")
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		got, err := play(p)
		if err == nil || err == io.EOF && p.Torn() > int64(len(b)) || len(got) > len(b) {
			t.Fatalf("%d inputs of %d bytes, %v", len(got), len(b), err)
		}
	})
}
