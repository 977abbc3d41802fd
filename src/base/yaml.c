/* YAML into JSON trees, through libyaml; scalars resolve as in YAML 1.1 as Go's yaml packages read it.
 * in: text. out: a tree in an arena. owns: libyaml's parser and document while it reads. */
#include "base/json.h"
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

struct converter {
    struct arena *arena;
    yaml_document_t *document;
    uint64_t nodes_left; /* bounds alias expansion */
};

enum { MAX_NODES = 50000000 };

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
    if (start[0] == '0' && (start[1] == 'x' || start[1] == 'X')) base = 16, start += 2;
    else if (start[0] == '0' && (start[1] == 'o' || start[1] == 'O')) base = 8, start += 2;
    else if (start[0] == '0' && (start[1] == 'b' || start[1] == 'B')) base = 2, start += 2;
    else if (start[0] == '0' && start[1]) base = 8, start += 1;
    for (char *c = start; base == 10 && *c; c++)
        if (*c < '0' || *c > '9') return NULL;
    if (base == 10) {
        char *text = digits[0] == '+' ? digits + 1 : digits;
        return json_number(a, (struct str){arena_strndup(a, text, strlen(text)), strlen(text)});
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
    if (!(*lead >= '0' && *lead <= '9') && !(*lead == '.' && lead[1] >= '0' && lead[1] <= '9'))
        return NULL;
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

static struct json *scalar(struct converter *c, const yaml_node_t *node) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", NULL};
    struct str view = {(const char *)node->data.scalar.value, node->data.scalar.length};
    struct str s = {arena_strndup(c->arena, view.ptr, view.len), view.len};
    if (!s.ptr) return NULL;
    if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
        strcmp((const char *)node->tag, YAML_STR_TAG) == 0) {
        if (one_of(s, nulls)) return json_null(c->arena);
        if (one_of(s, trues)) return json_bool(c->arena, true);
        if (one_of(s, falses)) return json_bool(c->arena, false);
        struct json *number = integer(c->arena, s);
        if (!number) number = floating(c->arena, s);
        if (number) return number;
    }
    return json_string(c->arena, s);
}

static struct json *convert(struct converter *c, int id, int depth);

/* A mapping key as JSON's string: numbers and booleans keep their text. */
static bool key_text(struct converter *c, int id, struct str *out) {
    yaml_node_t *node = yaml_document_get_node(c->document, id);
    if (!node || node->type != YAML_SCALAR_NODE) return false;
    *out = (struct str){arena_strndup(c->arena, (const char *)node->data.scalar.value, node->data.scalar.length),
                        node->data.scalar.length};
    return out->ptr != NULL;
}

static bool merge_key(struct converter *c, struct json *object, int id, int depth) {
    struct json *from = convert(c, id, depth + 1);
    if (!from) return false;
    if (from->kind == JSON_ARRAY) {
        for (uint32_t i = 0; i < from->n; i++)
            if (from->items[i]->kind == JSON_OBJECT)
                for (uint32_t k = 0; k < from->items[i]->n; k++)
                    if (!json_get(object, from->items[i]->keys[k]))
                        json_set(c->arena, object, from->items[i]->keys[k], from->items[i]->items[k]);
        return true;
    }
    if (from->kind != JSON_OBJECT) return false;
    for (uint32_t k = 0; k < from->n; k++)
        if (!json_get(object, from->keys[k])) json_set(c->arena, object, from->keys[k], from->items[k]);
    return true;
}

static struct json *mapping(struct converter *c, const yaml_node_t *node, int depth) {
    struct json *object = json_object(c->arena);
    const yaml_node_pair_t *at = node->data.mapping.pairs.start;
    for (; object && at < node->data.mapping.pairs.top; at++) {
        struct str key;
        if (!key_text(c, at->key, &key)) return NULL;
        if (str_is(key, "<<")) {
            if (!merge_key(c, object, at->value, depth)) return NULL;
            continue;
        }
        struct json *value = convert(c, at->value, depth + 1);
        if (!value) return NULL;
        json_set(c->arena, object, key, value);
    }
    return object;
}

static struct json *convert(struct converter *c, int id, int depth) {
    yaml_node_t *node = yaml_document_get_node(c->document, id);
    if (!node || depth > JSON_MAX_DEPTH || c->nodes_left-- == 0) return NULL;
    if (node->type == YAML_SCALAR_NODE) return scalar(c, node);
    if (node->type == YAML_MAPPING_NODE) return mapping(c, node, depth);
    if (node->type != YAML_SEQUENCE_NODE) return NULL;
    struct json *array = json_array(c->arena);
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++) {
        struct json *item = convert(c, *i, depth + 1);
        if (!array || !item) return NULL;
        json_push(c->arena, array, item);
    }
    return array;
}

static enum err syntax(const yaml_parser_t *p, struct arena *a, struct json_error *error) {
    if (!error) return ERR_SYNTAX;
    char *message = arena_printf(a, NULL, "yaml: %s", p->problem ? p->problem : "cannot be read");
    *error = (struct json_error){p->problem_mark.index, (uint32_t)p->problem_mark.line + 1,
                                 (uint32_t)p->problem_mark.column + 1, message ? message : "yaml: cannot be read"};
    return ERR_SYNTAX;
}

enum err yaml_parse(struct arena *a, struct str text, struct json **out, struct json_error *error) {
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) return ERR_MEMORY;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    enum err e = OK;
    if (!yaml_parser_load(&parser, &document)) {
        e = syntax(&parser, a, error);
        yaml_parser_delete(&parser);
        return e;
    }
    struct converter c = {a, &document, MAX_NODES};
    struct json *v = yaml_document_get_root_node(&document) ? convert(&c, 1, 0) : json_null(a);
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    if (v) return *out = v, OK;
    if (error) *error = (struct json_error){0, 1, 1, "yaml: unsupported key, too deep, or too many aliases"};
    return ERR_SYNTAX;
}
