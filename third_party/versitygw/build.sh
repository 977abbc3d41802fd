#!/bin/sh
# Builds the pinned `versitygw`, an S3 server over a folder, into $1/versitygw, once: tests/edge/s3_lib.py calls this for the tests that
# want a server that we did not write. It takes three minutes.
set -eu
out=$1
[ -x "$out/versitygw" ] && exit 0
mkdir -p "$out"
GOBIN="$out" GOFLAGS=-mod=mod go install "github.com/versity/versitygw/cmd/versitygw@v$(basename "$out" | sed 's/^versitygw-//')"
