/* JSON (and Rego's collections) to values, and skipping over JSON that nobody asks for.
 * in: a byte range. out: words, with strings and long numbers viewing the bytes. owns: nothing.
 * No recursion: open collections lie on a stack of words on the heap, so depth costs no call stack.
 */
#include "runtime/json_scan.h"

#define TOO_DEEP "exceeded max depth of 10000"
#define NO_VALUE "invalid character looking for beginning of value"

/* ---- skipping ---- */

/* Looks at the first byte of a value and passes over scalars. *open becomes '{' or '[' when one was
 * opened (and is not empty), else 0. */
static const uint8_t *skip_start(const uint8_t *p, uint32_t depth, uint32_t *open) {
    uint32_t c = json_peek(p);
    value ignored;
    *open = 0;
    switch (c) {
    case '"': p = json_string(p + 1); return p == NULL ? NULL : p + 1;
    case '{':
    case '[':
        if (json_too_deep(depth)) return json_fail(p, TOO_DEEP);
        p = json_space(p + 1);
        if (json_peek(p) == c + 2) return p + 1; /* '}' and ']' come two behind */
        *open = c;
        return p;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': return json_number(p, &ignored);
    case 'n':
    case 't':
    case 'f': return json_literal(p, &ignored);
    default: return json_fail(p, NO_VALUE);
    }
}

static const uint8_t *skip_key(const uint8_t *p) {
    if (json_peek(p) != '"') return json_fail(p, "invalid character looking for object key string");
    p = json_string(p + 1);
    if (p == NULL) return NULL;
    p = json_space(p + 1);
    if (json_peek(p) != ':') return json_fail(p, "invalid character after object key");
    return json_space(p + 1);
}

const uint8_t *json_skip(const uint8_t *p) {
    uint64_t bits = 0; /* the 64 innermost levels; the others are in nesting[] */
    uint32_t depth = 0, open;
    for (;;) {
        p = skip_start(p, depth, &open);
        if (p == NULL) return NULL;
        if (open != 0) {
            if (depth % 64 == 0) json_scanner.nesting[depth / 64] = bits;
            depth++;
            bits = bits << 1 | (open == '{');
            if (open == '{') p = skip_key(p);
            if (p == NULL) return NULL;
            continue;
        }
        for (;;) { /* behind a value */
            if (depth == 0) return p;
            p = json_space(p);
            uint32_t c = json_peek(p);
            bool object = bits & 1;
            if (c == ',') {
                p = json_space(p + 1);
                if (object) p = skip_key(p);
                if (p == NULL) return NULL;
                break;
            }
            if (c != (object ? '}' : ']')) return json_fail(p, "invalid character after value");
            p++;
            depth--;
            bits = depth % 64 == 0 ? json_scanner.nesting[depth / 64] : bits >> 1;
        }
    }
}

/* ---- building ---- */

enum frame_kind {
    FRAME_ARRAY,
    FRAME_OBJECT,
    FRAME_SET,
    FRAME_BRACE /* object or set: not known yet */
};
enum { FRAME_KIND_BITS = 2, SCRATCH_FIRST = 64 };

static void scratch_push(value v) {
    struct json_scanner *s = &json_scanner;
    if (RT_UNLIKELY(s->scratch_n == s->scratch_cap)) {
        uint32_t cap = s->scratch_cap == 0 ? SCRATCH_FIRST : s->scratch_cap * 2;
        if (cap > UINT32_MAX / 16) rt_fail("guest_memory", "a document has too many elements");
        s->scratch = rt_realloc(s->scratch, s->scratch_cap * 8, cap * 8);
        s->scratch_cap = cap;
    }
    s->scratch[s->scratch_n++] = v;
}

/* The words of the newest frame as a collection. */
static value collect(enum frame_kind kind, uint32_t begin) {
    uint32_t n = json_scanner.scratch_n - begin;
    value *words = heap_take(n * 8);
    bytes_copy((uint8_t *)words, (const uint8_t *)(json_scanner.scratch + begin), n * 8);
    if (kind == FRAME_OBJECT) return object_adopt((struct pair *)words, n / 2);
    if (kind == FRAME_SET) return set_adopt(words, n);
    struct array *a = heap_take(sizeof *a);
    *a = (struct array){n, n, addr(words), 0};
    return value_of_pointer(TAG_ARRAY, addr(a));
}

