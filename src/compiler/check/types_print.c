/* Writes types as text the way OPA's messages show them, whole or shortened.
 * in: types.
 * out: text in the caller's arena.
 * owns: its buffers, while a function runs. */
#include "compiler/ast/print.h"
#include "compiler/check/types.h"

enum {
    MAX_TEXT_BYTES = 1 << 20, /* of one type; what is longer is cut */
    MAX_PRINT_DEPTH = 100,
    MAX_ELIDED_WIDTH = 32, /* characters up to which a type is shown whole */
    MAX_DIFF_DEPTH = 8,
};

static struct str take_text(struct arena *a, struct buf *b) {
    struct str text = {arena_strndup(a, (const char *)b->ptr, b->len), b->len};
    buf_deinit(b);
    return text;
}

/* ---- Whole types ---- */

static void put_type(struct buf *out, const struct type *t, int depth);

static void put_key(struct buf *out, const struct term *key) {
    if (key->kind == TERM_STRING)
        buf_str(out, key->text);
    else if (key->kind == TERM_NULL)
        buf_cstr(out, "<nil>");
    else
        print_term(key, out);
}

static void put_list(struct buf *out, const struct type *const *items, uint32_t n, int depth) {
    for (uint32_t i = 0; i < n; i++) {
        if (i) buf_cstr(out, ", ");
        put_type(out, items[i], depth);
    }
}

static void put_args(struct buf *out, const struct type *const *args, uint32_t n,
                     const struct type *variadic, int depth) {
    buf_byte(out, '(');
    put_list(out, args, n, depth);
    if (variadic) {
        if (n) buf_cstr(out, ", ");
        put_type(out, variadic, depth);
        buf_cstr(out, "...");
    }
    buf_byte(out, ')');
}

static void put_object(struct buf *out, const struct type *t, int depth) {
    buf_cstr(out, "object");
    for (uint32_t i = 0; i < t->n; i++) {
        buf_cstr(out, i ? ", " : "<");
        put_key(out, t->props[i].key);
        buf_cstr(out, ": ");
        put_type(out, t->props[i].value, depth);
    }
    if (t->n) buf_byte(out, '>');
    if (!t->has_dynamic) return;
    buf_byte(out, '[');
    put_type(out, t->dynamic_key, depth);
    buf_cstr(out, ": ");
    put_type(out, t->dynamic, depth);
    buf_byte(out, ']');
}

/* name<item, item>[dynamic], leaving out what is not there */
static void put_composite(struct buf *out, const char *name, const struct type *t, int depth) {
    buf_cstr(out, name);
    if (t->n) {
        buf_byte(out, '<');
        put_list(out, t->items, t->n, depth);
        buf_byte(out, '>');
    }
    if (!t->dynamic) return;
    buf_byte(out, '[');
    put_type(out, t->dynamic, depth);
    buf_byte(out, ']');
}

static void put_type(struct buf *out, const struct type *t, int depth) {
    if (!t || depth > MAX_PRINT_DEPTH) {
        buf_cstr(out, t ? "..." : "???");
        return;
    }
    switch (t->kind) {
    case TYPE_NULL: buf_cstr(out, "null"); break;
    case TYPE_BOOLEAN: buf_cstr(out, "boolean"); break;
    case TYPE_NUMBER: buf_cstr(out, "number"); break;
    case TYPE_STRING: buf_cstr(out, "string"); break;
    case TYPE_ARRAY: put_composite(out, "array", t, depth + 1); break;
    case TYPE_SET: put_composite(out, "set", t, depth + 1); break;
    case TYPE_ANY: put_composite(out, "any", t, depth + 1); break;
    case TYPE_OBJECT: put_object(out, t, depth + 1); break;
    case TYPE_FUNCTION:
        put_args(out, t->items, t->n, t->variadic, depth + 1);
        buf_cstr(out, " => ");
        put_type(out, t->result, depth + 1);
        break;
    }
}

struct str type_text(struct arena *a, const struct type *t) {
    struct buf out;
    buf_init(&out, MAX_TEXT_BYTES);
    put_type(&out, t, 0);
    return take_text(a, &out);
}

struct str type_args_text(struct arena *a, const struct type *const *args, uint32_t n,
                          const struct type *variadic) {
    struct buf out;
    buf_init(&out, MAX_TEXT_BYTES);
    put_args(&out, args, n, variadic, 0);
    return take_text(a, &out);
}

/* ---- Shortened types ---- */

static size_t characters(struct str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        if (((unsigned char)s.ptr[i] & 0xC0) != 0x80) n++;
    return n;
}

