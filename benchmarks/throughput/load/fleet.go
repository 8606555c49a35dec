// Package load makes the series, values and requests that a remote-write
// receiver is measured with. It is pure: the same shape gives the same bytes.
package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
)

// Mix says what kinds of series there are.
type Mix string

// The mixes.
const (
	Gauges Mix = "gauges" // gauges only
	Real   Mix = "real"   // 40 % gauges, 30 % counters, 30 % classic histograms' buckets
)

// Kind is what one series is.
type Kind uint8

// The kinds.
const (
	Gauge Kind = iota
	Counter
	Bucket
)

// Shape says what fleet to make.
type Shape struct {
	Series int // from 1 to 50,000,000
	Mix    Mix
	Seed   uint64
}

// Validate says which field is out of its bounds.
func (s Shape) Validate() error {
	if s.Series < 1 || s.Series > 50_000_000 {
		return fmt.Errorf("series %d: want a number from 1 to 50000000", s.Series)
	}
	if s.Mix != Gauges && s.Mix != Real {
		return fmt.Errorf("mix %q: want %s or %s", s.Mix, Gauges, Real)
	}
	return nil
}

// Label is one label of a series.
type Label struct{ Name, Value string }

// member is one series, in few bytes: its labels are made when they are asked
// for.
type member struct {
	kind     Kind
	le       uint8  // of a bucket: its place in bounds
	name     uint16 // rank of its metric's name
	workload uint32 // rank
	pod      uint32 // of the workload
}

// Fleet is all series in the order in which a scraper meets them: pod by pod.
type Fleet struct {
	members []member
	made    map[family]uint32 // pods of a workload that have a metric already
	replace int               // where Replace goes on
	values  values
}

// family is one metric of one workload; its series differ by pod.
type family struct {
	kind     Kind
	name     uint16
	workload uint32
}

const (
	names      = 500 // metric names of each kind
	steepness  = 1.1 // exponent of both Zipf distributions
	nameOffset = 20  // flattens the top: the first name has 3 % of the series
	loadOffset = 8   // and the first workload about 3 %
)

// bounds are the upper bounds of each histogram's buckets, in seconds.
var bounds = []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"}

// workloads is how many workloads a fleet of n series has.
func workloads(n int) uint64 { return uint64(max(20, n/250)) }

// New makes a fleet. It panics on a shape that Validate refuses.
func New(s Shape) *Fleet {
	if err := s.Validate(); err != nil {
		panic("load: " + err.Error())
	}
	f := &Fleet{members: make([]member, 0, s.Series), made: map[family]uint32{}}
	r := rand.New(rand.NewPCG(s.Seed, 0))
	name := rand.NewZipf(r, steepness, nameOffset, names-1)
	workload := rand.NewZipf(r, steepness, loadOffset, workloads(s.Series)-1)
	histograms, counters := 0, 0
	if s.Mix == Real {
		histograms = s.Series * 3 / 10 / len(bounds)
		counters = s.Series * 3 / 10
	}
	add := func(k Kind, parts int) {
		m := member{kind: k, name: uint16(name.Uint64()), workload: uint32(workload.Uint64())}
		m.pod = f.nextPod(m)
		for le := range parts {
			m.le = uint8(le)
			f.members = append(f.members, m)
		}
	}
	for range histograms {
		add(Bucket, len(bounds))
	}
	for range counters {
		add(Counter, 1)
	}
	for len(f.members) < s.Series {
		add(Gauge, 1)
	}
	slices.SortFunc(f.members, member.compare)
	f.values = newValues(f.members, s.Seed)
	return f
}

// nextPod is the next pod of the workload that does not have this metric yet.
func (f *Fleet) nextPod(m member) uint32 {
	key := family{m.kind, m.name, m.workload}
	pod := f.made[key]
	f.made[key]++
	return pod
}

func (m member) compare(o member) int {
	for _, d := range [...]int{
		int(m.workload) - int(o.workload), int(m.pod) - int(o.pod), int(m.kind) - int(o.kind), int(m.name) - int(o.name),
	} {
		if d != 0 {
			return d
		}
	}
	return int(m.le) - int(o.le)
}

// Len is the number of series.
func (f *Fleet) Len() int { return len(f.members) }

// Kind is what series i is.
func (f *Fleet) Kind(i int) Kind { return f.members[i].kind }

