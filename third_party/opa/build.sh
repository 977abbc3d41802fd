#!/bin/sh
# Builds the pinned `opa` program (judge and peer in tests and benchmarks) into $1/opa, once; with OPA's WebAssembly engine, so
# that it runs our bundles too.
set -eu
out=$1
[ -x "$out/opa" ] && "$out/opa" version | grep -q '^WebAssembly: available' && exit 0
command -v go >/dev/null || {
    echo "the tests compare with opa, which needs Go 1.24 or newer: install it and run make again" >&2
    exit 1
}
mkdir -p "$out"
echo "building opa $(basename "$out") (once; takes about 2 minutes)" >&2
GOBIN="$out" GOFLAGS=-mod=mod go install -tags opa_wasm "github.com/open-policy-agent/opa@v$(basename "$out" | sed 's/^opa-//')"