static const char *constructor_text(const struct type *t) {
    switch (t->kind) {
    case TYPE_SET: return t->dynamic ? "set[...]" : "set";
    case TYPE_ANY: return t->n ? "any<...>" : "any";
    case TYPE_ARRAY:
        if (t->n && t->dynamic) return "array<...>[...]";
        return t->n ? "array<...>" : t->dynamic ? "array[...]" : "array";
    case TYPE_OBJECT:
        if (t->n && t->has_dynamic) return "object<...>[...]";
        return t->n ? "object<...>" : t->has_dynamic ? "object[...]" : "object";
    case TYPE_FUNCTION:
        if (!t->result) return t->n || t->variadic ? "(...) => ???" : "() => ???";
        return t->n || t->variadic ? "(...) => ..." : "() => ...";
    case TYPE_NULL:
    case TYPE_BOOLEAN:
    case TYPE_NUMBER:
    case TYPE_STRING: break;
    }
    return "...";
}

/* Only the outermost constructor, whatever the length. */
static struct str outermost_text(struct arena *a, const struct type *t) {
    if (!t || t->kind <= TYPE_STRING) return type_text(a, t);
    return str_of(constructor_text(t));
}

struct str type_text_elided(struct arena *a, const struct type *t) {
    struct str whole = type_text(a, t);
    return characters(whole) <= MAX_ELIDED_WIDTH ? whole : outermost_text(a, t);
}

static bool same_text(struct arena *a, const struct type *x, const struct type *y) {
    return str_eq(type_text(a, x), type_text(a, y));
}

/* ---- Two types side by side ---- */

struct diff {
    struct arena *arena;
    struct buf left, right;
    bool any_left, any_right; /* something was written between the brackets */
};

static void diff_init(struct diff *d, struct arena *a, const char *name) {
    *d = (struct diff){.arena = a};
    buf_init(&d->left, MAX_TEXT_BYTES);
    buf_init(&d->right, MAX_TEXT_BYTES);
    buf_cstr(&d->left, name);
    buf_cstr(&d->right, name);
}

static void diff_part(struct buf *out, bool *any, const struct term *key, struct str text) {
    buf_cstr(out, *any ? ", " : "<");
    *any = true;
    if (key) {
        put_key(out, key);
        buf_cstr(out, ": ");
    }
    buf_str(out, text);
}

static void diff_close_parts(struct diff *d) {
    if (d->any_left) buf_byte(&d->left, '>');
    if (d->any_right) buf_byte(&d->right, '>');
}

static void diff_finish(struct diff *d, struct str *left, struct str *right) {
    *left = take_text(d->arena, &d->left);
    *right = take_text(d->arena, &d->right);
}

static void diff_types(struct arena *a, const struct type *x, const struct type *y, int depth,
                       struct str *left, struct str *right);

/* One level of an array: its elements shortened. */
static struct str array_one_level(struct arena *a, const struct type *t) {
    struct buf out;
    bool any = false;
    buf_init(&out, MAX_TEXT_BYTES);
    buf_cstr(&out, "array");
    for (uint32_t i = 0; i < t->n; i++) diff_part(&out, &any, NULL, outermost_text(a, t->items[i]));
    if (any) buf_byte(&out, '>');
    if (t->dynamic) {
        buf_byte(&out, '[');
        buf_str(&out, outermost_text(a, t->dynamic));
        buf_byte(&out, ']');
    }
    return take_text(a, &out);
}

static void put_bracketed(struct diff *d, struct str left, struct str right) {
    buf_byte(&d->left, '[');
    buf_str(&d->left, left);
    buf_byte(&d->left, ']');
    buf_byte(&d->right, '[');
    buf_str(&d->right, right);
    buf_byte(&d->right, ']');
}

static void diff_arrays(struct arena *a, const struct type *x, const struct type *y, int depth,
                        struct str *left, struct str *right) {
    if (x->n != y->n || (x->dynamic == NULL) != (y->dynamic == NULL)) {
        *left = array_one_level(a, x);
        *right = array_one_level(a, y);
        return;
    }
    struct diff d;
    struct str l, r;
    diff_init(&d, a, "array");
    for (uint32_t i = 0; i < x->n; i++) {
        diff_types(a, x->items[i], y->items[i], depth + 1, &l, &r);
        diff_part(&d.left, &d.any_left, NULL, l);
        diff_part(&d.right, &d.any_right, NULL, r);
    }
    diff_close_parts(&d);
    if (x->dynamic) {
        diff_types(a, x->dynamic, y->dynamic, depth + 1, &l, &r);
        put_bracketed(&d, l, r);
    }
    diff_finish(&d, left, right);
}

