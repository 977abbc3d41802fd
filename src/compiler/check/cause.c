/* Says why a cycle of rules is only possible: which ref closes it, and what its variables must
 * hold. in: an uncertain edge. out: a phrase for the error. owns: nothing. */
#include "compiler/check/graph.h"

enum { MAX_CONDITIONS = 2, MAX_MEMBERS = 5 };

struct condition {
    struct term *term;        /* of the ref */
    const struct term *value; /* that it must hold */
};

struct conditions {
    struct condition items[MAX_CONDITIONS];
    uint32_t n;
};

/* One condition a term; false when a term would need two values, or there are too many to list. */
static bool conditions_of(const struct dynamic_ref *d, const struct rule *target,
                          const struct positions *p, struct conditions *out) {
    for (uint32_t i = 0; i < p->n; i++) {
        struct term *t = d->ref->list.items[p->items[i]];
        const struct term *value = target->path->list.items[p->items[i]];
        uint32_t j = 0;
        while (j < out->n && !term_equal(out->items[j].term, t)) j++;
        if (j < out->n && !term_equal(out->items[j].value, value)) return false;
        if (j < out->n) continue;
        if (out->n == MAX_CONDITIONS) return false;
        out->items[out->n++] = (struct condition){t, value};
    }
    return out->n > 0;
}

static const struct origin *origin_of(const struct dynamic_ref *d, const struct term *t) {
    for (uint32_t i = 0; t->kind == TERM_VAR && i < d->origins.n; i++)
        if (str_eq(d->origins.items[i].var, t->text)) return &d->origins.items[i];
    return NULL;
}

/* ---- Conditions that cannot hold ---- */

static bool has_member(const struct term *xs, const struct term *value) {
    uint32_t step = xs->kind == TERM_OBJECT ? 2 : 1;
    for (uint32_t i = step - 1; i < xs->list.n; i += step)
        if (term_equal(xs->list.items[i], value)) return true;
    return false;
}

static const char *type_word(const struct term *value) {
    switch (value->kind) {
    case TERM_NULL: return "null";
    case TERM_BOOLEAN: return "boolean";
    case TERM_NUMBER: return "number";
    default: return "string";
    }
}

/* The result part of a builtin's type is `any`, the word, or a union with either at its top level.
 */
static bool may_return(const struct builtin *b, const struct term *value) {
    const char *result = strstr(b->type, ")->"), *word = type_word(value);
    if (!result) return true;
    for (const char *at = result + 3; *at;) {
        int depth = 0;
        at += *at == '<' || *at == '|';
        const char *start = at;
        for (; *at && (depth || (*at != '|' && *at != '>')); at++)
            depth += (strchr("[{<", *at) != NULL) - (strchr("]}>", *at) != NULL);
        struct str one = {start, (size_t)(at - start)};
        if (str_is(one, word) || str_is(one, "any")) return true;
        if (*at == '>') break;
    }
    return false;
}

static bool can_hold(const struct dynamic_ref *d, const struct condition *c) {
    const struct origin *o = origin_of(d, c->term);
    if (o && o->kind == ORIGIN_COLLECTION) return has_member(o->term, c->value);
    if (o && o->kind == ORIGIN_BUILTIN) return may_return(o->builtin, c->value);
    return true;
}

/* ---- Text ---- */

static struct str join(struct check_private *k, struct str a, const char *between, struct str b) {
    size_t len;
    const char *text = arena_printf(k->a, &len, "%.*s%s%.*s", STR_FMT(a), between, STR_FMT(b));
    return (struct str){text, len};
}

static struct str collection_note(struct check_private *k, struct str var, const struct term *xs) {
    uint32_t n = xs->kind == TERM_OBJECT ? xs->list.n / 2 : xs->list.n;
    if (n <= MAX_MEMBERS) return join(k, var, " is one of ", check_text(k, xs));
    size_t len;
    const char *text =
        arena_printf(k->a, &len, "%.*s is one of %u values", STR_FMT(var), (unsigned)n);
    return (struct str){text, len};
}

/* Where a condition's term gets its value; empty when that is not known. */
static struct str note_of(struct check_private *k, const struct dynamic_ref *d,
                          const struct condition *c) {
    if (ref_has_root(c->term, "data")) return STR("rule values aren't known at compile time");
    const struct origin *o = origin_of(d, c->term);
    if (!o) return STR("");
    struct str var = check_user_text(k, c->term), rule;
    switch (o->kind) {
    case ORIGIN_INPUT: return join(k, var, " comes from ", check_user_text(k, o->term));
    case ORIGIN_RULE:
        rule = check_user_text(k, o->term);
        return join(k, join(k, var, " comes from rule ", rule), "",
                    STR(", whose value isn't known at compile time"));
    case ORIGIN_COLLECTION: return collection_note(k, var, o->term);
    case ORIGIN_BUILTIN: return join(k, var, " is computed by ", str_of(o->builtin->name));
    case ORIGIN_HEAD_KEY: return join(k, var, " is a key of ", check_user_text(k, d->rule->path));
    case ORIGIN_HEAD_ARG:
        return join(k, var, " is an argument of ", check_user_text(k, d->rule->path));
    }
    return STR("");
}

static struct str condition_text(struct check_private *k, const struct dynamic_ref *d,
                                 const struct condition *c) {
    struct str text = join(k, check_user_text(k, c->term), " is ", check_user_text(k, c->value));
    struct str note = note_of(k, d, c);
    return note.len ? join(k, join(k, text, " (", note), "", STR(")")) : text;
}

struct str dynamic_cause(struct check_private *k, const struct dynamic_ref *d,
                         const struct rule *target, bool named_rule) {
    struct term *ref = term_copy(k->a, d->ref);
    struct positions positions = {0};
    struct conditions conditions = {0};
    if (ref->list.n > target->path->list.n) ref->list.n = target->path->list.n;
    struct str text = join(k, STR(" ("), "", check_user_text(k, ref));
    if (named_rule) text = join(k, text, " in ", check_user_text(k, d->rule->path));
    (void)ref_selects_rule(k, d->selector, target, d->bound, &positions);
    bool listed = conditions_of(d, target, &positions, &conditions);
    for (uint32_t i = 0; i < conditions.n; i++) listed &= can_hold(d, &conditions.items[i]);
    text = join(k, text, listed ? " refers to " : " could refer to ",
                check_user_text(k, target->path));
    for (uint32_t i = 0; listed && i < conditions.n; i++)
        text = join(k, text, i ? " and " : " if ", condition_text(k, d, &conditions.items[i]));
    return join(k, text, ")", STR(""));
}
