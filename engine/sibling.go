package engine

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// Limits by name: which series says how much of another there may be. The two
// have all other labels in common, as those of one exporter do, so that they are
// of one workload and in one partition.

// useWords and limitWords are how names end that say how much of something is in
// use, and how much there is: pool_in_use and pool_size, heap_used_bytes and
// heap_max_bytes.
var (
	useWords   = []string{"_in_use", "_used", "_active", "_busy", "_current", ""}
	limitWords = []string{"_limit", "_max", "_size", "_capacity"}
	// bareLimit is the only one of them that belongs to a name without a word for
	// use: an x_size is the size of an x, and an x_max the largest so far.
	bareLimit = "_limit"
	// endings may follow either word, and then follow both.
	endings = []string{"_bytes", "_connections", "_threads"}
)

// knownLimits are pairs that no rule finds.
var knownLimits = map[string]string{
	"container_memory_working_set_bytes":    "container_spec_memory_limit_bytes",
	"container_cpu_usage_seconds_total":     cpuQuota,
	"process_open_fds":                      "process_max_fds",
	"go_sql_in_use_connections":             "go_sql_max_open_connections",
	"go_sql_open_connections":               "go_sql_max_open_connections",
	"redis_connected_clients":               "redis_config_maxclients",
	"mysql_global_status_threads_connected": "mysql_global_variables_max_connections",
	"memcached_current_connections":         "memcached_max_connections",
	"tomcat_threads_busy_threads":           "tomcat_threads_config_max_threads",
}

// A container may use quota/period processors. The use has a label more.
const (
	cpuQuota  = "container_spec_cpu_quota"
	cpuPeriod = "container_spec_cpu_period"
	cpuLabel  = "cpu"
)

// usesOfLimit is knownLimits the other way round, in order.
var usesOfLimit = func() map[string][]string {
	m := map[string][]string{}
	for use, limit := range knownLimits {
		m[limit] = append(m[limit], use)
	}
	for _, uses := range m {
		slices.Sort(uses)
	}
	return m
}()

// limitNames are the names under which a limit of a series may go.
func limitNames(use string) []string {
	if name, ok := knownLimits[use]; ok {
		return []string{name}
	}
	var out []string
	stem, end := cutEnding(use)
	for _, w := range useWords {
		bare, ok := strings.CutSuffix(stem, w)
		if !ok || bare == "" {
			continue
		}
		for _, l := range limitWords {
			if w != "" || l == bareLimit {
				out = append(out, bare+l+end)
			}
		}
	}
	return out
}

// useNames are the names of what a series may be the limit of; none when its name
// is not that of a limit.
func useNames(limit string) []string {
	if names, ok := usesOfLimit[limit]; ok {
		return names
	}
	stem, end := cutEnding(limit)
	for _, l := range limitWords {
		bare, ok := strings.CutSuffix(stem, l)
		if !ok || bare == "" {
			continue
		}
		var out []string
		for _, w := range useWords {
			if w != "" || l == bareLimit {
				out = append(out, bare+w+end)
			}
		}
		return out
	}
	return nil
}

func cutEnding(name string) (stem, end string) {
	for _, e := range endings {
		if stem, ok := strings.CutSuffix(name, e); ok {
			return stem, e
		}
	}
	return name, ""
}

// sibling is the slot of the series with these labels and another name.
func (p *partition) sibling(b *labels.Builder, name string) (uint32, bool) {
	ls := b.Set(labels.MetricName, name).Labels()
	i, ok := p.index[SeriesID(labels.StableHash(ls))]
	return i, ok && labels.Equal(p.slots[i].series.Labels, ls)
}

// queueWords in a gauge's name say that it counts what waits for a turn.
var queueWords = []string{"waiting", "queue", "pending", "backlog", "blocked", "lag"}

func isQueue(s *Series) bool {
	name := s.Labels.Get(labels.MetricName)
	return slices.ContainsFunc(strings.FieldsFunc(name, func(r rune) bool { return r == '_' || r == ':' || r == '.' }), func(word string) bool {
		return slices.Contains(queueWords, word)
	})
}