// Replace ends about n series and begins as many others in their places, as a
// rollout does: the same metrics of the same workloads, of new pods. A histogram
// is replaced whole. It goes on where it stopped and returns the places touched,
// which may run over the end and go on at the start.
func (f *Fleet) Replace(n int) (from, count int) {
	n = min(n, f.Len())
	from = f.replace
	for count < n || f.members[f.replace].le > 0 {
		m := &f.members[f.replace]
		if m.le == 0 {
			m.pod = f.nextPod(*m)
		} else {
			m.pod = f.members[f.replace-1].pod
		}
		f.values.restart(f.replace)
		count++
		f.replace = (f.replace + 1) % f.Len()
	}
	return from, count
}

// Labels appends the ten labels of series i, sorted by name.
func (f *Fleet) Labels(i int, to []Label) []Label {
	m := &f.members[i]
	app := appName(m.workload)
	pod := app + "-" + letters(uint64(m.workload)*7_368_787+11, 10) + "-" + letters(uint64(m.pod)*6_700_417+uint64(m.workload), 5)
	host := hash(uint64(m.workload), uint64(m.pod))
	place := Label{"endpoint", "http-metrics"}
	if m.kind == Bucket {
		place = Label{"le", bounds[m.le]}
	}
	to = append(to,
		Label{"__name__", metricName(m.kind, m.name)},
		Label{"cluster", "eu-central-1"},
		Label{"container", app},
	)
	if place.Name == "endpoint" {
		to = append(to, place)
	}
	to = append(to, Label{"instance", "10." + strconv.Itoa(int(host>>16&255)) + "." + strconv.Itoa(int(host>>8&255)) + "." + strconv.Itoa(int(host&255)) + ":9100"},
		Label{"job", "kubernetes-pods"})
	if place.Name == "le" {
		to = append(to, place)
	}
	return append(to,
		Label{"namespace", "team-" + teams[m.workload%uint32(len(teams))] + "-" + strconv.Itoa(int(m.workload/40))},
		Label{"node", "ip-10-0-" + strconv.Itoa(int(host>>24&7)) + "-" + strconv.Itoa(int(host>>32&63)) + ".eu-central-1"},
		Label{"pod", pod},
		Label{"service", app},
	)
}

var (
	teams    = []string{"payments", "search", "identity", "logistics", "catalogue", "billing", "platform", "insights"}
	services = []string{"checkout", "inventory", "session", "ledger", "recommendation", "notification", "gateway", "scheduler", "image", "pricing"}
	areas    = []string{"http_server", "grpc_client", "process_runtime", "container_memory", "database_pool", "message_queue", "cache_layer", "network_device", "disk_volume", "job_worker"}
	objects  = []string{"active", "pending", "resident", "allocated", "open", "waiting", "shared", "buffered", "remote", "local"}
	units    = [...][]string{
		Gauge:   {"bytes", "connections", "entries", "threads", "utilization"},
		Counter: {"requests_total", "bytes_total", "operations_total", "errors_total", "messages_total"},
		Bucket:  {"request_duration_seconds_bucket", "wait_seconds_bucket", "fetch_seconds_bucket", "commit_seconds_bucket", "render_seconds_bucket"},
	}
)

func metricName(k Kind, rank uint16) string {
	n := int(rank)
	return areas[n%10] + "_" + objects[n/10%10] + "_" + units[k][n/100%5]
}

func appName(workload uint32) string {
	return services[workload%uint32(len(services))] + "-service-" + strconv.Itoa(int(workload))
}

// podAlphabet is what Kubernetes makes its suffixes of.
const podAlphabet = "bcdfghjklmnpqrstvwxz2456789"

// letters writes n as a suffix of so many letters. The step that the callers
// multiply by shares no factor with 27, so that different pods of one workload
// have different suffixes.
func letters(n uint64, count int) string {
	var b [16]byte
	for i := range count {
		b[i] = podAlphabet[n%uint64(len(podAlphabet))]
		n /= uint64(len(podAlphabet))
	}
	return string(b[:count])
}

// hash mixes two numbers (the finaliser of SplitMix64).
func hash(a, b uint64) uint64 {
	x := a*0x9e3779b97f4a7c15 + b*0xbf58476d1ce4e5b9 + 1
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// logUniform is from low to high, as likely in each decade.
func logUniform(r *rand.Rand, low, high float64) float64 {
	return low * math.Exp(r.Float64()*math.Log(high/low))
}
