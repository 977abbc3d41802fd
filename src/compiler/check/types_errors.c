/* Words the type checker's errors as OPA does, with the lines that show the types.
 * in: places, refs, types.
 * out: entries of struct type_errors in the checker's arena.
 * owns: nothing. */
#include "compiler/ast/print.h"
#include "compiler/check/types_private.h"
#include <stdarg.h>
#include <stdio.h>

enum { MAX_LINE_WIDTH = 80, MAX_REF_BYTES = 1 << 16, MAX_SUBJECTS = 20 };

void type_error_add(struct type_errors *errors, struct arena *a, struct loc loc, bool unknown,
                    const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    size_t size = len < 0 ? 1 : (size_t)len + 1;
    char *text = arena_alloc(a, size);
    vsnprintf(text, size, format, again);
    va_end(again);
    struct type_error e = {loc, {text, size - 1}, unknown};
    ARENA_PUSH(a, errors, e);
}

/* ---- Refs ---- */

/* Looks for the generated expression that gives a generated variable its value. */
struct subject_search {
    struct arena *arena;
    struct str name;
    struct term *found;
};

static bool names(const struct term *t, struct str name) {
    return t->kind == TERM_VAR && str_eq(t->text, name);
}

static bool visit_definition(void *ctx, struct expr *e) {
    struct subject_search *s = ctx;
    if (s->found || e->kind != EXPR_CALL || e->call.n < 2) return !s->found;
    struct term *const *operands = e->call.items + 1;
    uint32_t n = e->call.n - 1;
    bool equality = n == 2 && str_is(ref_dotted(s->arena, e->call.items[0]), "eq");
    if (equality && e->generated && names(operands[0], s->name)) {
        s->found = operands[1];
    } else if (!equality && names(operands[n - 1], s->name)) {
        s->found = term_new(s->arena, TERM_CALL, e->loc);
        for (uint32_t i = 0; i < n; i++) ARENA_PUSH(s->arena, &s->found->list, e->call.items[i]);
    }
    return true;
}

/* The term that a generated variable stands for, so that messages show what the user wrote. */
static const struct term *subject_of(struct type_env *env, const struct term *var) {
    struct subject_search s = {env->checker->arena, var->text, NULL};
    struct ast_visitor v = {.ctx = &s, .expr = visit_definition};
    if (env->checker->body && var_is_generated(var->text))
        ast_visit_body((struct body *)env->checker->body, &v);
    return s.found;
}

static struct term *user_term(struct type_env *env, const struct term *t, int depth) {
    struct arena *a = env->checker->arena;
    struct term *copy = ARENA_NEW(a, struct term);
    *copy = *t;
    if (t->kind == TERM_VAR) {
        copy->text = user_name(env->checker->compile->check->priv, t->text);
        const struct term *subject = str_eq(copy->text, t->text) ? subject_of(env, t) : NULL;
        return subject && depth < MAX_SUBJECTS ? user_term(env, subject, depth + 1) : copy;
    }
    if (t->list.n == 0) return copy;
    copy->list.items = ARENA_ARRAY(a, struct term *, t->list.n);
    for (uint32_t i = 0; i < t->list.n; i++)
        copy->list.items[i] = user_term(env, t->list.items[i], depth + 1);
    return copy;
}

struct str type_ref_text(struct type_env *env, struct term *const *ref, uint32_t n) {
    struct arena *a = env->checker->arena;
    if (n == 0) return (struct str){"", 0};
    struct term whole = {.kind = TERM_REF, .list = {(struct term **)ref, n, n}};
    struct buf text;
    buf_init(&text, MAX_REF_BYTES);
    print_term(user_term(env, &whole, 0), &text);
    struct str copy = {arena_strndup(a, (const char *)text.ptr, text.len), text.len};
    buf_deinit(&text);
    return copy;
}

/* ---- Arguments ---- */

static bool too_wide(struct str line, size_t lead) {
    size_t n = lead;
    for (size_t i = 0; i < line.len; i++)
        if (((unsigned char)line.ptr[i] & 0xC0) != 0x80) n++;
    return n > MAX_LINE_WIDTH;
}

