/* YAML into JSON trees, through libyaml's events; scalars resolve as in YAML 1.1 as Go's yaml packages read it.
 * in: text. out: a tree in an arena, its values with places or without. owns: libyaml's parser while it reads. */
#include "base/yaml.h"
#include "base/hash.h"
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

enum { MAX_VALUES = 50000000, MAX_DEPTH = 500 };

struct yaml_reader {
    struct arena *arena;
    const struct yaml_options *options;
    yaml_parser_t parser;
    yaml_event_t event;   /* that is being looked at */
    struct table anchors; /* name → finished value */
    uint64_t values_left; /* bounds what aliases repeat */
    uint32_t depth, max_depth;
    enum err err; /* the first */
    struct json_error error;
};

static void *failed(struct yaml_reader *r, enum err e, const char *message) {
    if (r->err) return NULL;
    yaml_mark_t at = r->event.start_mark;
    r->err = e;
    r->error = (struct json_error){at.index, (uint32_t)at.line + 1, (uint32_t)at.column + 1, message};
    return NULL;
}

/* What libyaml says; bytes that are no text it places by their offset only. */
static void *syntax(struct yaml_reader *r) {
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "cannot be read";
    if (p->error == YAML_MEMORY_ERROR) return failed(r, ERR_MEMORY, "out of memory");
    char *message = p->context ? arena_printf(r->arena, NULL, "yaml: %s: %s", p->context, problem)
                               : arena_printf(r->arena, NULL, "yaml: %s", problem);
    failed(r, ERR_SYNTAX, message ? message : "yaml: cannot be read");
    yaml_mark_t at = p->problem_mark;
    r->error.offset = at.index, r->error.row = (uint32_t)at.line + 1, r->error.col = (uint32_t)at.column + 1;
    if (p->error != YAML_READER_ERROR) return NULL;
    const char *start = (const char *)p->input.string.start, *end = (const char *)p->input.string.end;
    r->error.offset = p->problem_offset, r->error.row = 1, r->error.col = 1;
    for (const char *c = start; c < end && (size_t)(c - start) < p->problem_offset; c++) {
        if (*c == '\n')
            r->error.row++, r->error.col = 1;
        else
            r->error.col += (*c & 0xc0) != 0x80;
    }
    return NULL;
}

static bool next(struct yaml_reader *r) {
    if (r->err) return false;
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event)) return true;
    memset(&r->event, 0, sizeof r->event);
    syntax(r);
    return false;
}

/* ---- Values ---- */
static struct json *make(struct arena *a, const struct str *source, enum json_kind kind, uint32_t row, uint32_t col) {
    struct json *v = arena_alloc(a, source ? sizeof(struct yaml_value) : sizeof(struct json));
    if (!v) return NULL;
    v->kind = kind;
    if (source) {
        struct yaml_value *placed = (struct yaml_value *)v;
        placed->source = source;
        placed->row = placed->key_row = row;
        placed->col = placed->key_col = col;
    }
    return v;
}

/* A value at the event's place. */
static struct json *value_here(struct yaml_reader *r, enum json_kind kind) {
    yaml_mark_t at = r->event.start_mark;
    if (r->values_left == 0) return failed(r, ERR_LIMIT, "yaml: too many values, or too many aliases");
    r->values_left--;
    struct json *v = make(r->arena, r->options->source, kind, (uint32_t)at.line + 1, (uint32_t)at.column + 1);
    return v ? v : failed(r, ERR_MEMORY, "out of memory");
}

static bool one_of(struct str s, const char *const *words) {
    for (; *words; words++)
        if (str_is(s, *words)) return true;
    return false;
}

static struct json *integer(struct arena *a, struct str s) {
    char digits[72];
    size_t n = 0;
    if (s.len >= sizeof digits) return NULL;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != '_') digits[n++] = s.ptr[i];
    digits[n] = 0;
    char *start = digits + (digits[0] == '-' || digits[0] == '+'), *end;
    if (*start < '0' || *start > '9') return NULL;
    int base = 10;
    if (start[0] == '0' && (start[1] == 'x' || start[1] == 'X'))
        base = 16, start += 2;
    else if (start[0] == '0' && (start[1] == 'o' || start[1] == 'O'))
        base = 8, start += 2;
    else if (start[0] == '0' && (start[1] == 'b' || start[1] == 'B'))
        base = 2, start += 2;
    else if (start[0] == '0' && start[1])
        base = 8, start += 1;
    for (char *c = start; base == 10 && *c; c++)
        if (*c < '0' || *c > '9') return NULL;
    if (base == 10) {
        char *text = digits[0] == '+' ? digits + 1 : digits;
        char *copy = arena_strndup(a, text, strlen(text));
        return copy ? json_number(a, (struct str){copy, strlen(text)}) : NULL;
    }
    unsigned long long v = strtoull(start, &end, base);
    size_t len = 0;
    if (*end || !*start) return NULL;
    char *text = arena_printf(a, &len, "%s%llu", digits[0] == '-' ? "-" : "", v);
    return text ? json_number(a, (struct str){text, len}) : NULL;
}

