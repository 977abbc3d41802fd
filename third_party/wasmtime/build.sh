#!/bin/sh
# Builds the pinned wasmtime C API as a static library into $1 (a cache folder named by version), once.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
[ -f "$out/.done" ] && exit 0
command -v cargo >/dev/null || {
    echo "wasmtime needs cargo (Rust 1.95 or newer): install it with rustup and run make again" >&2
    exit 1
}
mkdir -p "$out"
echo "building wasmtime $(basename "$out") (once; takes about 4 minutes on 2 cores)" >&2
CARGO_TARGET_DIR="$out/target" cargo build --release --locked --manifest-path "$here/Cargo.toml"
mkdir -p "$out/include" "$out/lib"
crate=$(cargo metadata --locked --format-version 1 --manifest-path "$here/Cargo.toml" |
    sed -n 's/.*"manifest_path":"\([^"]*wasmtime-c-api-impl-[^"/]*\)\/Cargo.toml".*/\1/p' | head -n 1)
cp -r "$crate/include/." "$out/include/"
conf=$(ls "$out"/target/release/build/wasmtime-c-api-impl-*/out/include/wasmtime/conf.h | head -n 1)
cp "$conf" "$out/include/wasmtime/conf.h"
cp "$out/target/release/libregent_wasmtime.a" "$out/lib/libwasmtime.a"
rm -rf "$out/target"
touch "$out/.done"
