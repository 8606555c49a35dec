package load

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// decoded is one series of a request, as Prometheus' own types read it.
type decoded struct {
	Labels []Label
	At     int64
	Value  float64
	Type   uint64
}

func decode(t *testing.T, p Protocol, body []byte) []decoded {
	t.Helper()
	raw, err := s2.Decode(nil, body)
	if err != nil {
		t.Fatal(err)
	}
	var out []decoded
	if p == V1 {
		var r prompb.WriteRequest
		if err := r.Unmarshal(raw); err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Timeseries {
			d := decoded{}
			for _, l := range s.Labels {
				d.Labels = append(d.Labels, Label{l.Name, l.Value})
			}
			for _, x := range s.Samples {
				d.At, d.Value = x.Timestamp, x.Value
			}
			out = append(out, d)
		}
		return out
	}
	var r writev2.Request
	if err := r.Unmarshal(raw); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Timeseries {
		d := decoded{Type: uint64(s.Metadata.Type)}
		for k := 0; k < len(s.LabelsRefs); k += 2 {
			d.Labels = append(d.Labels, Label{r.Symbols[s.LabelsRefs[k]], r.Symbols[s.LabelsRefs[k+1]]})
		}
		for _, x := range s.Samples {
			d.At, d.Value = x.Timestamp, x.Value
		}
		out = append(out, d)
	}
	return out
}

// What Prometheus' own types decode is what was meant, round after round.
func TestRequestsDecodeToWhatWasMeant(t *testing.T) {
	for _, p := range []Protocol{V1, V2} {
		f := New(Shape{Series: 500, Mix: Real, Seed: 9})
		first, err := NewTemplate(f, p, 0, 300)
		if err != nil {
			t.Fatal(err)
		}
		rest, err := NewTemplate(f, p, 300, 200)
		if err != nil {
			t.Fatal(err)
		}
		for round := range int64(3) {
			at := 1_700_000_000_000 + round*Step
			values := f.Next()
			values[7] = 0 // a zero is written too
			var want []decoded
			for i, v := range values {
				d := decoded{Labels: f.Labels(i, nil), At: at, Value: v}
				if p == V2 {
					d.Type = typeV2[f.Kind(i)]
				}
				want = append(want, d)
			}
			got := append(decode(t, p, first.Encode(at, values)), decode(t, p, rest.Encode(at, values))...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s, round %d (-meant +decoded):\n%s", p, round, diff)
			}
		}
	}
}

// The figures of other receivers were taken with about 346 bytes a sample, which
// compress to about 33.
func TestASampleHasTheUsualSize(t *testing.T) {
	f := New(Shape{Series: 20_000, Mix: Gauges, Seed: 1})
	raw, compressed := 0, 0
	values := f.Next()
	for first := 0; first < f.Len(); first += 2000 {
		tpl, err := NewTemplate(f, V1, first, 2000)
		if err != nil {
			t.Fatal(err)
		}
		raw += tpl.Size()
		compressed += len(tpl.Encode(1_700_000_000_000, values))
	}
	if n := float64(raw) / float64(f.Len()); n < 336 || n > 356 {
		t.Errorf("%.0f bytes a sample, want about 346", n)
	}
	if n := float64(compressed) / float64(f.Len()); n < 25 || n > 80 {
		t.Errorf("%.0f compressed bytes a sample, want some tens", n)
	}
	t.Logf("%.0f bytes a sample, %.1f compressed", float64(raw)/float64(f.Len()), float64(compressed)/float64(f.Len()))
}

func BenchmarkRound(b *testing.B) {
	for _, p := range []Protocol{V1, V2} {
		b.Run(string(p), func(b *testing.B) {
			f := New(Shape{Series: 2000, Mix: Real, Seed: 1})
			tpl, err := NewTemplate(f, p, 0, 2000)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				tpl.Encode(1_700_000_000_000, f.Next())
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/sample")
		})
	}
}
