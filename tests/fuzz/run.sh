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
base="$(find src/base -name '*.c') src/bundle/bundle.c src/bundle/pack.c src/bundle/tar.c"
libs="-lyaml -lcrypto -larchive -lz -lm"

# What a harness is made of: flags, sources, libraries.
parts() {
    case $1 in
    fuzz_json) echo "-fno-pie -no-pie -DREGENT_NATIVE $(find src/runtime -name '*.c') -lm" ;;
    fuzz_parser) echo "$base $(find src/compiler/ast -name '*.c') src/compiler/builtin.c src/compiler/template.c $libs" ;;
    fuzz_http1) echo "$base src/net/http.c src/net/http1.c src/edge/rest_input.c $libs" ;;
    fuzz_grpc) echo "$base src/net/http.c src/net/protobuf.c src/edge/authz_input.c src/edge/authz_reply.c $libs" ;;
    fuzz_bundle) echo "$base $libs" ;;
    *) echo "$base $libs" ;;
    esac
}

build() {
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
