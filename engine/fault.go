package engine

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/homeostat/homeostat/models"
)

// fault is an open data fault: a sender, a workload or a target that stopped.
// It says something of the data and nothing of what is measured.
type fault struct {
	Of       faultOf
	Name     string // of the sender
	Hash     uint32 // of the sender
	Workload Workload
	Instance string
	OpenedAt int64
	LastAt   int64 // of the newest sample before it stopped
	Series   int   // that fell silent with it
	ID       AnomalyID
}

type faultOf uint8

const (
	faultSender faultOf = iota + 1
	faultWorkload
	faultTarget
)

// senderSlack is how much older than the sender's newest sample a series' last
// one may be for both to have stopped together: a long scrape interval.
const senderSlack = 2 * minuteMillis

func (h hush) compare(o hush) int {
	if h.JudgeAt != o.JudgeAt {
		if h.JudgeAt < o.JudgeAt {
			return -1
		}
		return 1
	}
	return compareIDs(h.Series, o.Series)
}

// senderHash is what a slot remembers of its sender.
func senderHash(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()
}

// The names of senders come from outside, so that their number is bounded: with
// maxSenders known, new ones count as one. Who sent nothing for senderLife is
// forgotten.
const (
	maxSenders   = 1000
	senderLife   = 7 * dayMillis
	otherSenders = "(other senders)"
)

// senderOf is under which hash and name a sender counts.
func (e *Engine) senderOf(name string) (uint32, string) {
	h := senderHash(name)
	if _, known := e.settle.senders[h]; known || len(e.settle.senders) < maxSenders {
		return h, name
	}
	return senderHash(otherSenders), otherSenders
}

// forgetSenders lets go of those that sent nothing for long. What they sent fell
// silent long ago, and their fault, where one is open, keeps their name.
func (e *Engine) forgetSenders(open int64) {
	// Of each that is known here or in a partition: after a restart a page may
	// name one that was forgotten.
	newest := map[uint32]int64{}
	for h := range e.settle.senders {
		newest[h] = 0
	}
	for _, s := range e.shards {
		for _, p := range s.active {
			for h, seen := range p.senders {
				newest[h] = max(newest[h], seen.at)
			}
		}
	}
	for h, at := range newest {
		if at > open-senderLife {
			continue
		}
		delete(e.settle.senders, h)
		for _, s := range e.shards {
			for _, p := range s.active {
				delete(p.senders, h)
			}
		}
	}
}

// noteSenders collects the names of the senders that the partitions have seen.
func (e *Engine) noteSenders() {
	for _, s := range e.shards {
		for _, p := range s.active {
			for h, seen := range p.senders {
				if _, ok := e.settle.senders[h]; !ok {
					e.settle.senders[h] = seen.name
				}
			}
		}
	}
}

// newest is the time of the newest sample of a sender.
func (e *Engine) newest(sender uint32) int64 {
	var at int64
	for _, s := range e.shards {
		for _, p := range s.active {
			if seen := p.senders[sender]; seen != nil {
				at = max(at, seen.at)
			}
		}
	}
	return at
}

// live counts the series of a workload, or of one target of it, that send.
func (p *partition) live(w Workload, instance string, whole bool) int {
	n := 0
	for i := range p.targets {
		t := &p.targets[i]
		if t.key.workload == w && (whole || t.key.instance == instance) {
			n += t.live
		}
	}
	return n
}

