/* What a rollout is asked to do: its waves read, and each tenant's wave.
 * in: a request's members (hostile). out: a plan; waves of tenants. owns: nothing. */
#include "base/hash.h"
#include "control/rollout.h"
#include <stdio.h>
#include <stdlib.h>

static enum err refuse(char why[ROLLOUT_WHY_BYTES], const char *where, const char *what) {
    snprintf(why, ROLLOUT_WHY_BYTES, "%s: %s", where, what);
    return ERR_INVALID;
}

/* ---- values ---- */

/* 0, or 1 with *out: a whole number up to most; -1: it is something else. */
static int read_number(const struct json *o, const char *name, int64_t most, int64_t *out) {
    const struct json *v = json_get_c(o, name);
    int64_t n;
    if (!v) return 0;
    if (!json_int64(v, &n) || n < 0 || n > most) return -1;
    *out = n;
    return 1;
}

static int read_bool(const struct json *o, const char *name, bool *out) {
    const struct json *v = json_get_c(o, name);
    if (!v) return 0;
    if (v->kind != JSON_BOOL) return -1;
    *out = v->boolean;
    return 1;
}

/* 3, or "5%". */
static int read_max_failed(const struct json *o, struct rollout_wave *w) {
    const struct json *v = json_get_c(o, "max_failed");
    int64_t n = 0;
    if (!v) return 0;
    if (v->kind == JSON_STRING) {
        struct str s = v->text;
        if (s.len < 2 || s.len > 4 || s.ptr[s.len - 1] != '%') return -1;
        for (size_t i = 0; i + 1 < s.len; i++) {
            if (s.ptr[i] < '0' || s.ptr[i] > '9') return -1;
            n = n * 10 + (s.ptr[i] - '0');
        }
        if (n > 100) return -1;
        w->max_failed_is_percent = true;
    } else if (!json_int64(v, &n) || n < 0) {
        return -1;
    } else {
        w->max_failed_is_percent = false;
    }
    w->max_failed = n;
    return 1;
}

/* What a wave and the whole rollout may say. */
static enum err read_pace(const struct json *o, const char *where, struct rollout_wave *w,
                          char why[ROLLOUT_WHY_BYTES]) {
    if (read_number(o, "wait_s", ROLLOUT_WAIT_MOST_S, &w->wait_s) < 0)
        return refuse(why, where, "wait_s is a number of seconds, up to 30 days");
    if (read_number(o, "confirm_s", ROLLOUT_WAIT_MOST_S, &w->confirm_s) < 0)
        return refuse(why, where, "confirm_s is a number of seconds, up to 30 days");
    if (read_bool(o, "confirm", &w->confirm) < 0)
        return refuse(why, where, "confirm is true or false");
    if (read_max_failed(o, w) < 0)
        return refuse(why, where, "max_failed is a number, or a percentage such as \"5%\"");
    return OK;
}

/* ---- waves ---- */

static bool strings_only(const struct json *v) {
    for (uint32_t i = 0; i < v->n; i++)
        if (v->items[i]->kind != JSON_STRING) return false;
    return v->n > 0;
}

static enum err read_who(const struct json *o, const char *where, struct rollout_wave *w,
                         char why[ROLLOUT_WHY_BYTES]) {
    const struct json *tenants = json_get_c(o, "tenants"), *labels = json_get_c(o, "labels");
    const struct json *percent = json_get_c(o, "percent"), *rest = json_get_c(o, "rest");
    if (!!tenants + !!labels + !!percent + !!rest != 1)
        return refuse(why, where, "a wave has one of tenants, labels, percent and rest");
    w->who = tenants ? tenants : labels;
    w->kind = tenants ? WAVE_TENANTS : labels ? WAVE_LABELS : percent ? WAVE_PERCENT : WAVE_REST;
    if (tenants && (tenants->kind != JSON_ARRAY || !strings_only(tenants)))
        return refuse(why, where, "tenants is a list of ids");
    if (labels && (labels->kind != JSON_OBJECT || !strings_only(labels)))
        return refuse(why, where, "labels is an object of texts");
    if (percent && (!json_int64(percent, &w->percent) || w->percent < 1 || w->percent > 100))
        return refuse(why, where, "percent is a whole number from 1 to 100");
    if (rest && (rest->kind != JSON_BOOL || !rest->boolean))
        return refuse(why, where, "rest is true");
    return OK;
}

static bool known_member(struct str key) {
    static const char *const known[] = {"tenants", "labels",     "percent", "rest",
                                        "wait_s",  "max_failed", "confirm", "confirm_s"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_is(key, known[i])) return true;
    return false;
}

