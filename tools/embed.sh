#!/bin/sh
# Assembly that embeds the runtime module ($1), its SHA-256, its machine code ($2), the runtime for linking ($3) and the one
# for filters ($4) as the symbols runtime_wasm_*, runtime_sha256, runtime_code_*, runtime_link_* and runtime_proxy_*.
set -eu
embed() {
    printf '.global %s_start, %s_end\n.balign 16\n%s_start:\n.incbin "%s"\n%s_end:\n' "$1" "$1" "$1" "$2" "$1"
}
printf '.section .rodata\n.global runtime_sha256\n'
embed runtime_wasm "$1"
embed runtime_code "$2"
embed runtime_link "$3"
embed runtime_proxy "$4"
printf 'runtime_sha256:\n.asciz "%s"\n.section .note.GNU-stack,"",@progbits\n' "$(sha256sum "$1" | cut -d' ' -f1)"