// judgeHushes says what the series that fell silent together mean.
func (e *Engine) judgeHushes(hushes []hush, epoch int64, fx *Effects) {
	from := len(fx.Records)
	newest := map[uint32]int64{}
	// Nothing here changes who is live, and a deployment that ends has a hush for
	// each series of each pod: one look at the targets a workload is enough.
	live := map[Workload]int{}
	for _, h := range hushes {
		p := e.partition(h.Partition)
		sl := &p.slots[h.Slot]
		if sl.series == nil || sl.flags&flagLive != 0 || sl.lastAt != h.LastAt {
			continue // it sends again
		}
		stale := sl.flags&flagStale != 0
		if _, ok := newest[sl.sender]; !ok {
			newest[sl.sender] = e.newest(sl.sender)
		}
		key := p.targets[sl.target].key
		if _, ok := live[key.workload]; !ok {
			live[key.workload] = p.live(key.workload, "", true)
		}
		switch {
		case !stale && newest[sl.sender] <= h.LastAt+senderSlack:
			e.openFault(fault{Of: faultSender, Name: e.settle.senders[sl.sender], Hash: sl.sender, LastAt: h.LastAt}, epoch)
		case live[key.workload] == 0:
			e.openFault(fault{Of: faultWorkload, Workload: key.workload, LastAt: h.LastAt}, epoch)
		case p.targets[sl.target].live == 0:
			if !stale {
				e.openFault(fault{Of: faultTarget, Workload: key.workload, Instance: key.instance, LastAt: h.LastAt}, epoch)
			}
		case p.opensSilence(h.Slot):
			c := cause{fx: fx, epoch: epoch}
			e.shardOf(h.Partition).openSilence(p, h.Slot, epoch, &c)
		}
	}
	for _, key := range e.sortedFaults() {
		if f := e.settle.faults[key]; f.ID == 0 {
			f.ID = anomalyID(f.series().ID, f.OpenedAt, KindDataFault)
			fx.Records = append(fx.Records, e.fault(f, Opened, epoch, epoch))
		}
	}
	fx.marks = fx.marks[:0]
	e.keep(from, fx)
}

// openFault opens a data fault, or counts one more series to it.
func (e *Engine) openFault(f fault, epoch int64) {
	key := f.key()
	open := e.settle.faults[key]
	if open == nil {
		f.OpenedAt = epoch
		open = &f
		e.settle.faults[key] = open
	}
	open.Series++
	open.LastAt = max(open.LastAt, f.LastAt)
}

func (f *fault) key() string {
	return fmt.Sprintf("%d|%s|%s|%s", f.Of, f.Name, f.Workload, f.Instance)
}

func (e *Engine) sortedFaults() []string {
	keys := make([]string, 0, len(e.settle.faults))
	for key := range e.settle.faults {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, strings.Compare)
	return keys
}

// settleFaults closes the data faults whose sender, workload or target sends
// again.
func (e *Engine) settleFaults(epoch int64, fx *Effects) {
	from := len(fx.Records)
	for _, key := range e.sortedFaults() {
		f := e.settle.faults[key]
		if f.ID == 0 || !e.recovered(f) {
			continue
		}
		fx.Records = append(fx.Records, e.fault(f, Closed, epoch, max(epoch, f.OpenedAt)))
		delete(e.settle.faults, key)
	}
	e.keep(from, fx)
}

func (e *Engine) recovered(f *fault) bool {
	switch f.Of {
	case faultSender:
		return e.newest(f.Hash) > f.LastAt
	case faultWorkload:
		return e.partition(f.Workload.Partition()).live(f.Workload, "", true) > 0
	}
	return e.partition(f.Workload.Partition()).live(f.Workload, f.Instance, false) > 0
}

// series is the made-up series that stands for what stopped.
func (f *fault) series() *Series {
	b := labels.NewScratchBuilder(3)
	w := f.Workload
	switch f.Of {
	case faultSender:
		b.Add(labels.MetricName, "homeostat_sender")
		b.Add("sender", f.Name)
		w = Workload("sender=" + fmt.Sprintf("%q", f.Name))
	case faultWorkload:
		b.Add(labels.MetricName, "homeostat_workload")
		b.Add("workload", string(f.Workload))
	default:
		b.Add(labels.MetricName, "homeostat_target")
		b.Add("target", f.Instance)
		b.Add("workload", string(f.Workload))
	}
	b.Sort()
	ls := b.Labels()
	return &Series{ID: SeriesID(labels.StableHash(ls)), Labels: ls, Workload: w, Partition: w.Partition(), Type: TypeGauge}
}

// fault makes the record of a data fault.
func (e *Engine) fault(f *fault, rev Revision, epoch, at int64) *Anomaly {
	text := fmt.Sprintf("stopped sending at %s; %d of its series fell silent by then", e.clock(f.LastAt), f.Series)
	if rev == Closed {
		text = "sends again"
	}
	a := &Anomaly{
		ID: f.ID, Revision: rev, Series: f.series(), Kind: KindDataFault, Epoch: epoch, At: at, OpenedAt: f.OpenedAt,
		Value: 0, Expected: float64(f.Series), Score: models.MaxScore, Peak: models.MaxScore, Tier: "lean",
		Factors: []Factor{{Name: "data", Score: models.MaxScore, Text: text}},
	}
	if rev == Opened {
		a.Quiet.Text = e.quietIfSent(at)
	}
	return a
}
