#!/bin/sh
# Assembly that embeds the runtime module ($1), its SHA-256 and its machine code ($2) as the symbols runtime_wasm_*,
# runtime_sha256 and runtime_code_*.
set -eu
printf '.section .rodata\n.global runtime_wasm_start, runtime_wasm_end, runtime_sha256\n'
printf '.global runtime_code_start, runtime_code_end\n.balign 16\n'
printf 'runtime_wasm_start:\n.incbin "%s"\nruntime_wasm_end:\n' "$1"
printf '.balign 16\nruntime_code_start:\n.incbin "%s"\nruntime_code_end:\n' "$2"
printf 'runtime_sha256:\n.asciz "%s"\n.section .note.GNU-stack,"",@progbits\n' "$(sha256sum "$1" | cut -d' ' -f1)"