static struct json *floating(struct arena *a, struct str s) {
    char text[80];
    if (s.len == 0 || s.len >= sizeof text) return NULL;
    for (size_t i = 0; i < s.len; i++)
        if (!strchr("0123456789+-.eE_", s.ptr[i])) return NULL;
    size_t n = 0;
    for (size_t i = s.ptr[0] == '+'; i < s.len; i++)
        if (s.ptr[i] != '_') text[n++] = s.ptr[i];
    text[n] = 0;
    const char *lead = text + (text[0] == '-');
    if (!(*lead >= '0' && *lead <= '9') && !(*lead == '.' && lead[1] >= '0' && lead[1] <= '9')) return NULL;
    char *end;
    double d = strtod(text, &end);
    if (*end) return NULL;
    struct json *exact;
    char *copy = arena_strndup(a, text, n);
    if (copy && json_parse(a, (struct str){copy, n}, &exact, NULL) == OK) return exact;
    size_t len = 0;
    char *shortest = arena_printf(a, &len, "%.17g", d);
    return shortest ? json_number(a, (struct str){shortest, len}) : NULL;
}

/* What a plain scalar means; v gets kind and contents. */
static void resolve(struct arena *a, struct str s, struct json *v) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", NULL};
    v->kind = JSON_STRING;
    v->text = s;
    if (one_of(s, nulls)) {
        v->kind = JSON_NULL;
    } else if (one_of(s, trues) || one_of(s, falses)) {
        v->kind = JSON_BOOL;
        v->boolean = one_of(s, trues);
    } else {
        struct json *number = integer(a, s);
        if (!number) number = floating(a, s);
        if (number) v->kind = JSON_NUMBER, v->text = number->text;
    }
}

static bool copied(struct yaml_reader *r, const void *from, size_t len, struct str *out) {
    char *copy = arena_strndup(r->arena, from, len);
    if (!copy) return failed(r, ERR_MEMORY, "out of memory") != NULL;
    *out = (struct str){copy, len};
    return true;
}

static struct json *scalar(struct yaml_reader *r) {
    struct json *v = value_here(r, JSON_STRING);
    if (!v || !copied(r, r->event.data.scalar.value, r->event.data.scalar.length, &v->text)) return NULL;
    const char *tag = (const char *)r->event.data.scalar.tag;
    bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE && r->event.data.scalar.plain_implicit;
    if (tag && strcmp(tag, YAML_STR_TAG) != 0 && strcmp(tag, "!") != 0) plain = true;
    if (plain) resolve(r->arena, v->text, v);
    return v;
}

/* A copy of a finished value, so that no two places of a tree share one. */
static struct json *repeated(struct yaml_reader *r, const struct json *from) {
    struct json *v = value_here(r, from->kind);
    if (!v) return NULL;
    if (r->depth++ >= r->max_depth) return failed(r, ERR_LIMIT, "yaml: nested too deeply");
    v->boolean = from->boolean;
    v->text = from->text;
    for (uint32_t i = 0; i < from->n; i++) {
        struct json *item = repeated(r, from->items[i]);
        if (!item) return NULL;
        if (from->kind == JSON_OBJECT)
            json_append(r->arena, v, from->keys[i], item);
        else
            json_push(r->arena, v, item);
    }
    r->depth--;
    return v->n == from->n ? v : failed(r, ERR_MEMORY, "out of memory");
}

static struct json *alias(struct yaml_reader *r) {
    const struct json *from = table_get(&r->anchors, str_of((const char *)r->event.data.alias.anchor));
    return from ? repeated(r, from) : failed(r, ERR_SYNTAX, "yaml: unknown anchor, or one that holds itself");
}

