package engine

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// The label sets are those of a kube-prometheus scrape, and of the other
// senders that a user points at homeostat.
func TestWorkloadsAsTheirLabelsComeInTheField(t *testing.T) {
	for _, tt := range []struct {
		what  string
		pairs []string
		want  Workload
	}{
		{
			"cAdvisor: the job is the kubelet for every pod of the cluster",
			[]string{"__name__", "container_memory_working_set_bytes", "job", "kubelet", "instance", "10.0.0.7:10250", "namespace", "shop", "pod", "cart-7d9c8b6f5d-x2x8q", "container", "cart"},
			`namespace="shop",pod="cart"`,
		},
		{
			"the same pod's own metrics",
			[]string{"__name__", "http_requests_total", "job", "cart", "instance", "10.1.2.3:8080", "namespace", "shop", "pod", "cart-7d9c8b6f5d-x2x8q"},
			`namespace="shop",pod="cart"`,
		},
		{
			"a pod of a stateful set",
			[]string{"__name__", "pg_up", "namespace", "db", "pod", "postgres-0"},
			`namespace="db",pod="postgres"`,
		},
		{
			"a pod of a daemon set",
			[]string{"__name__", "node_load1", "namespace", "monitoring", "pod", "node-exporter-4hx9z", "job", "node-exporter"},
			`namespace="monitoring",pod="node-exporter"`,
		},
		{
			"a pod of a cron job",
			[]string{"__name__", "x", "namespace", "batch", "pod", "report-28391040-7kqzm"},
			`namespace="batch",pod="report"`,
		},
		{
			"a pod whose name ends in words is not cut",
			[]string{"__name__", "x", "namespace", "shop", "pod", "payment-gateway"},
			`namespace="shop",pod="payment-gateway"`,
		},
		{
			"kube-state-metrics names the owner",
			[]string{"__name__", "kube_deployment_status_replicas", "namespace", "shop", "deployment", "cart", "job", "kube-state-metrics"},
			`namespace="shop",deployment="cart"`,
		},
		{
			"a process on a machine",
			[]string{"__name__", "process_resident_memory_bytes", "job", "api", "instance", "a:80"},
			`job="api"`,
		},
		{
			"OpenTelemetry",
			[]string{"__name__", "http_server_duration", "service_name", "api", "service_namespace", "shop"},
			`service_namespace="shop",service_name="api"`,
		},
		{
			"nothing but a histogram's name",
			[]string{"__name__", "latency_bucket", "le", "0.1"},
			`__name__="latency"`,
		},
		{
			"its count goes with it",
			[]string{"__name__", "latency_count"},
			`__name__="latency"`,
		},
	} {
		if got := (Naming{}).Workload(labels.FromStrings(tt.pairs...)); got != tt.want {
			t.Errorf("%s: workload is %s, want %s", tt.what, got, tt.want)
		}
	}
}

func TestAValueOfALabelCannotForgeAnotherWorkload(t *testing.T) {
	a := (Naming{}).Workload(labels.FromStrings("__name__", "x", "namespace", `a",deployment="b`, "deployment", "c"))
	b := (Naming{}).Workload(labels.FromStrings("__name__", "x", "namespace", `a`, "deployment", `b",deployment="c`))
	if a == b {
		t.Errorf("two label sets share the workload %s", a)
	}
}