static enum err read_wave(const struct json *o, uint32_t number, struct rollout_plan *plan,
                          char why[ROLLOUT_WHY_BYTES]) {
    struct rollout_wave *w = &plan->waves[number];
    char where[32];
    snprintf(where, sizeof where, "waves[%u]", number);
    if (o->kind != JSON_OBJECT) return refuse(why, where, "a wave is an object");
    if (number && plan->waves[number - 1].kind == WAVE_REST)
        return refuse(why, where, "the wave before has the rest");
    for (uint32_t i = 0; i < o->n; i++)
        if (!known_member(o->keys[i]))
            return refuse(why, where, "it has a member that means nothing here");
    enum err e = read_who(o, where, w, why);
    return e ? e : read_pace(o, where, w, why);
}

enum err rollout_plan_read(const struct json *asked, struct rollout_plan *out,
                           char why[ROLLOUT_WHY_BYTES]) {
    struct rollout_wave pace = {
        .kind = WAVE_REST, .wait_s = ROLLOUT_WAIT_S, .confirm_s = ROLLOUT_CONFIRM_S};
    const struct json *waves = json_get_c(asked, "waves");
    *out = (struct rollout_plan){.rollback = true};
    enum err e = read_pace(asked, "the rollout", &pace, why);
    if (e) return e;
    if (read_bool(asked, "rollback", &out->rollback) < 0)
        return refuse(why, "rollback", "it is true or false");
    if (waves && (waves->kind != JSON_ARRAY || waves->n > ROLLOUT_WAVES))
        return refuse(why, "waves", "it is a list of at most 50");
    for (uint32_t i = 0; waves && i < waves->n; i++) {
        out->waves[i] = pace;
        if ((e = read_wave(waves->items[i], i, out, why))) return e;
        out->n_waves++;
    }
    if (!out->n_waves || out->waves[out->n_waves - 1].kind != WAVE_REST)
        out->waves[out->n_waves++] = pace;
    return OK;
}

/* ---- whose turn it is ---- */

/* "eu-*": a star stands for any text. */
static bool id_matches(struct str pattern, struct str id) {
    size_t p = 0, i = 0, star = pattern.len, from = 0;
    while (i < id.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            from = i;
        } else if (p < pattern.len && pattern.ptr[p] == id.ptr[i]) {
            p++, i++;
        } else if (star < pattern.len) {
            p = star + 1;
            i = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*') p++;
    return p == pattern.len;
}

static bool wave_names(const struct rollout_wave *w, const struct rollout_tenant *t) {
    if (w->kind == WAVE_REST) return true;
    if (w->kind == WAVE_TENANTS) {
        for (uint32_t i = 0; i < w->who->n; i++)
            if (id_matches(w->who->items[i]->text, t->id)) return true;
        return false;
    }
    for (uint32_t i = 0; i < w->who->n; i++) {
        const struct json *v = json_get(t->labels, w->who->keys[i]);
        if (!v || v->kind != JSON_STRING || !str_eq(v->text, w->who->items[i]->text)) return false;
    }
    return true;
}

struct drawn {
    uint64_t lot;
    struct rollout_tenant *tenant;
};

static int by_lot(const void *a, const void *b) {
    const struct drawn *x = a, *y = b;
    return x->lot < y->lot ? -1 : x->lot > y->lot ? 1 : str_cmp(x->tenant->id, y->tenant->id);
}

static uint64_t lot_of(struct str seed, struct str id) {
    char text[320];
    int n = snprintf(text, sizeof text, "%.*s %.*s", STR_FMT(str_head(seed, 128)),
                     STR_FMT(str_head(id, 128)));
    uint8_t sum[32];
    uint64_t lot = 0;
    sha256(text, (size_t)n, sum);
    for (int i = 0; i < 8; i++) lot = lot << 8 | sum[i];
    return lot;
}

enum err rollout_assign(struct arena *a, const struct rollout_plan *plan, struct str seed,
                        struct rollout_tenant *tenants, uint32_t n) {
    struct drawn *drawn = ARENA_ARRAY(a, struct drawn, n ? n : 1);
    if (!drawn) return ERR_MEMORY;
    for (uint32_t i = 0; i < n; i++) {
        tenants[i].wave = -1;
        drawn[i] = (struct drawn){lot_of(seed, tenants[i].id), &tenants[i]};
    }
    if (n) qsort(drawn, n, sizeof *drawn, by_lot);
    for (uint32_t k = 0; k < plan->n_waves; k++) {
        const struct rollout_wave *w = &plan->waves[k];
        uint64_t room =
            w->kind == WAVE_PERCENT ? ((uint64_t)n * (uint64_t)w->percent + 99) / 100 : n;
        for (uint32_t i = 0; i < n && room; i++) {
            struct rollout_tenant *t = drawn[i].tenant;
            if (t->wave >= 0 || (w->kind != WAVE_PERCENT && !wave_names(w, t))) continue;
            t->wave = k;
            room--;
        }
    }
    return OK;
}

bool rollout_too_many(const struct rollout_wave *w, int64_t failed, int64_t released) {
    return w->max_failed_is_percent ? failed * 100 > w->max_failed * released
                                    : failed > w->max_failed;
}