static struct json *value(struct yaml_reader *r);

static struct json *sequence(struct yaml_reader *r) {
    struct json *v = value_here(r, JSON_ARRAY);
    while (v && next(r) && r->event.type != YAML_SEQUENCE_END_EVENT) {
        struct json *item = value(r);
        if (!item) return NULL;
        json_push(r->arena, v, item);
        if (!v->n || v->items[v->n - 1] != item) return failed(r, ERR_MEMORY, "out of memory");
    }
    return r->err ? NULL : v;
}

/* ---- Mappings ---- */
/* Members of an object being read: small ones are compared one by one, larger ones through a table. */
enum { LINEAR_KEYS = 16 };
struct members {
    struct json *object;
    struct table index; /* key → its number + 1, once there are more than LINEAR_KEYS */
};

static struct json **member(struct yaml_reader *r, struct members *m, struct str key) {
    struct json *o = m->object;
    if (o->n <= LINEAR_KEYS) {
        for (uint32_t i = 0; i < o->n; i++)
            if (str_eq(o->keys[i], key)) return &o->items[i];
        return NULL;
    }
    if (!m->index.arena) table_init(&m->index, r->arena);
    for (uint32_t i = m->index.n; i < o->n; i++) table_set(&m->index, o->keys[i], (void *)(uintptr_t)(i + 1));
    uintptr_t at = (uintptr_t)table_get(&m->index, key);
    return at ? &o->items[at - 1] : NULL;
}

static void add(struct yaml_reader *r, struct members *m, struct str key, struct json *v) {
    uint32_t n = m->object->n;
    json_append(r->arena, m->object, key, v);
    if (m->object->n == n) failed(r, ERR_MEMORY, "out of memory");
}

/* `<<: {…}` or `<<: [{…}, …]`: members that are not there yet. */
static void merge(struct yaml_reader *r, struct members *m, const struct json *from) {
    const struct json *const *objects = from->kind == JSON_ARRAY ? (const struct json *const *)from->items : &from;
    uint32_t n = from->kind == JSON_ARRAY ? from->n : 1;
    for (uint32_t i = 0; i < n; i++) {
        if (objects[i]->kind != JSON_OBJECT) {
            failed(r, ERR_SYNTAX, "yaml: << wants a mapping, or a list of them");
            return;
        }
        for (uint32_t k = 0; k < objects[i]->n && !r->err; k++) {
            if (member(r, m, objects[i]->keys[k])) continue;
            if (r->options->source) ((struct yaml_value *)objects[i]->items[k])->merged = true;
            add(r, m, objects[i]->keys[k], objects[i]->items[k]);
        }
    }
}

static bool key(struct yaml_reader *r, struct str *out) {
    if (r->event.type == YAML_ALIAS_EVENT) {
        struct json *v = alias(r);
        if (v && v->kind != JSON_ARRAY && v->kind != JSON_OBJECT && v->text.ptr) return *out = v->text, true;
    } else if (r->event.type == YAML_SCALAR_EVENT) {
        return copied(r, r->event.data.scalar.value, r->event.data.scalar.length, out);
    }
    return failed(r, ERR_SYNTAX, "yaml: a key must be a plain word or a string") != NULL;
}

/* The member whose key is at the event: numbers and booleans keep their text as keys. */
static bool pair(struct yaml_reader *r, struct members *m) {
    uint32_t row = (uint32_t)r->event.start_mark.line + 1, col = (uint32_t)r->event.start_mark.column + 1;
    struct str name;
    if (!key(r, &name) || !next(r)) return false;
    struct json *v = value(r);
    if (!v) return false;
    if (r->options->source) ((struct yaml_value *)v)->key_row = row, ((struct yaml_value *)v)->key_col = col;
    if (str_is(name, "<<")) {
        merge(r, m, v);
        return !r->err;
    }
    struct json **there = member(r, m, name);
    if (!there) {
        add(r, m, name, v);
        return !r->err;
    }
    if (r->options->duplicates && r->options->source && !((struct yaml_value *)*there)->merged) {
        struct loc first = yaml_key_place(*there);
        diag_add(r->options->duplicates, DIAG_CONFIG, yaml_key_place(v), "duplicate key `%.*s`: first given at %u:%u",
                 STR_FMT(str_head(name, 64)), first.row, first.col);
    }
    *there = v;
    return true;
}

