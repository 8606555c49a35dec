package engine

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/models/deep"
	"github.com/homeostat/homeostat/models/lean"
	"github.com/homeostat/homeostat/models/ratio"
)

// factors say in words what made the score, the strongest first: how far the
// value is from what was expected, and which detectors saw what.
func (s *Shard) factors(x *point, a *Anomaly) []Factor {
	if x.channel == channelSlow && x.lost {
		return []Factor{{Name: dayFactor, Score: a.Score, Text: fmt.Sprintf("the day's change did not come: it moved by %s in two hours, usual would be %s",
			quantity(x.moved), quantity(x.slope))}}
	}
	if x.channel == channelSlow {
		return []Factor{{Name: "slope", Score: a.Score, Text: fmt.Sprintf("rises by %s an hour since %s, steadily",
			quantity(x.slope), clock(x.since))}}
	}
	if x.channel == channelDeep {
		return sorted(deepFactors(x))
	}
	m := x.part.measureOf(x.slot)
	if m.ratio != 0 {
		return []Factor{
			{Name: ratio.PartNames[0], Score: x.reading.Parts[0], Text: fmt.Sprintf("%s of %s requests failed, the usual share is %s",
				quantity(x.value*x.pooled), quantity(x.pooled), quantity(x.reading.Expected))},
			{Name: ratio.PartNames[1], Score: x.reading.Parts[1], Text: "of the requests of the last few intervals together, too many failed"},
		}
	}
	fs := make([]Factor, 0, len(lean.PartNames))
	for k, name := range lean.PartNames {
		fs = append(fs, Factor{Name: name, Score: x.reading.Parts[k], Text: partText(name, x)})
	}
	return sorted(fs)
}

// sorted puts the strongest factor first, and keeps the order of equal ones.
func sorted(fs []Factor) []Factor {
	for i := 1; i < len(fs); i++ {
		for j := i; j > 0 && fs[j].Score > fs[j-1].Score; j-- {
			fs[j], fs[j-1] = fs[j-1], fs[j]
		}
	}
	return fs
}

// deepFactors say what the members of the deep tier saw.
func deepFactors(x *point) []Factor {
	fs := make([]Factor, 0, len(deep.PartNames))
	for k, name := range deep.PartNames {
		fs = append(fs, Factor{Name: name, Score: x.reading.Parts[k], Text: deepText(name, x)})
	}
	return fs
}

func deepText(name string, x *point) string {
	switch name {
	case "look":
		return "the value, its averages over 4, 16 and 64 points and how they move never came together like this"
	case "window":
		return "the last 52 values are a mix unlike any that was kept from before"
	case "range":
		if !deep.Record(x.reading) {
			return "the value is within the range that the series had"
		}
		if x.reading.Residual < 0 {
			return "the value was never so low"
		}
		return "the value was never so high"
	}
	return "the last 104 values lie where few lay before"
}

func partText(name string, x *point) string {
	r := x.reading
	side := "above"
	if r.Residual < 0 {
		side = "below"
	}
	away := ""
	if r.Scale > 0 {
		away = fmt.Sprintf(", %s times the usual deviation", quantity(math.Abs(r.Residual)/r.Scale))
	}
	switch name {
	case "step":
		return "the step from the value before is unusual for this time of the day"
	case "turn":
		return "the value left the line of the last eight"
	}
	return fmt.Sprintf("the last three values lie %s what is expected: %s where %s was expected%s",
		side, quantity(x.value), quantity(r.Expected), away)
}

// Why says in one line what is wrong, for a person.
func (a *Anomaly) Why() string {
	name := seriesText(a.Series.Labels)
	switch a.Kind {
	case KindSilence:
		return name + " stopped sending"
	case KindDataFault:
		return name + ": " + firstText(a.Factors)
	case KindLeak, KindNovelty, KindShape:
		return name + " " + firstText(a.Factors)
	}
	times := ""
	if a.Expected > 0 && a.Value > 0 && a.Value/a.Expected >= 1.2 {
		times = fmt.Sprintf(", %s times the usual", quantity(a.Value/a.Expected))
	}
	return fmt.Sprintf("%s is %s, expected %s%s", name, quantity(a.Value), quantity(a.Expected), times)
}

// Counterfactual says which value would have been quiet at the threshold in
// force.
func (a *Anomaly) Counterfactual() string {
	switch {
	case a.Kind == KindSilence || a.Kind == KindDataFault:
		return "quiet if it had sent"
	case tierOf(a.Kind) == tierDeep && a.Lower == a.Upper:
		return "no other value of this point alone would have been quiet"
	case a.Direction < 0:
		return fmt.Sprintf("quiet if ≥ %s (was %s)", quantity(a.Lower), quantity(a.Value))
	}
	return fmt.Sprintf("quiet if ≤ %s (was %s)", quantity(a.Upper), quantity(a.Value))
}

// dayFactor names the reason of a season that the slow channel finds lost.
const dayFactor = "day"

func firstName(fs []Factor) string {
	if len(fs) == 0 {
		return ""
	}
	return fs[0].Name
}

func firstText(fs []Factor) string {
	if len(fs) == 0 {
		return ""
	}
	return fs[0].Text
}

// seriesText is a series as Prometheus writes it. Label values are quoted, so
// that a hostile one cannot break a line.
func seriesText(ls labels.Labels) string {
	var b strings.Builder
	b.WriteString(ls.Get(labels.MetricName))
	first := true
	ls.Range(func(l labels.Label) {
		if l.Name == labels.MetricName {
			return
		}
		if first {
			b.WriteByte('{')
		} else {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(l.Name)
		b.WriteByte('=')
		b.WriteString(strconv.Quote(l.Value))
	})
	if !first {
		b.WriteByte('}')
	}
	return b.String()
}

// Text is the series as Prometheus writes it.
func (s *Series) Text() string { return seriesText(s.Labels) }

// quantity writes a number for a person: four significant digits.
func quantity(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04") }
