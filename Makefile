# `make test` needs Go and this repository, nothing else. The other targets fetch
# the tools that they name, at the versions below.

GO        ?= go
STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     = $(GO) run mvdan.cc/gofumpt@v0.12.0
FUZZTIME  ?= 10s
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS     = -s -w -X main.version=$(VERSION)

.PHONY: build test race lint bench incidents replay proto fmt quality fuzz e2e e2e-prometheus e2e-faults e2e-incidentlab throughput peers clean

# One static binary.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/homeostat ./cmd/homeostat

test:
	$(GO) test ./...

race:
	CGO_ENABLED=1 $(GO) test -race ./...

# The last line lints the protocol and sees that its Go code is current.
lint:
	$(GO) vet ./...
	$(GO) vet -tags e2e ./...
	$(STATICCHECK) -tags e2e ./...
	@unformatted=$$($(GOFUMPT) -l .); if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi
	./proto/generate.sh check

fmt:
	$(GOFUMPT) -w .

# Write the Go code of the protocol.
proto:
	./proto/generate.sh

# Every fuzz target for $(FUZZTIME), and one after the other.
fuzz:
	./.ci/fuzz $(FUZZTIME)

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# Our alarms and the usual rules, held against the faults of the recordings.
# Needs promtool, from Debian's package prometheus.
incidents:
	$(GO) run ./benchmarks/incidents -prometheus "$$(./benchmarks/peers/build.sh prometheus)" testdata/incidents testdata/incidents/later

# Replay our own recording through the code that serves.
replay:
	$(GO) run ./cmd/homeostat replay testdata/incidents/checkout_latency.csv -o jsonl

# Detection quality on the labelled series in DATA: nab, aiops and wsd, each a
# folder of its own. The NAB scorer is held against published results first. The
# figures of record are in benchmarks/detection/RESULTS.md.
DATA ?= ../shared/data
DETECTION = $(GO) run ./benchmarks/detection
quality:
	$(DETECTION) -data $(DATA)/nab -nab-results
	$(DETECTION) -data $(DATA)/aiops -out out/quality/aiops
	$(DETECTION) -data $(DATA)/wsd -out out/quality/wsd
	$(DETECTION) -data $(DATA)/nab -out out/quality/nab -nab

# What a sample costs, here and in peers, under the same load and one after the
# other. VictoriaMetrics takes remote write 1.0 only.
SERIES ?= 100000
THROUGHPUT = $(GO) run ./benchmarks/throughput
throughput:
	for mix in gauges real; do for protocol in v1 v2; do for target in homeostat prometheus victoriametrics; do \
		test $$target-$$protocol = victoriametrics-v2 || \
		$(THROUGHPUT) -target $$target -series $(SERIES) -protocol $$protocol -mix $$mix -out out/throughput/$(SERIES)/$$mix-$$protocol-$$target || exit 1; \
	done; done; done
	$(THROUGHPUT) -table out/throughput

# End to end, with the built binary and real peers. A peer that is absent is a
# failure, never a skip; `make peers` gets them.
e2e: e2e-incidentlab
	$(GO) test -tags e2e -count=1 -parallel 8 -timeout 20m -run '^TestE2E' -v ./cmd/homeostat ./store

e2e-prometheus:
	$(GO) test -tags e2e -count=1 -parallel 8 -timeout 15m -run '^TestE2EPrometheus' -v ./cmd/homeostat

# Killed, pressed, insulted, and with a full disk. Needs root for a small tmpfs.
e2e-faults:
	$(GO) test -tags e2e -count=1 -timeout 10m -run '^TestE2E(Kill|Overload|Hostile|DiskFull|FullDisk|Recording)$$' -v ./cmd/homeostat ./store

# A short recording with a real Prometheus, and one that is interrupted. Not beside
# other tests: a machine that is busy is seen in what is recorded.
e2e-incidentlab:
	$(GO) test -tags e2e -count=1 -timeout 5m -run '^TestE2EIncidentLab' -v ./cmd/incidentlab

peers:
	./benchmarks/peers/build.sh prometheus
	./benchmarks/peers/build.sh promtool
	./benchmarks/peers/build.sh victoriametrics

clean:
	rm -rf bin out
