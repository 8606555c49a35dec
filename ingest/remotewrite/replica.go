package remotewrite

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// replica is one of several senders of the same series.
type replica struct {
	name    string
	cluster *cluster
}

// cluster is a group of replicas, one of which is elected.
type cluster struct {
	elected  *replica
	lastSeen int64 // event time of the elected one's newest sample, ms
	members  map[string]*replica
}

// replicas elects one replica in each cluster.
type replicas struct {
	cfg      Replicas
	mu       sync.Mutex
	clusters map[string]*cluster
	switched uint64
	untold   uint64 // series beyond the bounds, taken from everyone
}

// maxReplicas bounds the replicas of one cluster.
const maxReplicas = 64

func newReplicas(cfg Replicas) *replicas {
	return &replicas{cfg: cfg, clusters: map[string]*cluster{}}
}

// of is who sends the series with these labels; nil when it does not matter.
func (r *replicas) of(pairs []labels.Label) *replica {
	if r.cfg.ReplicaLabel == "" {
		return nil
	}
	var name, group string
	for _, l := range pairs {
		switch l.Name {
		case r.cfg.ReplicaLabel:
			name = l.Value
		case r.cfg.ClusterLabel:
			group = l.Value
		}
	}
	if name == "" || group == "" {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.clusters[group]
	if c == nil {
		if len(r.clusters) >= r.cfg.MaxClusters {
			r.untold++
			return nil
		}
		c = &cluster{members: map[string]*replica{}}
		r.clusters[strings.Clone(group)] = c
	}
	m := c.members[name]
	if m == nil {
		if len(c.members) >= maxReplicas {
			r.untold++
			return nil
		}
		m = &replica{name: strings.Clone(name), cluster: c}
		c.members[m.name] = m
	}
	return m
}

// elect settles the fate of the entries whose sender is one of several. Time is
// that of the samples, so that a paced backlog elects as the live data did; but
// a sample far ahead of the clock elects nobody.
func (r *replicas) elect(q *request, now time.Time) {
	if r.cfg.ReplicaLabel == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	latest := now.Add(r.cfg.MaxAhead).UnixMilli()
	for k := range q.entries {
		e := &q.entries[k]
		if e.sender == nil || e.reject != RejectNone {
			continue
		}
		at, ok := q.newest(k)
		if !ok {
			continue
		}
		if !r.admit(e.sender, at, latest) {
			e.fate = fateReplica
		}
	}
}

// newest is the latest time in entry k; ok is false when it holds no sample.
func (q *request) newest(k int) (at int64, ok bool) {
	s, h := q.begins(k)
	e := &q.entries[k]
	for _, x := range q.samples[s:e.samples] {
		if !ok || x.At > at {
			at, ok = x.At, true
		}
	}
	for i := h; i < e.histograms; i++ {
		if t := q.histograms[i].At; !ok || t > at {
			at, ok = t, true
		}
	}
	return at, ok
}

// admit says whether the samples of m up to time at are taken.
func (r *replicas) admit(m *replica, at, latest int64) bool {
	c := m.cluster
	at = max(at, 0) // so that no difference overflows
	if at > latest {
		return c.elected == nil || c.elected == m
	}
	switch {
	case c.elected == nil:
		c.elected, c.lastSeen = m, at
	case c.elected == m:
		c.lastSeen = max(c.lastSeen, at)
	case at-c.lastSeen > r.cfg.Failover.Milliseconds():
		c.elected, c.lastSeen = m, at
		r.switched++
	}
	return c.elected == m
}
