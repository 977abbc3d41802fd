/* Parameters of a REST call's query.
 * in: the query as sent, maybe hostile. out: struct rest_params; decoded text lies in the arena. owns: nothing. */
#include "edge/rest.h"

enum flag { PRETTY, PROVENANCE, METRICS, INSTRUMENT, STRICT, BUNDLE, BUNDLES, PLUGINS, READY, FLAGS };

/* Values of one name, as far as they tell whether it is set. */
struct flag_values {
    uint32_t n;
    bool any_true, any_empty;
};

static const struct str flag_names[FLAGS] = {
    [PRETTY] = {"pretty", 6},         [PROVENANCE] = {"provenance", 10},
    [METRICS] = {"metrics", 7},       [INSTRUMENT] = {"instrument", 10},
    [STRICT] = {"strict-builtin-errors", 21}, [BUNDLE] = {"bundle", 6},
    [BUNDLES] = {"bundles", 7},       [PLUGINS] = {"plugins", 7},
    [READY] = {"ready", 5}};

static bool is_set(const struct flag_values *v) {
    return v->any_true || (v->n == 1 && v->any_empty);
}

/* false: a bad escape, or no memory. */
static bool decode(struct arena *a, struct str *s) {
    if (s->len == 0 || (!memchr(s->ptr, '%', s->len) && !memchr(s->ptr, '+', s->len))) return true;
    char *out = arena_alloc(a, s->len);
    long n = out ? http_percent_decode(*s, true, out) : -1;
    if (n < 0) return false;
    *s = (struct str){out, (size_t)n};
    return true;
}

static enum rest_explain explain_of(struct str v) {
    if (str_is(v, "notes")) return EXPLAIN_NOTES;
    if (str_is(v, "fails")) return EXPLAIN_FAILS;
    if (str_is(v, "full")) return EXPLAIN_FULL;
    if (str_is(v, "debug")) return EXPLAIN_DEBUG;
    return EXPLAIN_OFF;
}

static void take(struct str name, struct str v, struct flag_values flags[FLAGS], struct rest_params *out) {
    for (int i = 0; i < FLAGS; i++) {
        if (!str_eq(name, flag_names[i])) continue;
        flags[i].n++;
        flags[i].any_empty |= v.len == 0;
        flags[i].any_true |= str_eq_fold(v, STR("true"));
        return;
    }
    if (str_is(name, "explain") && out->explain == EXPLAIN_OFF)
        out->explain = explain_of(v);
    else if (str_is(name, "input"))
        out->input = v.ptr ? v : STR("");
    else if (str_is(name, "exclude-plugin"))
        out->exclude_bundle |= str_is(v, "bundle");
}

void rest_query(struct arena *a, struct str query, struct rest_params *out) {
    struct flag_values flags[FLAGS] = {{0}};
    while (query.len) {
        const char *amp = memchr(query.ptr, '&', query.len);
        struct str pair = amp ? str_head(query, (size_t)(amp - query.ptr)) : query;
        query = str_from(query, pair.len + 1);
        if (pair.len == 0 || memchr(pair.ptr, ';', pair.len)) continue; /* Go refuses such pairs */
        const char *is = memchr(pair.ptr, '=', pair.len);
        struct str name = is ? str_head(pair, (size_t)(is - pair.ptr)) : pair;
        struct str value = is ? str_from(pair, name.len + 1) : STR("");
        if (decode(a, &name) && decode(a, &value)) take(name, value, flags, out);
    }
    out->pretty = is_set(&flags[PRETTY]);
    out->provenance = is_set(&flags[PROVENANCE]);
    out->metrics = is_set(&flags[METRICS]);
    out->instrument = is_set(&flags[INSTRUMENT]);
    out->strict_builtin_errors = is_set(&flags[STRICT]);
    out->bundles = is_set(&flags[BUNDLE]) || is_set(&flags[BUNDLES]);
    out->plugins = is_set(&flags[PLUGINS]);
    out->ready = is_set(&flags[READY]);
}
