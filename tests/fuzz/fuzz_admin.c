/* Fuzzes what administrators send and what their files hold: tokens' files, bodies of calls. in: libFuzzer's bytes; the
 * first chooses. out: crashes only. owns: an arena an input. Laws: no more tokens than lines, each with a name, scopes and
 * valid patterns; the hash of nothing that stands in the file lets anybody in; a body names a tenant or is refused. */
#include "edge/admin.h"
#include "edge/admin_tokens.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT = 1 << 16 };

static void law(bool holds) {
    if (!holds) abort();
}

static void count(void *ctx, uint32_t row, const char *what) {
    law(row > 0 && what && what[0]);
    ++*(uint32_t *)ctx;
}

static void read_tokens(struct arena *a, struct str text) {
    struct admin_tokens t = {0};
    uint32_t problems = 0, lines = 1;
    for (size_t i = 0; i < text.len; i++) lines += text.ptr[i] == '\n';
    admin_tokens_read(a, text, &t, count, &problems);
    law(t.n + problems <= lines && t.n <= ADMIN_TOKENS);
    for (uint32_t i = 0; i < t.n; i++) {
        const struct admin_token *k = &t.items[i];
        law(admin_name_valid(k->name) && k->scopes && k->scopes < 1u << ADMIN_SCOPES);
        for (uint32_t n = 0; n < k->tenants.n; n++) law(k->tenants.items[n].len > 0);
    }
    law(!admin_tokens_find(&t, text) || t.n == 0);
}

static void read_body(struct arena *a, struct str text, bool tenant) {
    struct admin_body b;
    const char *wrong = admin_body_read(a, text, tenant, &b);
    if (wrong) return;
    law(tenant ? admin_tenant_valid(b.tenant) : !b.tenant.len);
    law(b.version.len < VERSION_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena a;
    if (size < 1 || size > MAX_INPUT) return 0;
    char *bytes = malloc(size); /* views past its end show */
    memcpy(bytes, data + 1, size - 1);
    struct str text = {bytes, size - 1};
    arena_init(&a, 64 << 20);
    if (data[0] & 1)
        read_tokens(&a, text);
    else
        read_body(&a, text, data[0] & 2);
    arena_deinit(&a);
    free(bytes);
    return 0;
}
