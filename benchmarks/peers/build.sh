#!/usr/bin/env bash
# Builds one peer into a versioned cache directory, only when it is missing
# there, and prints the path of its binary.
#
#   benchmarks/peers/build.sh prometheus
#   benchmarks/peers/build.sh promtool
#   benchmarks/peers/build.sh victoriametrics   # needs a C compiler
#
# A peer is a module of its own (NAME/go.mod), so that its replace blocks never
# touch homeostat's. HOMEOSTAT_PEERS changes the directory; the default is
# $HOME/.cache/homeostat/peers.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peers=${HOMEOSTAT_PEERS:-${HOME:?}/.cache/homeostat/peers}

name=${1:-}
case "$name" in
prometheus | promtool) # promtool is of Prometheus' module
	home=prometheus
	module=github.com/prometheus/prometheus
	package=$module/cmd/$name
	stamp=github.com/prometheus/common/version.Version
	tags=netgo,remove_all_sd
	cgo=0
	;;
victoriametrics)
	home=victoriametrics
	module=github.com/VictoriaMetrics/VictoriaMetrics
	package=$module/app/victoria-metrics
	stamp=$module/lib/buildinfo.Version
	tags=netgo
	# Its releases compress with zstd's C library. Without it the peer would be
	# slower here than what people run.
	cgo=1
	;;
*)
	echo "usage: build.sh NAME, where NAME is one of: prometheus promtool victoriametrics" >&2
	exit 2
	;;
esac

cd "$here/$home"
version=$(go list -m -f '{{.Version}}' "$module")
directory=$peers/$home-$version
binary=$directory/$name

if [[ ! -x $binary ]]; then
	mkdir -p "$directory"
	# Built beside its final name and then renamed, so that an interrupted build
	# never leaves half a binary behind.
	CGO_ENABLED=$cgo go build -trimpath -tags "$tags" -ldflags "-s -w -X $stamp=${version#v}" -o "$binary.part" "$package" >&2
	mv "$binary.part" "$binary"
fi
echo "$binary"
