package engine

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/models/deep"
	"github.com/homeostat/homeostat/models/lean"
	"github.com/homeostat/homeostat/models/ratio"
)

// factors say in words what made the score: first how far the value is from what
// is usual, then what the detectors saw, the strongest first, and at last what a
// person said to ignore.
func (s *Shard) factors(x *point, ep *episode, a *Anomaly) []Factor {
	m := x.part.measureOf(x.slot)
	fs := s.seen(x, m, ep, a)
	if floor := s.floorOf(x.part, x.slot, m); floor != nil {
		fs = append(fs, Factor{Name: FloorFactor, Text: floor.text(unitOf(a.Series))})
	}
	return fs
}

func (s *Shard) seen(x *point, m *measure, ep *episode, a *Anomaly) []Factor {
	switch x.channel {
	case channelSlow:
		return []Factor{s.slowFactor(x, a)}
	case channelDeep:
		return sorted(deepFactors(x))
	case channelSpread:
		return []Factor{{Name: "spread", Score: a.Score, Text: s.spreadText(x, m)}}
	case channelLimit:
		return []Factor{
			{Name: limitFactor, Score: a.Score, Text: s.limitText(x, m)},
			{Name: usualFactor, Text: s.usualText(x, m)},
		}
	}
	if m.ratio != 0 {
		return []Factor{
			{Name: usualFactor, Score: a.Score, Text: fmt.Sprintf("%s of %s requests failed, usual is %s",
				inNumbers.text(x.failed, mostPlain), inNumbers.text(x.pooled, mostPlain), inShares.plain(x.reading.Expected))},
			{Name: ratio.PartNames[0], Score: x.reading.Parts[0], Text: "too many failed in this interval"},
			{Name: ratio.PartNames[1], Score: x.reading.Parts[1], Text: "too many failed in the last few intervals together"},
		}
	}
	fs := make([]Factor, 0, len(lean.PartNames)+2)
	for k, name := range lean.PartNames {
		fs = append(fs, Factor{Name: name, Score: x.reading.Parts[k], Text: partText(name, x, m)})
	}
	fs = append([]Factor{{Name: usualFactor, Score: a.Score, Text: s.usualText(x, m)}}, sorted(fs)...)
	switch {
	case a.Kind == KindSaturation && a.Limit > 0:
		if !x.part.limits[m.limit-1].near(x.value, true) {
			break // it has left
		}
		fs = slices.Insert(fs, 1, Factor{Name: limitFactor, Score: a.Score, Text: s.limitText(x, m)})
	case a.Kind == KindSaturation || a.Kind == KindLevelShift:
		fs = slices.Insert(fs, 0, Factor{Name: shiftFactor, Score: a.Score, Text: s.shiftText(x, ep, a)})
	}
	return fs
}

// FloorFactor names the factor that says which deviations of the series a person
// said to ignore. It has no score.
const FloorFactor = "floor"

// The names of other factors that are no detector's.
const (
	usualFactor = "usual" // how far the value is from what is usual
	shiftFactor = "shift" // from where a level moved, and when
	limitFactor = "limit" // how near a limit it is
	dayFactor   = "day"   // the reason of a season that the slow channel finds lost
)

func (s *Shard) slowFactor(x *point, a *Anomaly) Factor {
	u := unitOf(a.Series)
	if x.lost {
		return Factor{Name: dayFactor, Score: a.Score, Text: fmt.Sprintf("the day's change did not come: it moved by %s in two hours, usual would be %s",
			u.plain(x.moved), u.plain(x.slope))}
	}
	if x.slope <= 0 {
		return Factor{Name: "slope", Score: a.Score, Text: "rises no more"}
	}
	text := fmt.Sprintf("rises by %s an hour since %s, steadily", u.plain(x.slope), s.engine.clock(x.since))
	switch {
	case a.LimitAt > a.At:
		text += fmt.Sprintf("; its limit of %s is %s away", u.plain(a.Limit), span(a.LimitAt-a.At))
	case a.LimitAt > 0:
		text += fmt.Sprintf("; it is at its limit of %s", u.plain(a.Limit))
	}
	return Factor{Name: "slope", Score: a.Score, Text: text}
}

// span is a time for people, to one unit.
func span(ms int64) string {
	switch {
	case ms < 2*hourMillis:
		return fmt.Sprintf("%d min", (ms+minuteMillis/2)/minuteMillis)
	case ms < 2*dayMillis:
		return fmt.Sprintf("%d h", (ms+hourMillis/2)/hourMillis)
	}
	return fmt.Sprintf("%d days", (ms+dayMillis/2)/dayMillis)
}