static struct json *mapping(struct yaml_reader *r) {
    struct members m = {.object = value_here(r, JSON_OBJECT)};
    while (m.object && next(r) && r->event.type != YAML_MAPPING_END_EVENT)
        if (!pair(r, &m)) return NULL;
    return r->err ? NULL : m.object;
}

/* The value whose first event is r->event; its last event is there afterwards. */
static struct json *value(struct yaml_reader *r) {
    const yaml_char_t *name = NULL;
    switch (r->event.type) {
    case YAML_SCALAR_EVENT: name = r->event.data.scalar.anchor; break;
    case YAML_SEQUENCE_START_EVENT: name = r->event.data.sequence_start.anchor; break;
    case YAML_MAPPING_START_EVENT: name = r->event.data.mapping_start.anchor; break;
    case YAML_ALIAS_EVENT: return alias(r);
    default: return failed(r, ERR_SYNTAX, "yaml: a value is missing");
    }
    struct str anchor = {0};
    if (name && !copied(r, name, strlen((const char *)name), &anchor)) return NULL;
    if (r->depth >= r->max_depth) return failed(r, ERR_LIMIT, "yaml: nested too deeply");
    r->depth++;
    struct json *v = r->event.type == YAML_SCALAR_EVENT           ? scalar(r)
                     : r->event.type == YAML_SEQUENCE_START_EVENT ? sequence(r)
                                                                  : mapping(r);
    r->depth--;
    if (v && anchor.len) table_set(&r->anchors, anchor, v);
    return v;
}

/* ---- Documents ---- */
static struct json *document(struct yaml_reader *r) {
    if (!next(r) || !next(r)) return NULL; /* the stream's start; the document's, or the stream's end */
    if (r->event.type == YAML_STREAM_END_EVENT) return value_here(r, JSON_NULL);
    if (!next(r)) return NULL;
    struct json *v = value(r);
    if (!v || !r->options->one_document) return v;
    if (!next(r) || !next(r)) return NULL;
    if (r->event.type != YAML_STREAM_END_EVENT) return failed(r, ERR_SYNTAX, "yaml: a second document; one is read");
    return v;
}

enum err yaml_read(struct arena *a, struct str text, const struct yaml_options *options, struct json **out,
                   struct json_error *error) {
    struct yaml_reader r = {.arena = a, .options = options};
    jmp_buf *exhausted = a->exhausted; /* the parser is owned here, so nothing may jump over it */
    r.values_left = options->max_values ? options->max_values : MAX_VALUES;
    r.max_depth = options->max_depth ? options->max_depth : MAX_DEPTH;
    a->exhausted = NULL;
    table_init(&r.anchors, a);
    if (!yaml_parser_initialize(&r.parser)) {
        a->exhausted = exhausted;
        return ERR_MEMORY;
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.len ? text.ptr : ""), text.len);
    struct json *v = document(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    a->exhausted = exhausted;
    if (v) return *out = v, OK;
    if (error) *error = r.error;
    return r.err == ERR_MEMORY ? ERR_MEMORY : ERR_SYNTAX;
}

enum err yaml_parse(struct arena *a, struct str text, struct json **out, struct json_error *error) {
    const struct yaml_options options = {0};
    enum err e = yaml_read(a, text, &options, out, error);
    if (!e) yaml_as_opa(a, *out);
    return e;
}

/* ---- Values from elsewhere ---- */
struct json *yaml_scalar(struct arena *a, struct str text, const struct str *source) {
    struct json *v = yaml_string(a, text, source);
    if (v) resolve(a, text, v);
    return v;
}

struct json *yaml_object(struct arena *a, const struct str *source) {
    return make(a, source, JSON_OBJECT, 1, 1);
}

struct json *yaml_array(struct arena *a, const struct str *source) {
    return make(a, source, JSON_ARRAY, 1, 1);
}

struct json *yaml_string(struct arena *a, struct str text, const struct str *source) {
    struct json *v = make(a, source, JSON_STRING, 1, 1);
    if (v) v->text = text;
    return v;
}

struct loc yaml_place(const struct json *v) {
    const struct yaml_value *p = (const struct yaml_value *)v;
    return (struct loc){.file = *p->source, .row = p->row, .col = p->col};
}

struct loc yaml_key_place(const struct json *v) {
    const struct yaml_value *p = (const struct yaml_value *)v;
    return (struct loc){.file = *p->source, .row = p->key_row, .col = p->key_col};
}
