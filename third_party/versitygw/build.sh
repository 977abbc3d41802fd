#!/bin/sh
# Builds the pinned `versitygw`, an S3 server over a folder, into $1/versitygw, once: tests/edge/test_sources.py asks it too where it is there.
# Not part of `make test`, since it takes three minutes; without it the test has a server of its own that checks signatures.
set -eu
out=$1
[ -x "$out/versitygw" ] && exit 0
mkdir -p "$out"
GOBIN="$out" GOFLAGS=-mod=mod go install "github.com/versity/versitygw/cmd/versitygw@v$(basename "$out" | sed 's/^versitygw-//')"
