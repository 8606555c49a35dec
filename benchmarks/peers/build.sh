#!/usr/bin/env bash
# Builds one peer into a versioned cache directory, only when it is missing
# there, and prints the path of its binary.
#
#   benchmarks/peers/build.sh prometheus
#   benchmarks/peers/build.sh promtool
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
	tags=netgo,remove_all_sd
	;;
*)
	echo "usage: build.sh NAME, where NAME is one of: prometheus promtool" >&2
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
	CGO_ENABLED=0 go build -trimpath -tags "$tags" -ldflags "-s -w -X github.com/prometheus/common/version.Version=${version#v}" -o "$binary.part" "$package" >&2
	mv "$binary.part" "$binary"
fi
echo "$binary"
