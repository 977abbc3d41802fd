#!/bin/sh
# Measures Regent beside OPA, in alternation in one run, and prints medians, ratios and whether targets are reached.
# in: BUILD with regent and bench/decide, OPA the opa program (make bench sets both), BENCHES which scripts.
# out: text, $BUILD/bench.json, $BUILD/bench-serve.json. Flags are the scripts': --quick, --only PART.
set -eu
cd "$(dirname "$0")/.."
BUILD=$(cd "${BUILD:-build}" && pwd)
cache=${REGENT_CACHE:-$HOME/.cache/regent}
OPA=${OPA:-$cache/opa-1.22.2/opa}
work=$BUILD/bench/work
acme="-e tenant/authz/allow -e tenant/authz/decision"
mkdir -p "$work" "$cache/bench"

python3 bench/generate.py "$work"
sed 's/{{TENANT}}/acme/' bench/p1/policy.rego >"$work/p1/policy.rego"
cp bench/p2/policy.rego "$work/p2/policy.rego"
(cd bench/opa_native && go build -o "$cache/bench/opa_native" .)
(cd bench/ext_authz_go && go build -o "$cache/bench/ext_authz_go" .)
third_party/envoy/build.sh "$cache/envoy-1.40.0"

# shellcheck disable=SC2086
(
    cd "$work/p1"
    "$BUILD/regent" build -t wasm $acme -o regent.tar.gz policy.rego data.json
    "$BUILD/regent" build -t wasm $acme -o second.tar.gz --set TENANT=globex "$OLDPWD/bench/p1/policy.rego" data.json
    "$BUILD/regent" build -t wasm $acme --raw --form full -o full.wasm policy.rego
    "$BUILD/regent" build -t wasm $acme --raw --form thin -o thin.wasm policy.rego
    "$OPA" build -t wasm $acme -o opa.tar.gz policy.rego data.json
    mkdir -p opa tenants/tenants/acme
    tar -xzf opa.tar.gz -C opa 2>/dev/null
    cp regent.tar.gz tenants/tenants/acme/bundle.tar.gz
)
(
    cd "$work/p2"
    "$BUILD/regent" build -t wasm -e rbac/authz/allow -o regent.tar.gz policy.rego data.json
    "$OPA" build -t wasm -e rbac/authz/allow -o opa.tar.gz policy.rego data.json
)
# P1 as Envoy asks it: what it reads stands in the body.
mkdir -p "$work/authz/tenants/tenants/acme"
sed 's/input\./input.parsed_body./g' "$work/p1/policy.rego" >"$work/authz/policy.rego"
(
    cd "$work/authz"
    "$BUILD/regent" build -t wasm -e tenant/authz/allow -o tenants/tenants/acme/bundle.tar.gz policy.rego ../p1/data.json
)
export BUILD OPA NATIVE="$cache/bench/opa_native" EXT_AUTHZ_GO="$cache/bench/ext_authz_go" ENVOY="$cache/envoy-1.40.0/envoy"
for script in ${BENCHES:-bench serve proxy_wasm neighbours tenants decision_log sources swaps restart update api_reads builder template_change}; do python3 "bench/$script.py" "$@"; done
