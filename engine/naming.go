package engine

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// Naming finds the workload in a label set.
type Naming struct {
	// WorkloadBy is an ordered list of label sets; the first whose labels are
	// all present names the workload. In a set, "pod" stands for the pod's name
	// without the hashes that a controller appends to it.
	WorkloadBy [][]string
}

// defaultWorkloadBy is tried in order. cAdvisor's series of a kube-prometheus
// scrape carry job="kubelet" for every pod of the cluster, so that namespace
// and pod must come before job.
var defaultWorkloadBy = [][]string{
	{"namespace", "deployment"},
	{"namespace", "statefulset"},
	{"namespace", "daemonset"},
	{"namespace", "cronjob"},
	{"namespace", "workload"},
	{"namespace", "pod"},
	{"k8s_namespace_name", "k8s_deployment_name"},
	{"service_namespace", "service_name"},
	{"service_name"},
	{"namespace", "service"},
	{"job", "service"},
	{"service"},
	{"job"},
	{"svc"},
	{"app"},
	{"instance"},
}

func (n Naming) withDefaults() Naming {
	if len(n.WorkloadBy) == 0 {
		n.WorkloadBy = defaultWorkloadBy
	}
	return n
}

// Validate refuses an empty label set, which every series would match.
func (n Naming) Validate() error {
	for _, set := range n.WorkloadBy {
		if len(set) == 0 {
			return errors.New("workload_by: an entry names no label")
		}
	}
	return nil
}

// Workload names the workload of a label set. A label set that matches no
// entry belongs to the workload of its metric name.
func (n Naming) Workload(ls labels.Labels) Workload {
	sets := n.WorkloadBy
	if len(sets) == 0 {
		sets = defaultWorkloadBy
	}
	var b strings.Builder
	for _, set := range sets {
		b.Reset()
		found := true
		for i, name := range set {
			v := ls.Get(name)
			if v == "" {
				found = false
				break
			}
			if name == "pod" {
				v = ownerOf(v)
			}
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(name)
			b.WriteByte('=')
			b.WriteString(strconv.Quote(v))
		}
		if found {
			return Workload(b.String())
		}
	}
	return nameless(ls)
}

// nameless is the workload of a series that only has a name. The parts of a
// histogram or summary stay together.
func nameless(ls labels.Labels) Workload {
	name := ls.Get(labels.MetricName)
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		name = strings.TrimSuffix(name, part)
	}
	return Workload("__name__=" + strconv.Quote(name))
}

// The hashes that controllers append to a pod's name use an alphabet without
// vowels and without 0, 1 and 3, so that ordinary words are not taken for one.
var (
	replicaSetSuffix = regexp.MustCompile(`-[bcdfghjklmnpqrstvwxz2456789]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}$`)
	podSuffix        = regexp.MustCompile(`-[bcdfghjklmnpqrstvwxz2456789]{5}$`)
	ordinalSuffix    = regexp.MustCompile(`-[0-9]{1,5}$`)
	cronSuffix       = regexp.MustCompile(`-[0-9]{8,}$`)
)

// ownerOf is a pod's name without what its controller appended.
func ownerOf(pod string) string {
	for _, re := range []*regexp.Regexp{replicaSetSuffix, podSuffix, ordinalSuffix} {
		if loc := re.FindStringIndex(pod); loc != nil && loc[0] > 0 {
			pod = pod[:loc[0]]
			break
		}
	}
	if loc := cronSuffix.FindStringIndex(pod); loc != nil && loc[0] > 0 {
		pod = pod[:loc[0]]
	}
	return pod
}