/* The known keys of two objects, in step; true: equal ones were left out. */
static bool diff_properties(struct diff *d, const struct type *x, const struct type *y, int depth) {
    struct arena *a = d->arena;
    bool elided = false;
    for (uint32_t i = 0, j = 0; i < x->n || j < y->n;) {
        const struct type_property *p = i < x->n ? &x->props[i] : NULL;
        const struct type_property *q = j < y->n ? &y->props[j] : NULL;
        int order = !p ? 1 : !q ? -1 : term_compare(p->key, q->key);
        if (order < 0) {
            diff_part(&d->left, &d->any_left, p->key, type_text_elided(a, p->value));
        } else if (order > 0) {
            diff_part(&d->right, &d->any_right, q->key, type_text_elided(a, q->value));
        } else if (same_text(a, p->value, q->value)) {
            elided = true;
        } else {
            struct str l, r;
            diff_types(a, p->value, q->value, depth + 1, &l, &r);
            diff_part(&d->left, &d->any_left, p->key, l);
            diff_part(&d->right, &d->any_right, q->key, r);
        }
        if (order <= 0) i++;
        if (order >= 0) j++;
    }
    return elided;
}

static void put_dynamic(struct buf *out, struct str key, struct str value) {
    buf_byte(out, '[');
    buf_str(out, key);
    buf_cstr(out, ": ");
    buf_str(out, value);
    buf_byte(out, ']');
}

static void diff_objects(struct arena *a, const struct type *x, const struct type *y, int depth,
                         struct str *left, struct str *right) {
    struct diff d;
    diff_init(&d, a, "object");
    if (diff_properties(&d, x, y, depth)) {
        diff_part(&d.left, &d.any_left, NULL, STR("..."));
        diff_part(&d.right, &d.any_right, NULL, STR("..."));
    }
    diff_close_parts(&d);
    if (x->has_dynamic && y->has_dynamic) {
        struct str key_l, key_r, l, r;
        diff_types(a, x->dynamic_key, y->dynamic_key, depth + 1, &key_l, &key_r);
        diff_types(a, x->dynamic, y->dynamic, depth + 1, &l, &r);
        put_dynamic(&d.left, key_l, l);
        put_dynamic(&d.right, key_r, r);
    } else if (x->has_dynamic) {
        put_dynamic(&d.left, type_text_elided(a, x->dynamic_key), type_text_elided(a, x->dynamic));
    } else if (y->has_dynamic) {
        put_dynamic(&d.right, type_text_elided(a, y->dynamic_key), type_text_elided(a, y->dynamic));
    }
    diff_finish(&d, left, right);
}

static bool has_member_text(struct arena *a, const struct type *any, const struct type *t) {
    for (uint32_t i = 0; i < any->n; i++)
        if (same_text(a, any->items[i], t)) return true;
    return false;
}

static void diff_unions(struct arena *a, const struct type *x, const struct type *y,
                        struct str *left, struct str *right) {
    struct diff d;
    bool elided = false;
    diff_init(&d, a, "any");
    for (uint32_t i = 0; i < x->n; i++) {
        bool both = has_member_text(a, y, x->items[i]);
        if (!both) diff_part(&d.left, &d.any_left, NULL, type_text_elided(a, x->items[i]));
        elided = elided || both;
    }
    for (uint32_t i = 0; i < y->n; i++)
        if (!has_member_text(a, x, y->items[i]))
            diff_part(&d.right, &d.any_right, NULL, type_text_elided(a, y->items[i]));
    if (elided) {
        diff_part(&d.left, &d.any_left, NULL, STR("..."));
        diff_part(&d.right, &d.any_right, NULL, STR("..."));
    }
    diff_close_parts(&d);
    diff_finish(&d, left, right);
}

static void diff_sets(struct arena *a, const struct type *x, const struct type *y, int depth,
                      struct str *left, struct str *right) {
    struct diff d;
    struct str l, r;
    diff_init(&d, a, "set");
    diff_types(a, x->dynamic, y->dynamic, depth + 1, &l, &r);
    put_bracketed(&d, l, r);
    diff_finish(&d, left, right);
}

static void diff_types(struct arena *a, const struct type *x, const struct type *y, int depth,
                       struct str *left, struct str *right) {
    bool deeper = depth < MAX_DIFF_DEPTH && x && y && x->kind == y->kind && !same_text(a, x, y);
    if (deeper && x->kind == TYPE_SET && x->dynamic && y->dynamic) {
        diff_sets(a, x, y, depth, left, right);
    } else if (deeper && x->kind == TYPE_ARRAY) {
        diff_arrays(a, x, y, depth, left, right);
    } else if (deeper && x->kind == TYPE_OBJECT) {
        diff_objects(a, x, y, depth, left, right);
    } else if (deeper && x->kind == TYPE_ANY) {
        diff_unions(a, x, y, left, right);
    } else {
        *left = type_text_elided(a, x);
        *right = type_text_elided(a, y);
    }
}

void type_text_diff(struct arena *a, const struct type *x, const struct type *y, struct str *left,
                    struct str *right) {
    diff_types(a, x, y, 0, left, right);
}
