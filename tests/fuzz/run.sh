#!/bin/sh
# Builds every fuzz harness with libFuzzer, AddressSanitizer and UBSan, and runs each for $1 seconds on its corpus.
# in: seconds (default 10); BUILD names the build folder. out: TAP; crash files in tests/fuzz/crashes/; status 1 on a crash.
set -u
cd "$(dirname "$0")/../.."
seconds=${1:-10}
out=${BUILD:-build}/fuzz
mkdir -p "$out" tests/fuzz/crashes
out=$(cd "$out" && pwd)
common="-std=c11 -O1 -g -Wall -Wextra -fno-strict-aliasing -D_GNU_SOURCE -Isrc -Iinclude"
checks="-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined"
base="$(find src/base -name '*.c') src/bundle/bundle.c src/bundle/pack.c src/bundle/tar.c src/bundle/digest.c"
build=$(cd "${BUILD:-build}" && pwd)
wasmtime=${REGENT_CACHE:-$HOME/.cache/regent}/wasmtime-$(sed -n 's/^WASMTIME_VERSION := //p' Makefile)
libs="-lyaml -lcrypto -larchive -ldeflate -lz -lm"

# What a harness is made of: flags, sources, libraries.
parts() {
    case $1 in
    fuzz_json) echo "-fno-pie -no-pie -DREGENT_NATIVE $(find src/runtime -name '*.c' ! -path '*/proxy/*') -lm" ;;
    fuzz_parser) echo "$base $(find src/compiler/ast -name '*.c') src/compiler/builtin.c src/compiler/template.c $libs" ;;
    fuzz_http1) echo "$base src/net/http.c src/net/http1.c src/edge/rest_input.c $libs" ;;
    fuzz_grpc) echo "$base src/net/http.c src/net/protobuf.c src/edge/json_text.c $(find src/edge -name 'authz_*.c') $libs" ;;
    fuzz_rest) echo "$base -DREGENT_VERSION=\"0\" src/net/http.c src/edge/document.c src/edge/gzip.c $(echo src/edge/rest*.c) $libs" ;;
    fuzz_admin) echo "$base src/edge/admin_tokens.c src/edge/admin_body.c src/edge/config_names.c src/bundle/limits.c $libs" ;;
    fuzz_identify) echo "$base -DREGENT_VERSION=\"0\" $(echo src/edge/identify*.c) src/edge/key_sets.c src/edge/config_names.c" \
        "src/bundle/limits.c src/net/http.c src/net/fetch.c src/host/builtins/token.c src/host/builtins/jwk.c src/host/builtins/jws.c" \
        "src/host/builtins/support.c $libs" ;;
    fuzz_server) echo "$(find src/base -name '*.c') $(find src/net -name '*.c' ! -name fetch.c) -luv -lnghttp2 -lssl -lpthread $libs" ;;
    fuzz_config) echo "$base -DREGENT_VERSION=\"0\" $(echo src/edge/config*.c) src/edge/admin_tokens.c src/bundle/limits.c src/edge/verify.c src/edge/verify_roots.c src/net/http.c src/net/tls.c" \
        "src/host/builtins/token.c src/host/builtins/jwk.c src/host/builtins/jws.c src/host/builtins/support.c -lssl $libs" ;;
    fuzz_process) echo "$base src/edge/process.c src/edge/frame.c -Dsocketpair=fuzz_pair -Dposix_spawn=fuzz_spawn" \
        "-Dkill=fuzz_kill -Dwaitpid=fuzz_wait $libs" ;;
    # The host comes as it was built; a harness without it could evaluate nothing.
    fuzz_doors) echo "$base -DREGENT_VERSION=\"0\" -DFUZZ_POLICY=\"$out/doors.tar.gz\" $(find src/edge src/net -name '*.c') $build/libregent.a" \
        "$wasmtime/lib/libwasmtime.a -luv -lnghttp2 -lssl -lre2 -lstdc++ -lseccomp -lpthread -ldl $libs" ;;
    fuzz_verify) echo "$base src/edge/verify.c src/edge/verify_roots.c src/host/builtins/token.c src/host/builtins/jwk.c" \
        "src/host/builtins/jws.c src/host/builtins/support.c $libs" ;;
    fuzz_store) echo "$base $(echo src/edge/store*.c) -lpthread $libs" ;;
    fuzz_sources) echo "$base src/edge/source_text.c src/net/aws.c $libs" ;;
    fuzz_bundle) echo "$base $libs" ;;
    fuzz_spec) echo "$base $(echo src/control/spec*.c) src/control/ids.c src/bundle/limits.c src/bundle/checks.c $(find src/compiler/ast -name '*.c')" \
        "src/compiler/builtin.c src/compiler/template.c $build/libregent.a -lre2 -lstdc++ $libs" ;;
    fuzz_mask) echo "$base src/edge/decision_mask.c src/edge/decision_event.c src/edge/trace.c src/net/http.c $libs" ;;
    *) echo "$base $libs" ;;
    esac
}

build() {
    if [ "$1" = fuzz_doors ] && ! "$build/regent" build -t wasm -o "$out/doors.tar.gz" $(printf -- '-e t/%s ' allow decision echo list) \
        -b tests/fuzz/doors >"$out/$1.log" 2>&1; then return 1; fi
    # shellcheck disable=SC2046,SC2086
    clang $common $checks -o "$out/$1" "tests/fuzz/$1.c" $(parts "$1") >"$out/$1.log" 2>&1
}

run() {
    corpus=tests/fuzz/corpus/${1#fuzz_}
    mkdir -p "$out/found/$1"
    [ -d "$corpus" ] || corpus=
    # New inputs go to the build folder; the corpus in the repository only grows by hand.
    # shellcheck disable=SC2086
    "$out/$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="tests/fuzz/crashes/$1-" "$out/found/$1" $corpus >"$out/$1.log" 2>&1
}

n=0
failed=0
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    n=$((n + 1))
    if build "$name" && run "$name"; then
        echo "ok $n - $name"
    else
        failed=1
        echo "not ok $n - $name"
        grep -E 'error|ERROR|SUMMARY|Test unit written' "$out/$name.log" | head -8 | sed 's/^/# /'
    fi
done
echo "1..$n"
exit $failed
