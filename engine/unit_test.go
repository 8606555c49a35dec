package engine

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

func named(name string) *Series {
	return Naming{}.NewSeries(labels.FromStrings("__name__", name), TypeUnknown)
}

func TestNumbersAreInTheUnitOfTheirName(t *testing.T) {
	for _, c := range []struct {
		name string
		v    float64
		want string
	}{
		{"queue_depth", 403.236, "403"},
		{"queue_depth", 0, "0"},
		{"queue_depth", 1, "1"},
		{"queue_depth", -0.0123456, "-0.0123"},
		{"queue_depth", 152400, "152000"},
		{"queue_depth", 15240000, "15.2M"},
		{"queue_depth", 1e-12, "1e-12"},
		{"queue_depth", 3e20, "300000000T"},
		{"queue_depth", math.Inf(1), "+Inf"},
		{"http_request_duration_seconds:p99", 0.6429, "643 ms"},
		{"http_request_duration_seconds:p50", 1.25, "1.25 s"},
		{"http_request_duration_seconds:p50", 0, "0 s"},
		{"http_request_duration_seconds:rate", 12.34, "12.3/s"},
		{"gc_pause_seconds", 0.00000213, "2.13 µs"},
		{"jvm_gc_ms", 12.5, "12.5 ms"},
		{"jvm_gc_ms", 2500, "2.5 s"},
		{"process_resident_memory_bytes", 15240000, "14.5 MiB"},
		{"process_resident_memory_bytes", 0, "0 B"},
		{"process_resident_memory_bytes", 1 << 30, "1 GiB"},
		{"node_network_receive_bytes_total", 2048, "2 KiB/s"},
		{"http_requests_total", 0.13333, "0.133/s"},
		{"job:http_requests:rate", 5, "5/s"},
		{"job:node_memory_bytes:sum", 2048, "2 KiB"},
		{"http_requests_total:error_ratio", 0.2162, "21.6 %"},
		{"cache_hit_ratio", 0.5, "50 %"},
		{"disk_used_percent", 91.5, "91.5 %"},
	} {
		if got := unitOf(named(c.name)).plain(c.v); got != c.want {
			t.Errorf("%v of %s is %q, want %q", c.v, c.name, got, c.want)
		}
	}
}

func TestTwoNumbersShowThatTheyDiffer(t *testing.T) {
	for _, c := range []struct {
		a, b         float64
		wantA, wantB string
	}{
		{403.236, 99.86, "403", "99.9"},
		{100.2, 100.1, "100.2", "100.1"},
		{1e8 + 12, 1e8, "100.000012M", "100M"},
		{5, 5, "5", "5"},
		{8.38e-12, 91, "0", "91"},
	} {
		if a, b := inNumbers.both(c.a, c.b); a != c.wantA || b != c.wantB {
			t.Errorf("%v and %v are %q and %q, want %q and %q", c.a, c.b, a, b, c.wantA, c.wantB)
		}
	}
}

// What is written is what the decimal stands for, whatever the unit and the
// size: a person who types the number back gets the same float.
func TestWhatIsWrittenReadsBackTheSame(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, u := range []unit{inNumbers, inSeconds, inMillis, inBytes, inShares, inPercent} {
		for range 20000 {
			v := math.Ldexp(rng.NormFloat64(), rng.IntN(80)-40)
			digits := 1 + rng.IntN(mostDigits)
			d := u.decimal(v, digits)
			if got := readBack(t, u, u.write(d)); got != d.value() {
				t.Fatalf("%v in %d digits is written %q, which is %v and not %v", v, digits, u.write(d), got, d.value())
			}
			if off := math.Abs(d.value()-v) / math.Abs(v); off > 0.5*math.Pow10(1-digits)*(1+1e-9) && off > 1e-15 {
				t.Fatalf("%v in %d digits is %q: off by %v", v, digits, u.write(d), off)
			}
		}
	}
}

// readBack is what a text of a unit says, by the text alone.
func readBack(t *testing.T, u unit, text string) float64 {
	t.Helper()
	best := -1
	for i, s := range u.scales {
		if strings.HasSuffix(text, s.name+u.per) && (best < 0 || len(s.name) > len(u.scales[best].name)) {
			best = i
		}
	}
	if best < 0 {
		t.Fatalf("%q has no unit", text)
	}
	s := u.scales[best]
	number := strings.TrimSuffix(text, s.name+u.per)
	mantissa, exponent, _ := strings.Cut(number, "e")
	e, _ := strconv.Atoi(exponent)
	v, err := strconv.ParseFloat(mantissa+"e"+strconv.Itoa(e+s.ten), 64)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return math.Ldexp(v, s.two)
}