static const uint8_t *read_scalar(const uint8_t *p, bool rego, value *out) {
    switch (json_peek(p)) {
    case '"': {
        const uint8_t *quote = json_string(p + 1);
        if (quote == NULL) return NULL;
        if (quote - p > (int64_t)STRING_MAX_BYTES) return json_fail(p, "string too long");
        *out = string_view(json_string_text(p + 1, quote));
        return quote + 1;
    }
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': return json_number(p, out);
    case 'n':
    case 't':
    case 'f': return json_literal(p, out);
    case 's':
        if (rego && json_scanner.end - p >= 5 && bytes_equal(p, (const uint8_t *)"set()", 5)) {
            *out = set_new(0);
            return p + 5;
        }
        break;
    }
    return json_fail(p, NO_VALUE);
}

/* The newest open collection: its kind, where its words begin in the scratch, and how deep it lies.
 */
struct frame {
    enum frame_kind kind;
    uint32_t begin, depth;
};

static const uint8_t *open_frame(const uint8_t *p, bool rego, struct frame *f) {
    if (json_too_deep(f->depth)) return json_fail(p, TOO_DEEP);
    bool brace = *p == '{';
    scratch_push((value)f->begin << FRAME_KIND_BITS | f->kind);
    *f = (struct frame){!brace ? FRAME_ARRAY
                        : rego ? FRAME_BRACE
                               : FRAME_OBJECT,
                        json_scanner.scratch_n, f->depth + 1};
    return json_space(p + 1);
}

static value close_frame(struct frame *f) {
    value v = collect(f->kind == FRAME_BRACE ? FRAME_OBJECT : f->kind, f->begin);
    value saved = json_scanner.scratch[f->begin - 1];
    json_scanner.scratch_n = f->begin - 1;
    *f = (struct frame){(enum frame_kind)(saved & ((1 << FRAME_KIND_BITS) - 1)),
                        (uint32_t)(saved >> FRAME_KIND_BITS), f->depth - 1};
    return v;
}

/* p is behind a value that was pushed; the result is where the next value begins, or at the closing
 * bracket. */
static const uint8_t *after_value(const uint8_t *p, bool rego, struct frame *f) {
    p = json_space(p);
    uint32_t c = json_peek(p), n = json_scanner.scratch_n - f->begin;
    if (f->kind == FRAME_BRACE) f->kind = c == ':' ? FRAME_OBJECT : FRAME_SET;
    if (f->kind == FRAME_OBJECT && n % 2 == 1) {
        if (c != ':') return json_fail(p, "invalid character after object key");
        p = json_space(p + 1);
        return json_peek(p) == '}' ? json_fail(p, NO_VALUE) : p;
    }
    if (c == (f->kind == FRAME_ARRAY ? ']' : '}')) return p;
    if (c != ',') return json_fail(p, "invalid character after value");
    p = json_space(p + 1);
    c = json_peek(p);
    if (c == ']' || c == '}') return json_fail(p, NO_VALUE);
    if (f->kind == FRAME_OBJECT && !rego && c != '"')
        return json_fail(p, "invalid character looking for object key string");
    return p;
}

static bool closes(const uint8_t *p, const struct frame *f) {
    return f->depth > 0 && json_peek(p) == (f->kind == FRAME_ARRAY ? ']' : '}');
}

const uint8_t *json_value(const uint8_t *p, bool rego, value *out) {
    struct frame f = {FRAME_ARRAY, 0, 0};
    uint32_t scratch_begin = json_scanner.scratch_n;
    for (;;) {
        uint32_t c = json_peek(p);
        value v;
        if (c == '{' || c == '[') {
            p = open_frame(p, rego, &f);
            if (p == NULL) return NULL;
            if (!closes(p, &f)) {
                if (f.kind == FRAME_OBJECT && json_peek(p) != '"')
                    return json_fail(p, "invalid character looking for object key string");
                continue;
            }
            v = close_frame(&f);
            p++;
        } else {
            p = read_scalar(p, rego, &v);
            if (p == NULL) return NULL;
        }
        for (;;) {
            if (f.depth == 0) {
                json_scanner.scratch_n = scratch_begin;
                *out = v;
                return p;
            }
            scratch_push(v);
            p = after_value(p, rego, &f);
            if (p == NULL) return NULL;
            if (!closes(p, &f)) break;
            v = close_frame(&f);
            p++;
        }
    }
}

bool json_read(struct text t, bool rego, value *out, struct json_problem *error) {
    json_begin(t);
    value v = VALUE_UNDEFINED;
    bool ok = json_finish(json_value(json_space(t.ptr), rego, &v));
    if (ok)
        *out = v;
    else if (error != NULL)
        *error = json_scanner.problem;
    return ok;
}
