#!/bin/sh
# Assembly that embeds the runtime module and its SHA-256 as the symbols runtime_wasm_* and runtime_sha256.
set -eu
printf '.section .rodata\n.global runtime_wasm_start, runtime_wasm_end, runtime_sha256\n.balign 16\n'
printf 'runtime_wasm_start:\n.incbin "%s"\nruntime_wasm_end:\n' "$1"
printf 'runtime_sha256:\n.asciz "%s"\n.section .note.GNU-stack,"",@progbits\n' "$(sha256sum "$1" | cut -d' ' -f1)"
