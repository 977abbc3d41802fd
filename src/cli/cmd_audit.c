/* regent audit: checks that a control plane's audit log is whole.
 * in: a store, or a control plane's API; perhaps an entry's hash that was written down before. out:
 * its head, or the entry that does not fit. owns: nothing. */
#include "cli/client.h"
#include "control/audit.h"
#include <unistd.h>

enum { ENTRY_ARENA_BYTES = 64 << 20, OUTPUT_BYTES = 1 << 16, HASH_DIGITS = 64 };

struct verdict {
    enum err e;
    int code; /* not EXIT_OK: it could not be checked, and that was said */
    int64_t n;
    char head[65], why[DB_WHY_BYTES];
};

/* ---- where the entries come from ---- */

static void verify_store(struct arena *a, const char *url, int64_t seq, const char *hash,
                         struct verdict *v) {
    struct db *d = NULL;
    struct db_conn *c = NULL;
    v->e = db_open_foreign(url, &d, v->why);
    if (!v->e) v->e = db_take(d, &c, v->why);
    bool open = !v->e;
    if (open) v->e = audit_verify(c, a, seq, hash, &v->n, v->head, v->why);
    db_put(c);
    db_close(d);
    if (!open || (v->e && v->e != ERR_INVALID))
        v->code = fail("%s", v->why[0] ? v->why : err_meaning(v->e));
}

struct walk {
    struct audit_chain chain;
    struct arena arena; /* of one entry */
    struct verdict *verdict;
};

static int take_entry(void *ctx, const struct json *entry) {
    struct walk *w = ctx;
    arena_reset(&w->arena);
    w->verdict->e = audit_chain_next(&w->chain, &w->arena, entry, w->verdict->why);
    return w->verdict->e ? EXIT_ERRORS : EXIT_OK;
}

static void verify_api(struct arena *a, const struct client_options *o, int64_t seq,
                       const char *hash, struct verdict *v) {
    struct client c;
    struct walk w = {.chain = {.expected_seq = seq, .expected = hash}, .verdict = v};
    if (!client_open(a, o, &c)) {
        v->code = EXIT_FAILED;
        return;
    }
    arena_init(&w.arena, ENTRY_ARENA_BYTES);
    int code = client_list(&c, "/v1/audit?order=asc&limit=1000", take_entry, &w);
    if (code && !v->e) v->code = EXIT_FAILED;
    if (!code) v->e = audit_chain_end(&w.chain, v->why);
    v->n = w.chain.seq + (v->e != OK);
    memcpy(v->head, w.chain.head, sizeof v->head);
    arena_deinit(&w.arena);
    client_close(&c);
    if (v->e && v->e != ERR_INVALID) v->code = fail("%s", v->why[0] ? v->why : err_meaning(v->e));
}

/* ---- what is said ---- */

static int say(struct arena *a, const struct verdict *v, bool json) {
    struct buf b;
    bool whole = !v->e;
    buf_init(&b, OUTPUT_BYTES);
    if (json) {
        struct json *o = json_object(a);
        json_set(a, o, STR("ok"), json_bool(a, whole));
        json_set(a, o, whole ? STR("entries") : STR("entry"), json_int(a, v->n));
        size_t len;
        char *head = arena_printf(a, &len, "%lld:%s", (long long)v->n, v->head);
        if (whole && v->n) json_set(a, o, STR("head"), json_string(a, (struct str){head, len}));
        if (!whole) json_set(a, o, STR("reason"), json_string(a, str_of(v->why)));
        json_print(o, false, 2, &b);
        buf_byte(&b, '\n');
    } else if (whole && v->n) {
        buf_printf(&b, "The audit log is whole: %lld entries, the last is\n%lld:%s\n",
                   (long long)v->n, (long long)v->n, v->head);
    } else if (whole) {
        buf_cstr(&b, "The audit log has no entry yet.\n");
    } else {
        buf_printf(&b, "The audit log is not whole: %s.\n", v->why);
    }
    print_buf(STDOUT_FILENO, &b);
    buf_deinit(&b);
    return whole ? EXIT_OK : EXIT_ERRORS;
}

/* "17:HASH" */
static bool read_expected(struct arena *a, struct str text, int64_t *seq, const char **hash) {
    const char *colon = memchr(text.ptr, ':', text.len);
    size_t digits = colon ? (size_t)(colon - text.ptr) : 0;
    struct str hex = str_from(text, digits + 1);
    if (!digits || digits > 18 || hex.len != HASH_DIGITS) return false;
    *seq = 0;
    for (size_t i = 0; i < digits; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
        *seq = *seq * 10 + (text.ptr[i] - '0');
    }
    for (size_t i = 0; i < hex.len; i++)
        if (char_hex(hex.ptr[i]) < 0) return false;
    *hash = arena_strndup(a, hex.ptr, hex.len);
    return *seq > 0 && *hash;
}

int cmd_audit(struct arena *a, int argc, char **argv) {
    struct client_options o = {0};
    struct str store = {0}, expect = {0}, format = STR("pretty");
    struct str_list words;
    struct verdict v = {0};
    const char *hash = NULL;
    int64_t seq = 0;
    int code;
    const struct option_spec specs[] = {
        {"store", 0, OPTION_TEXT, &store, "URL",
         "read this store itself (sqlite:FILE, postgres://…), not the API"},
        {"expect", 0, OPTION_TEXT, &expect, "SEQ:HASH",
         "an entry as it was written down before: it must still be there"},
        {"format", 'f', OPTION_TEXT, &format, "FORMAT", "pretty (default) or json"},
        CLIENT_FLAGS(o),
        {0}};
    if (!command_options(a, "audit verify [flags]", specs, argc, argv, &words, &code)) return code;
    bool json = str_is(format, "json");
    if (words.n != 1 || !str_is(words.items[0], "verify"))
        return fail("regent audit verify [flags]");
    if (!json && !str_is(format, "pretty")) return fail("-f takes pretty or json");
    if (expect.len && !read_expected(a, expect, &seq, &hash))
        return fail("--expect takes SEQ:HASH, as verify prints it");
    if (store.len)
        verify_store(a, arena_strndup(a, store.ptr, store.len), seq, hash, &v);
    else
        verify_api(a, &o, seq, hash, &v);
    return v.code ? v.code : say(a, &v, json);
}
