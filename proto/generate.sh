#!/bin/sh
# Generates the Go code of the contract, after checking its format and lint.
#
#   proto/generate.sh          write the generated code
#   proto/generate.sh check    fail when the committed code is not what would be written
#
# It needs Go, node and npm. The tools are kept at fixed versions in
# ${HOMEOSTAT_TOOLS:-$HOME/.cache/homeostat/tools} and are installed there when
# they are missing.
set -eu

buf_version=1.75.0
go_plugin_version=v1.36.12
grpc_plugin_version=v1.6.2

here=$(cd "$(dirname "$0")" && pwd)
tools=${HOMEOSTAT_TOOLS:-$HOME/.cache/homeostat/tools}
bin=$tools/go-$go_plugin_version-grpc-$grpc_plugin_version
buf=$tools/buf-$buf_version

if [ ! -x "$buf/node_modules/.bin/buf" ]; then
	mkdir -p "$buf"
	npm install --prefix "$buf" --no-audit --no-fund --no-save --loglevel=error "@bufbuild/buf@$buf_version" >&2
fi
if [ ! -x "$bin/protoc-gen-go" ] || [ ! -x "$bin/protoc-gen-go-grpc" ]; then
	mkdir -p "$bin"
	GOBIN=$bin GOFLAGS= go install "google.golang.org/protobuf/cmd/protoc-gen-go@$go_plugin_version"
	GOBIN=$bin GOFLAGS= go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$grpc_plugin_version"
fi
PATH=$bin:$buf/node_modules/.bin:$PATH
export PATH

cd "$here"
buf lint
case ${1:-write} in
write)
	buf format -w
	buf generate
	;;
check)
	buf format --diff --exit-code
	fresh=$(mktemp -d)
	trap 'rm -rf "$fresh"' EXIT
	buf generate -o "$fresh"
	for f in "$fresh"/homeostat/v1/*.go homeostat/v1/*.go; do
		name=$(basename "$f")
		if ! cmp -s "$fresh/homeostat/v1/$name" "homeostat/v1/$name"; then
			echo "proto/homeostat/v1/$name is not what the .proto files say: run proto/generate.sh" >&2
			exit 1
		fi
	done
	;;
*)
	echo "usage: proto/generate.sh [write|check]" >&2
	exit 2
	;;
esac