// usualText compares the value with what is usual, for its time where the
// series has a season.
func (s *Shard) usualText(x *point, m *measure) string {
	u := unitOf(x.part.slots[x.slot].series)
	_, usual := u.both(x.value, x.reading.Expected)
	usual += s.when(x, m)
	if x.reading.Expected != 0 {
		switch share := x.value / x.reading.Expected; {
		case share >= 1.2:
			return fmt.Sprintf("%s times the usual %s", inNumbers.plain(share), usual)
		case share > 0 && share <= 0.8:
			return fmt.Sprintf("%s of the usual %s", inShares.plain(share), usual)
		}
	}
	return plainUsual + usual
}

// plainUsual begins the words for a value that is near what is usual.
const plainUsual = "usual is "

// when is the time for which something is usual, if the season is in use.
func (s *Shard) when(x *point, m *measure) string {
	season := x.part.season(m)
	local := s.engine.cfg.Zone.Local(x.at)
	if season == nil || x.reading.Expected != season.Forecast(x.at, local) {
		return ""
	}
	layout := " for 15:04"
	if season.Weekly(x.at) {
		layout = " for Monday 15:04"
	}
	return time.UnixMilli(local).UTC().Format(layout)
}

// shiftText says from where to where a level moved. At its end the level is the
// usual one, or the series is back where it was.
func (s *Shard) shiftText(x *point, ep *episode, a *Anomaly) string {
	u := unitOf(a.Series)
	now, from := u.both(x.value, ep.From)
	since := s.engine.clock(ep.OpenedAt)
	switch {
	case a.Revision != Closed:
		return fmt.Sprintf("went from %s to %s at %s and stays there", from, now, since)
	case math.Abs(x.value-ep.From) < math.Abs(x.value-ep.To):
		return fmt.Sprintf("is back at %s, from where it went at %s", now, since)
	}
	return fmt.Sprintf("is at %s since %s, from %s before, and that counts as usual now", now, since, from)
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

func partText(name string, x *point, m *measure) string {
	r := x.reading
	switch name {
	case "step":
		u := unitOf(x.part.slots[x.slot].series)
		_, last := m.core.Last()
		before, now := u.both(last, x.value)
		if before == now {
			return "it stayed at " + now + " from one value to the next"
		}
		return fmt.Sprintf("it went from %s to %s in one step", before, now)
	case "turn":
		return "it left the course of the last eight values"
	}
	side := "above"
	if r.Residual < 0 {
		side = "below"
	}
	away := ""
	if r.Scale > 0 {
		away = fmt.Sprintf(", this one by %s times the usual deviation", inNumbers.plain(math.Abs(r.Residual)/r.Scale))
	}
	return fmt.Sprintf("the last three values together lie %s what is usual%s", side, away)
}

// Why says in one line what is wrong, for a person.
func (a *Anomaly) Why() string {
	name := seriesText(a.Series.Labels)
	switch a.Kind {
	case KindSilence:
		return name + " stopped sending"
	case KindDataFault:
		return name + ": " + firstText(a.Factors)
	}
	now := unitOf(a.Series).plain(a.Value)
	switch firstName(a.Factors) {
	case usualFactor:
		if a.Kind == KindErrorRatio {
			return fmt.Sprintf("%s is %s: %s", name, now, firstText(a.Factors))
		}
		now, _ = unitOf(a.Series).both(a.Value, a.Expected)
		why := fmt.Sprintf("%s is %s, %s", name, now, firstText(a.Factors))
		// What is near what is usual has something else wrong with it.
		plain := strings.HasPrefix(firstText(a.Factors), plainUsual)
		if len(a.Factors) > 1 && (a.Factors[1].Name == limitFactor || plain && a.Factors[1].Name != "level") {
			why += "; " + a.Factors[1].Text
		}
		return why
	case limitFactor:
		return fmt.Sprintf("%s is %s, %s", name, now, firstText(a.Factors))
	case dayFactor, "silence", "tier":
		return fmt.Sprintf("%s is %s: %s", name, now, firstText(a.Factors))
	}
	return name + " " + firstText(a.Factors)
}

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

// clock is a time of the configured zone, as it stands in words.
func (e *Engine) clock(ms int64) string {
	return time.UnixMilli(e.cfg.Zone.Local(ms)).UTC().Format("2006-01-02 15:04")
}
