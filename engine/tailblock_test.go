package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/models"
)

// tailPoints are n points of some series, of all channels, in an order of time
// that jumps back now and then as late samples do.
func tailPoints(n int, seed uint64) []TailPoint {
	r := rand.New(rand.NewPCG(seed, 1))
	var naming Naming
	var all []*Series
	for i := range 40 {
		all = append(all, naming.NewSeries(labels.FromStrings("__name__", "m", "job", "api", "instance", fmt.Sprint(i)), TypeGauge))
	}
	at := shopStart
	out := make([]TailPoint, n)
	for i := range out {
		at += int64(r.IntN(3000)) - 200
		s := r.IntN(len(all))
		p := TailPoint{
			Series: all[s], Slot: uint32(s), Interval: 15, At: at, Score: models.Score(128 + r.IntN(800)), Channel: ChannelMain,
			Base: 313, Close: 157, Open: 314, NumParts: 3, Before: uint8(r.IntN(ManyBefore + 1)), Up: r.IntN(2) == 0, Opened: r.IntN(50) == 0,
		}
		switch r.IntN(20) {
		case 0:
			p.Channel, p.NumParts, p.Interval = ChannelSlow, 1, 3600
		case 1:
			p.Channel, p.NumParts, p.Close, p.Open = ChannelDeep, 4, 160, 350
		}
		if s%10 == 0 && p.Channel == ChannelMain && i > n/2 {
			p.Close, p.Open = 165, 330 // a label moved it
		}
		for k := range p.NumParts {
			p.Parts[k] = uint8(r.IntN(256))
		}
		out[i] = p
	}
	return out
}

// encodeTail writes points in blocks of a size.
func encodeTail(points []TailPoint, size int) [][]byte {
	var e TailEncoder
	var blocks [][]byte
	for from := 0; from < len(points); from += size {
		b := e.Block(nil)
		for i := from; i < min(from+size, len(points)); i++ {
			b = e.Append(b, &points[i])
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// same says whether two points are equal, whatever their series' addresses.
func (p TailPoint) same(q TailPoint) bool {
	if p.Series.ID != q.Series.ID || p.Series.Workload != q.Series.Workload {
		return false
	}
	p.Series = q.Series
	return reflect.DeepEqual(p, q)
}

func TestTailBlocksAreReadAsTheyWereWritten(t *testing.T) {
	points := tailPoints(5000, 1)
	d := NewTailDecoder(nil)
	n, bytes := 0, 0
	for _, b := range encodeTail(points, 700) {
		bytes += len(b)
		if err := d.Block(b, func(p *TailPoint) error {
			if !p.same(points[n]) {
				t.Fatalf("point %d: %+v, want %+v", n, *p, points[n])
			}
			n++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n != len(points) || d.Lost() != 0 {
		t.Fatalf("%d of %d points came back, %d were lost", n, len(points), d.Lost())
	}
	if each := float64(bytes) / float64(n); each > 17 {
		t.Errorf("%.1f bytes a point, want at most 17", each)
	}
}

// A block that is gone takes what it defined with it: points of others come
// back as they are, and none comes back as another's.
func TestAMissingTailBlockIsCountedAndMisleadsNobody(t *testing.T) {
	points := tailPoints(5000, 2)
	blocks := encodeTail(points, 100)
	for gone := range blocks {
		d := NewTailDecoder(nil)
		got := 0
		for i, b := range blocks {
			if i == gone {
				continue
			}
			next := i * 100
			if err := d.Block(b, func(p *TailPoint) error {
				for !p.same(points[next]) {
					if next++; next == min((i+1)*100, len(points)) {
						t.Fatalf("without block %d a point came back that is not in block %d: %+v", gone, i, *p)
					}
				}
				next++
				got++
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if uint64(got)+d.Lost() != uint64(len(points)-100) {
			t.Fatalf("without block %d: %d points and %d lost of %d", gone, got, d.Lost(), len(points)-100)
		}
	}
}

func TestOnlyWantedSeriesAreRead(t *testing.T) {
	points := tailPoints(1000, 3)
	id := points[0].Series.ID
	d := NewTailDecoder(func(s *Series) bool { return s.ID == id })
	want := 0
	for _, p := range points {
		if p.Series.ID == id {
			want++
		}
	}
	for _, b := range encodeTail(points, 1000) {
		if err := d.Block(b, func(p *TailPoint) error {
			if p.Series.ID != id {
				t.Errorf("a point of %s was not asked for", p.Series.Text())
			}
			want--
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if want != 0 {
		t.Errorf("%d points are missing", want)
	}
}

// FuzzTailBlock reads any bytes as a block. What is read is written again and
// reads the same.
func FuzzTailBlock(f *testing.F) {
	for _, b := range encodeTail(tailPoints(30, 4), 10) {
		f.Add(b)
	}
	f.Add([]byte{tailVersion})
	f.Add([]byte{tailVersion, 0, 1, 0, 0, 15, 100, 99, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var read []TailPoint
		if err := NewTailDecoder(nil).Block(b, func(p *TailPoint) error {
			read = append(read, *p)
			return nil
		}); err != nil {
			if !errors.Is(err, ErrTail) {
				t.Fatal(err)
			}
			return
		}
		for i := range read {
			// The encoder notes 8 bytes for each slot up to the highest.
			read[i].Slot %= 1000
		}
		n, d := 0, NewTailDecoder(nil)
		for _, b := range encodeTail(read, 1000) {
			if err := d.Block(b, func(p *TailPoint) error {
				if !p.same(read[n]) {
					t.Fatalf("%+v was written as %+v", read[n], *p)
				}
				n++
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