static struct str join(struct arena *a, const struct str *parts, uint32_t n) {
    size_t len = 0;
    for (uint32_t i = 0; i < n; i++) len += parts[i].len + 2;
    char *text = arena_alloc(a, len + 2);
    size_t at = 0;
    text[at++] = '(';
    for (uint32_t i = 0; i < n; i++) {
        if (i) memcpy(text + at, ", ", 2);
        if (i) at += 2;
        memcpy(text + at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
    }
    text[at++] = ')';
    return (struct str){text, at};
}

/* Both lists with only what is in conflict spelled out. */
static void shorten_args(struct arena *a, const struct type *const *have, uint32_t n_have,
                         const struct type *const *want, uint32_t n_want, struct str *have_text,
                         struct str *want_text) {
    struct str *left = ARENA_ARRAY(a, struct str, n_have),
               *right = ARENA_ARRAY(a, struct str, n_want);
    for (uint32_t i = 0; i < n_have || i < n_want; i++) {
        bool both = i < n_have && i < n_want;
        if (both && !type_unifies(have[i], want[i])) {
            type_text_diff(a, have[i], want[i], &left[i], &right[i]);
            continue;
        }
        if (i < n_have) left[i] = type_text_elided(a, have[i]);
        if (i < n_want) right[i] = type_text_elided(a, want[i]);
    }
    *have_text = join(a, left, n_have);
    *want_text = join(a, right, n_want);
}

void type_error_args(struct type_env *env, struct type_errors *errors, struct loc loc,
                     const struct term *op, const char *what, const struct type **have, uint32_t n,
                     const struct type *function, bool with_result) {
    struct arena *a = env->checker->arena;
    const struct type **want = ARENA_ARRAY(a, const struct type *, (size_t)function->n + 1);
    uint32_t n_want = function->n;
    for (uint32_t i = 0; i < function->n; i++) want[i] = function->items[i];
    if (with_result && function->result) want[n_want++] = function->result;
    struct str have_text = type_args_text(a, have, n, NULL);
    struct str want_text = type_args_text(a, want, n_want, function->variadic);
    if ((too_wide(have_text, 6) || too_wide(want_text, 6)) && !function->variadic)
        shorten_args(a, have, n, want, n_want, &have_text, &want_text);
    bool unknown = false;
    for (uint32_t i = 0; i < n; i++) unknown = unknown || type_has_unknown(have[i]);
    struct str name = ref_dotted(a, op);
    type_error_add(errors, a, loc, unknown, "%.*s: %s\n\thave: %.*s\n\twant: %.*s", STR_FMT(name),
                   what, STR_FMT(have_text), STR_FMT(want_text));
}

/* ---- Two sides ---- */

static const char *shared_kind(const struct type *x, const struct type *y) {
    if (!x || !y || x->kind != y->kind) return NULL;
    if (x->kind == TYPE_OBJECT) return "objects";
    if (x->kind == TYPE_ARRAY) return "arrays";
    return x->kind == TYPE_SET ? "sets" : NULL;
}

void type_error_match(struct type_env *env, struct type_errors *errors, struct loc loc,
                      const struct type *left, const struct type *right) {
    struct arena *a = env->checker->arena;
    struct str left_text = type_text(a, left), right_text = type_text(a, right);
    if (too_wide(left_text, 8) || too_wide(right_text, 8))
        type_text_diff(a, left, right, &left_text, &right_text);
    const char *kind = shared_kind(left, right);
    bool unknown = type_has_unknown(left) || type_has_unknown(right);
    type_error_add(errors, a, loc, unknown, "match error\n\tleft  : %.*s\n\tright : %.*s%s%s%s",
                   STR_FMT(left_text), STR_FMT(right_text),
                   kind ? "\n\thint  : both sides are " : "", kind ? kind : "",
                   kind ? " whose types differ: they are never equal" : "");
}
