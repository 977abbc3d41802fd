/* The table of the configuration's keys, and what to say about one that is not in it.
 * in: names. out: rows, suggestions. owns: nothing. */
#include "edge/config_keys.h"
#include <stdarg.h>
#include <stdio.h>

#define MS 1000ull
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

const struct config_key config_keys[] = {
#define KEY(path, kind, owner, field, least, most, fallback, meaning)                                                  \
    {path, KEY_##kind, offsetof(struct owner, field), least, most, fallback, meaning},
#include "edge/config_keys.def"
#undef KEY
};
const uint32_t n_config_keys = sizeof config_keys / sizeof *config_keys;

static const char *const limit_names[] = {
#define LIMIT(identifier, name, unit, meaning) name,
#include "bundle/limits.def"
#undef LIMIT
};
enum { N_LIMITS = sizeof limit_names / sizeof *limit_names, MAX_WORDS = 128, WORD_BYTES = 96 };

/* What of a path lies behind prefix; NULL when it is no path below it. */
static const char *below(const char *path, const char *prefix) {
    size_t n = strlen(prefix);
    return strncmp(path, prefix, n) == 0 ? path + n : NULL;
}

const struct config_key *config_key_find(const char *prefix, struct str name) {
    for (uint32_t i = 0; i < n_config_keys; i++) {
        const char *rest = below(config_keys[i].path, prefix);
        if (rest && str_is(name, rest)) return &config_keys[i];
    }
    return NULL;
}

bool config_key_section(const char *prefix, struct str name) {
    for (uint32_t i = 0; i < n_config_keys; i++) {
        const char *rest = below(config_keys[i].path, prefix);
        if (rest && str_starts(str_of(rest), name) && rest[name.len] == '.') return true;
    }
    return false;
}

void config_key_variable(const char *path, char *out, size_t out_bytes) {
    int n = snprintf(out, out_bytes, "REGENT_EDGE_%s", path);
    for (int i = 0; i < n && (size_t)i < out_bytes; i++) {
        if (out[i] >= 'a' && out[i] <= 'z') out[i] = (char)(out[i] - 32);
        if (out[i] == '.') out[i] = '_';
    }
}

/* ---- Reports ---- */
static void report(struct diag_list *to, struct loc loc, const char *format, va_list args) {
    char text[1024];
    vsnprintf(text, sizeof text, format, args);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    diag_add(to, DIAG_CONFIG, loc, "%s", text);
}

void config_problem(struct config_reader *r, struct loc loc, const char *format, ...) {
    va_list args;
    va_start(args, format);
    report(r->diags, loc, format, args);
    va_end(args);
}

void config_warning(struct config_reader *r, struct loc loc, const char *format, ...) {
    va_list args;
    va_start(args, format);
    report(&r->c->warnings, loc, format, args);
    va_end(args);
}

struct words {
    char text[MAX_WORDS][WORD_BYTES];
    const char *items[MAX_WORDS];
    uint32_t n;
};

static void add_word(struct words *w, struct str word) {
    for (uint32_t i = 0; i < w->n; i++)
        if (str_is(word, w->items[i])) return;
    if (w->n == MAX_WORDS || word.len >= WORD_BYTES) return;
    memcpy(w->text[w->n], word.ptr, word.len);
    w->text[w->n][word.len] = 0;
    w->items[w->n] = w->text[w->n];
    w->n++;
}

/* The names that may stand directly below prefix. */
static void names_below(const char *prefix, struct words *out) {
    out->n = 0;
    for (uint32_t i = 0; i < n_config_keys; i++) {
        const char *rest = below(config_keys[i].path, prefix);
        if (rest) add_word(out, str_head(str_of(rest), strcspn(rest, ".[")));
    }
}

/* The key that has this name elsewhere. */
static const char *elsewhere(struct str name) {
    for (uint32_t i = 0; i < n_config_keys; i++) {
        struct str path = str_of(config_keys[i].path);
        if (path.len > name.len && str_ends(path, name) && path.ptr[path.len - name.len - 1] == '.') return path.ptr;
    }
    return NULL;
}

void config_unknown_key(struct config_reader *r, const char *prefix, struct str name, struct loc loc) {
    enum { MANY = 1000 };
    struct words words;
    char known[512];
    if (r->diags->dropped > MANY) { /* nobody reads them, and looking for what was meant takes time */
        r->diags->dropped++;
        return;
    }
    struct str shown = str_head(name, 64);
    names_below(prefix, &words);
    const char *meant = word_meant(name, words.items, words.n), *path = elsewhere(name);
    if (meant) {
        config_problem(r, loc, "unknown key `%.*s`: did you mean `%s`?", STR_FMT(shown), meant);
    } else if (path) {
        config_problem(r, loc, "unknown key `%.*s`: it belongs elsewhere, as `%s`", STR_FMT(shown), path);
    } else {
        size_t at = 0;
        known[0] = 0;
        for (uint32_t i = 0; i < words.n && at < sizeof known; i++)
            at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", words.items[i]);
        config_problem(r, loc, "unknown key `%.*s`: known here are %s", STR_FMT(shown), known);
    }
}

void config_unknown_variable(struct config_reader *r, struct str name, struct loc loc) {
    struct words words = {.n = 0};
    char path[WORD_BYTES], variable[WORD_BYTES];
    for (uint32_t i = 0; i < n_config_keys; i++) {
        if (strstr(config_keys[i].path, "[]")) continue;
        for (uint32_t k = 0; k < (config_keys[i].kind == KEY_LIMITS ? N_LIMITS : 1); k++) {
            bool limit = config_keys[i].kind == KEY_LIMITS;
            snprintf(path, sizeof path, "%s%s%s", config_keys[i].path, limit ? "." : "", limit ? limit_names[k] : "");
            config_key_variable(path, variable, sizeof variable);
            add_word(&words, str_of(variable));
        }
    }
    const char *meant = word_meant(name, words.items, words.n);
    if (meant)
        config_problem(r, loc, "unknown variable: did you mean %s?", meant);
    else
        config_problem(r, loc, "unknown variable: no key has this name (REGENT_EDGE_ and its path, `.` as `_`)");
}
