package engine

import (
	"math"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// This chapter writes numbers for people, in the unit that the name of a series
// says: 0.412 of a ..._seconds is 412 ms. What is written can be read back to
// the last bit, because a counterfactual that is rounded must still be one.

// unit is what the numbers of a measurement count.
type unit struct {
	scales []scale // the largest first; the last one takes what is smaller
	per    string  // what follows the unit's name, such as "/s"
}

// scale is a name for 10^ten · 2^two of a series' own unit.
type scale struct {
	name string
	ten  int
	two  int
}

func (s scale) size() float64 { return math.Ldexp(math.Pow10(s.ten), s.two) }

var (
	inNumbers = unit{scales: []scale{{name: "T", ten: 12}, {name: "G", ten: 9}, {name: "M", ten: 6}, {}}}
	inSeconds = unit{scales: []scale{{name: " s"}, {name: " ms", ten: -3}, {name: " µs", ten: -6}, {name: " ns", ten: -9}}}
	inMillis  = unit{scales: []scale{{name: " s", ten: 3}, {name: " ms"}, {name: " µs", ten: -3}}}
	inBytes   = unit{scales: []scale{{name: " TiB", two: 40}, {name: " GiB", two: 30}, {name: " MiB", two: 20}, {name: " KiB", two: 10}, {name: " B"}}}
	inShares  = unit{scales: []scale{{name: " %", ten: -2}}}
	inPercent = unit{scales: []scale{{name: " %"}}}
)

// unitEndings are the ends of names that say a unit, as Prometheus' conventions
// and its older exporters have them.
var unitEndings = []struct {
	end string
	is  unit
}{
	{"_seconds", inSeconds},
	{"_milliseconds", inMillis},
	{"_ms", inMillis},
	{"_bytes", inBytes},
	{"_ratio", inShares},
	{"_percent", inPercent},
}

// unitOf finds the unit of a measurement by its name.
func unitOf(s *Series) unit {
	name, made, derived := strings.Cut(s.Labels.Get(labels.MetricName), ":")
	if metric, operation, ok := strings.Cut(made, ":"); ok {
		name, made = metric, operation // a recording rule, level:metric:operation
	}
	u := inNumbers
	for _, e := range unitEndings {
		if strings.HasSuffix(strings.TrimSuffix(name, "_total"), e.end) {
			u = e.is
			break
		}
	}
	switch {
	case strings.HasSuffix(made, "error_ratio"):
		return inShares
	case strings.HasSuffix(made, "rate"):
		u = inNumbers
		u.per = "/s"
	case !derived && roleOf(s) == roleCounter:
		u.per = "/s"
	}
	return u
}

// plainDigits is how many digits a number for people has where nothing asks for
// more.
const plainDigits = 3

// text writes a value in so many significant digits.
func (u unit) text(v float64, digits int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return u.write(u.decimal(v, digits))
}

// plain writes a value for a person.
func (u unit) plain(v float64) string { return u.text(v, plainDigits) }

// both writes two values in as many digits as it takes to see that they differ.
func (u unit) both(a, b float64) (string, string) {
	digits := plainDigits
	if far, near := max(math.Abs(a), math.Abs(b)), math.Abs(a-b); near > 0 && far < math.MaxFloat64 {
		digits = min(max(digits, int(math.Ceil(math.Log10(far/near)))+2), mostDigits)
		a, b = nought(a, far), nought(b, far)
	}
	return u.text(a, digits), u.text(b, digits)
}

// nought is zero for what is nothing beside what it is compared with, as sums of
// floats leave it behind.
func nought(v, beside float64) float64 {
	if math.Abs(v) < nothing*beside {
		return 0
	}
	return v
}

const nothing = 1e-9

// mostDigits are enough to tell any two floats apart.
const mostDigits = 17

// decimal is m · 10^e of a scale.
type decimal struct {
	m int64
	e int
	scale
}

// decimal is the nearest number of so many digits, in the largest scale of
// which the value holds one.
func (u unit) decimal(v float64, digits int) decimal {
	in := u.scales[len(u.scales)-1]
	for _, s := range u.scales {
		if v != 0 && math.Abs(v) >= 0.9995*s.size() || v == 0 && s.size() == 1 {
			in = s
			break
		}
	}
	// The text form is exact where a product with a power of ten is not.
	text := strconv.FormatFloat(math.Ldexp(v, -in.two), 'e', digits-1, 64)
	mantissa, exponent, _ := strings.Cut(text, "e")
	m, _ := strconv.ParseInt(strings.Replace(mantissa, ".", "", 1), 10, 64)
	e, _ := strconv.Atoi(exponent)
	return decimal{m, e - (digits - 1) - in.ten, in}
}

// value is the float that the decimal stands for, in the series' own unit.
func (d decimal) value() float64 {
	v, _ := strconv.ParseFloat(strconv.FormatInt(d.m, 10)+"e"+strconv.Itoa(d.e+d.ten), 64)
	return math.Ldexp(v, d.two)
}

// plainPlaces is how far from the point a digit may stand before a number is
// written with an exponent.
const plainPlaces = 9

// write is the decimal with its unit.
func (u unit) write(d decimal) string {
	name := d.name + u.per
	digits := strconv.FormatInt(d.m, 10)
	sign := ""
	if d.m < 0 {
		sign, digits = "-", digits[1:]
	}
	if d.m == 0 {
		return "0" + name
	}
	e := d.e
	for strings.HasSuffix(digits, "0") {
		digits = digits[:len(digits)-1]
		e++
	}
	point := len(digits) + e // how many digits stand before the point
	switch {
	case point > len(digits)+plainPlaces || point < -plainPlaces:
		rest := ""
		if len(digits) > 1 {
			rest = "." + digits[1:]
		}
		return sign + digits[:1] + rest + "e" + strconv.Itoa(point-1) + name
	case e >= 0:
		return sign + digits + strings.Repeat("0", e) + name
	case point <= 0:
		return sign + "0." + strings.Repeat("0", -point) + digits + name
	}
	return sign + digits[:point] + "." + digits[point:] + name
}
