package engine

import "slices"

// Docket gathers what people said of anomalies from the records of a log.
type Docket struct {
	anomalies map[AnomalyID]*Judged
	labels    []Label
}

// NewDocket makes an empty one.
func NewDocket() *Docket { return &Docket{anomalies: map[AnomalyID]*Judged{}} }

// Take takes a record in, in the order of the log.
func (d *Docket) Take(r Record) {
	switch r := r.(type) {
	case *Anomaly:
		if j := d.anomalies[r.ID]; j != nil {
			j.LastAt = max(j.LastAt, r.At)
			return
		}
		if c, ok := channelFor(r); ok {
			d.anomalies[r.ID] = &Judged{Anomaly: r.ID, Series: r.Series.ID, Channel: c, OpenedAt: r.OpenedAt, LastAt: r.At}
		}
	case Label:
		d.labels = append(d.labels, r)
	case Undo:
		d.labels = slices.DeleteFunc(d.labels, func(l Label) bool { return l.RequestID == r.Label })
	}
}

// Judged are the anomalies that were judged and whose record is known, by the
// last word on each, in order of opening.
func (d *Docket) Judged() []Judged {
	last := map[AnomalyID]Label{}
	for _, l := range d.labels {
		last[l.Anomaly] = l
	}
	var out []Judged
	for id, l := range last {
		if j := d.anomalies[id]; j != nil {
			said := *j
			said.Judgement, said.Request = l.Judgement, l.RequestID
			out = append(out, said)
		}
	}
	slices.SortFunc(out, func(a, b Judged) int {
		if a.OpenedAt != b.OpenedAt {
			return int(min(max(a.OpenedAt-b.OpenedAt, -1), 1))
		}
		return compareIDs(SeriesID(a.Anomaly), SeriesID(b.Anomaly))
	})
	return out
}

// channelFor is the channel whose scores made an anomaly; false for one that no
// score made.
func channelFor(a *Anomaly) (Channel, bool) {
	switch {
	case a.Kind == KindSilence, isFault(a):
		return 0, false
	case opensSlow(a):
		return ChannelSlow, true
	case tierOf(a.Kind) == tierDeep:
		return ChannelDeep, true
	}
	return ChannelMain, true
}

// opensSlow says that an anomaly is one of the slow channel's.
func opensSlow(a *Anomaly) bool {
	return a.Kind == KindLeak || a.Kind == KindLostSeason && firstName(a.Factors) == dayFactor
}
