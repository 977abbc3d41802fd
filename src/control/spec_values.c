/* Parameters of templates, and tenants' values for them.
 * in: {"REGION": {"type": "string", …}} and {"REGION": "eu"}. out: canonical ones; texts for
 * {{NAME}}; problems. owns: a compiled pattern while a value is matched. */
#include "base/utf8.h"
#include "control/spec_private.h"
#include "host/builtins/re2_shim.h"
#include <stdio.h>

enum { MAX_WHY = 200 };

enum type { TYPE_STRING, TYPE_NUMBER, TYPE_INTEGER, TYPE_BOOLEAN, TYPE_COUNT };
static const char *const type_words[TYPE_COUNT] = {"string", "number", "integer", "boolean"};
static const char *const type_wants[TYPE_COUNT] = {"text", "a number", "a whole number",
                                                   "true or false"};

static enum type type_of(const struct json *parameter) {
    struct str word = spec_text(parameter, "type");
    for (int i = 0; i < TYPE_COUNT; i++)
        if (str_is(word, type_words[i])) return (enum type)i;
    return TYPE_STRING;
}

static bool name_is(struct str s) {
    if (!s.len || s.len > SPEC_LABEL_KEY_BYTES || (s.ptr[0] >= '0' && s.ptr[0] <= '9'))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if ((c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_') return false;
    }
    return true;
}

static bool is_integer(struct str digits) {
    for (size_t i = 0; i < digits.len; i++)
        if (strchr(".eE", digits.ptr[i])) return false;
    return true;
}

static bool has_type(const struct json *v, enum type type) {
    switch (type) {
    case TYPE_STRING: return v->kind == JSON_STRING;
    case TYPE_NUMBER: return v->kind == JSON_NUMBER;
    case TYPE_INTEGER: return v->kind == JSON_NUMBER && is_integer(v->text);
    case TYPE_BOOLEAN: return v->kind == JSON_BOOL;
    case TYPE_COUNT: break;
    }
    return false;
}

/* For the whole of a text, whatever the pattern is made of. */
static struct regex *regex_of(struct reader *r, struct str pattern, char why[MAX_WHY]) {
    struct str whole = {NULL, 0};
    whole.ptr = arena_printf(r->a, &whole.len, "^(?:%.*s)\\z", STR_FMT(pattern));
    return regex_new(whole, why, MAX_WHY);
}

static bool matches(struct reader *r, struct str pattern, struct str text) {
    struct regex_span span;
    char why[MAX_WHY];
    struct regex *regex = regex_of(r, pattern, why);
    if (!regex) return false;
    bool found =
        regex_find(regex, text, 0, &span, 1) && span.start == 0 && span.end == (int64_t)text.len;
    regex_free(regex);
    return found;
}

static void not_listed(struct reader *r, struct str path, const struct json *list) {
    char shown[MAX_WHY];
    struct buf b;
    buf_init(&b, 64 << 20);
    json_print(list, false, 0, &b);
    snprintf(shown, sizeof shown, "%.*s", STR_FMT(buf_view(&b)));
    bool cut = b.len >= sizeof shown;
    buf_deinit(&b);
    spec_problem(r, path, "it must be one of %s%s", shown, cut ? "…" : "");
}

/* One value against one parameter: type, size, enum, pattern. */
static bool value_is(struct reader *r, struct str path, const struct json *parameter,
                     const struct json *v) {
    enum type type = type_of(parameter);
    const struct json *list = json_get_c(parameter, "enum"),
                      *pattern = json_get_c(parameter, "pattern");
    if (!has_type(v, type)) {
        spec_problem(r, path, "it must be %s", type_wants[type]);
        return false;
    }
    if (v->text.len > SPEC_VALUE_BYTES) {
        spec_problem(r, path, "it has %zu bytes; at most %d are allowed", v->text.len,
                     SPEC_VALUE_BYTES);
        return false;
    }
    bool listed = !list;
    for (uint32_t i = 0; !listed && i < list->n; i++) listed = json_equal(list->items[i], v);
    if (!listed) not_listed(r, path, list);
    if (!listed || !pattern) return listed;
    if (matches(r, pattern->text, v->text)) return true;
    spec_problem(r, path, "\"%s\" does not match the pattern %s", spec_shown(r, v->text),
                 spec_shown(r, pattern->text));
    return false;
}

/* ---- a template's ---- */

static const char *const attributes[] = {"type", "default", "description",
                                         "enum", "pattern", "required"};
enum { N_ATTRIBUTES = sizeof attributes / sizeof *attributes };

static bool pattern_is(struct reader *r, struct str path, const struct json *v, enum type type) {
    char why[MAX_WHY];
    if (type != TYPE_STRING) return spec_problem(r, path, "only texts have a pattern"), false;
    if (!spec_text_is(r, path, v, SPEC_PATTERN_BYTES, false)) return false;
    struct regex *alone =
        regex_new(v->text, why, sizeof why); /* "a)(b" would pass as a part of ours */
    struct regex *regex = alone ? regex_of(r, v->text, why) : NULL;
    regex_free(alone);
    if (!regex) return spec_problem(r, path, "it is no regular expression: %s", why), false;
    regex_free(regex);
    return true;
}

static bool enum_is(struct reader *r, struct str path, const struct json *v, enum type type) {
    if (!spec_is(r, path, v, JSON_ARRAY, "a list of values")) return false;
    if (!v->n || v->n > SPEC_ENUM)
        return spec_problem(r, path, "it has 1 to %d values", SPEC_ENUM), false;
    for (uint32_t i = 0; i < v->n; i++)
        if (!has_type(v->items[i], type) || v->items[i]->text.len > SPEC_VALUE_BYTES)
            return spec_problem(r, path, "value %u must be %s, as `type` says", i + 1,
                                type_wants[type]),
                   false;
    return true;
}

static struct str attribute_path(struct reader *r, struct str path, const char *name) {
    struct str s = {NULL, 0};
    s.ptr = arena_printf(r->a, &s.len, "%.*s.%s", STR_FMT(path), name);
    return s;
}

/* All but the default, which the rest has to be known for. */
static void read_attribute(struct reader *r, struct str path, enum type type, struct str name,
                           const struct json *v, struct json *out) {
    struct str at = attribute_path(r, path, spec_shown(r, name));
    bool good = false;
    if (v->kind == JSON_NULL || str_is(name, "type") || str_is(name, "default")) return;
    if (str_is(name, "description"))
        good = spec_text_is(r, at, v, SPEC_DESCRIPTION_BYTES, true) && v->text.len;
    else if (str_is(name, "enum"))
        good = enum_is(r, at, v, type);
    else if (str_is(name, "pattern"))
        good = pattern_is(r, at, v, type);
    else if (str_is(name, "required"))
        good = spec_is(r, at, v, JSON_BOOL, "true or false");
    else
        spec_unknown(r, path, name, attributes, N_ATTRIBUTES);
    if (good) json_append(r->a, out, name, (struct json *)v);
}

/* `required` says something only with a default; without one the parameter is required. */
static void read_default(struct reader *r, struct str path, const struct json *v,
                         struct json *out) {
    struct json *fallback = json_get_c(v, "default");
    const struct json *required = json_get_c(out, "required");
    bool given = fallback && fallback->kind != JSON_NULL;
    if (required && !required->boolean && !given)
        spec_problem(r, path,
                     "it is not required and has no default: say what stands for {{NAME}} then");
    if (given && value_is(r, attribute_path(r, path, "default"), out, fallback))
        json_append(r->a, out, STR("default"), fallback);
    for (uint32_t i = 0; required && i < out->n; i++) {
        if (!str_is(out->keys[i], "required") || (given && required->boolean)) continue;
        out->keys[i] = out->keys[out->n - 1];
        out->items[i] = out->items[--out->n];
    }
}

static void read_parameter(struct reader *r, struct str name, const struct json *v,
                           struct json *parameters) {
    struct str path = spec_path(r, "parameters", name);
    struct json *out = json_object(r->a);
    if (!name_is(name))
        return spec_problem(
            r, path, "a parameter's name has up to %d of A-Z 0-9 _ and does not begin with a digit",
            SPEC_LABEL_KEY_BYTES);
    if (!spec_is(r, path, v, JSON_OBJECT, "an object such as {\"type\": \"string\"}")) return;
    const struct json *type = json_get_c(v, "type");
    if (type && type->kind != JSON_NULL &&
        (type->kind != JSON_STRING || !str_is(type->text, type_words[type_of(v)])))
        return spec_problem(r, attribute_path(r, path, "type"),
                            "it must be string, number, integer or boolean");
    json_append(r->a, out, STR("type"), json_string(r->a, str_of(type_words[type_of(v)])));
    for (uint32_t i = 0; i < v->n; i++)
        read_attribute(r, path, type_of(v), v->keys[i], v->items[i], out);
    read_default(r, path, v, out);
    json_append(r->a, parameters, name, out);
}

void spec_read_parameters(struct reader *r, const struct json *v) {
    struct json *out = json_object(r->a);
    if (!spec_is(r, STR("parameters"), v, JSON_OBJECT,
                 "an object such as {\"REGION\": {\"type\": \"string\"}}"))
        return;
    if (v->n > SPEC_PARAMETERS)
        return spec_problem(r, STR("parameters"), "there are %u; at most %d are allowed", v->n,
                            SPEC_PARAMETERS);
    for (uint32_t i = 0; i < v->n; i++)
        if (v->items[i]->kind != JSON_NULL) read_parameter(r, v->keys[i], v->items[i], out);
    if (out->n) json_append(r->a, r->out, STR("parameters"), out);
}

/* ---- a tenant's ---- */

void spec_read_values(struct reader *r, const struct json *v) {
    struct json *out = json_object(r->a);
    if (!spec_is(r, STR("parameters"), v, JSON_OBJECT, "an object such as {\"REGION\": \"eu\"}"))
        return;
    if (v->n > SPEC_PARAMETERS)
        return spec_problem(r, STR("parameters"), "there are %u; at most %d are allowed", v->n,
                            SPEC_PARAMETERS);
    for (uint32_t i = 0; i < v->n; i++) {
        const struct json *item = v->items[i];
        struct str path = spec_path(r, "parameters", v->keys[i]);
        if (item->kind == JSON_NULL) continue;
        if (!name_is(v->keys[i]))
            spec_problem(
                r, path,
                "a parameter's name has up to %d of A-Z 0-9 _ and does not begin with a digit",
                SPEC_LABEL_KEY_BYTES);
        else if (item->kind == JSON_ARRAY || item->kind == JSON_OBJECT)
            spec_problem(
                r, path,
                "a value is text, a number, true or false; larger things belong into `data`");
        else if (item->text.len > SPEC_VALUE_BYTES)
            spec_problem(r, path, "it has %zu bytes; at most %d are allowed", item->text.len,
                         SPEC_VALUE_BYTES);
        else if (!utf8_valid(item->text))
            spec_problem(r, path, "it is not UTF-8");
        else
            json_append(r->a, out, v->keys[i], v->items[i]);
    }
    if (out->n) json_append(r->a, r->out, STR("parameters"), out);
}

/* What a value is within a string literal. */
static struct json *value_text(struct reader *r, const struct json *v) {
    return json_string(r->a,
                       v->kind == JSON_BOOL ? str_of(v->boolean ? "true" : "false") : v->text);
}

static void unknown_values(struct reader *r, const struct json *parameters,
                           const struct json *given) {
    const char *known[SPEC_PARAMETERS];
    uint32_t n = 0;
    for (; parameters && n < parameters->n && n < SPEC_PARAMETERS; n++)
        known[n] = arena_strndup(r->a, parameters->keys[n].ptr, parameters->keys[n].len);
    for (uint32_t i = 0; given && i < given->n; i++)
        if (!json_get(parameters, given->keys[i]))
            spec_unknown(r, STR("parameters"), given->keys[i], known, n);
}

static void missing_value(struct reader *r, struct str path, const struct json *parameter) {
    struct str description = spec_text(parameter, "description");
    spec_problem(r, path, "the template wants it (%s%s%.*s)", type_words[type_of(parameter)],
                 description.len ? ": " : "", STR_FMT(str_head(description, MAX_WHY)));
}

static void settle(struct reader *r, const struct json *template_spec,
                   const struct json *tenant_spec) {
    const struct json *parameters = json_get_c(template_spec, "parameters");
    const struct json *given = json_get_c(tenant_spec, "parameters");
    r->out = json_object(r->a);
    if (template_spec) unknown_values(r, parameters, given);
    for (uint32_t i = 0; parameters && i < parameters->n; i++) {
        const struct json *p = parameters->items[i], *v = json_get(given, parameters->keys[i]);
        const struct json *fallback = json_get_c(p, "default"),
                          *required = json_get_c(p, "required");
        struct str path = spec_path(r, "parameters", parameters->keys[i]);
        if (!v && (!fallback || (required && required->boolean)))
            missing_value(r, path, p);
        else if (!v || value_is(r, path, p, v))
            json_append(r->a, r->out, parameters->keys[i], value_text(r, v ? v : fallback));
    }
    for (uint32_t i = 0; !template_spec && given && i < given->n; i++)
        json_append(r->a, r->out, given->keys[i], value_text(r, given->items[i]));
}

static enum err guarded(struct reader *r, const struct json *template_spec,
                        const struct json *tenant_spec) {
    jmp_buf full, *before = r->a->exhausted;
    if (setjmp(full)) {
        r->a->exhausted = before;
        return ERR_MEMORY;
    }
    r->a->exhausted = &full;
    settle(r, template_spec, tenant_spec);
    r->a->exhausted = before;
    return OK;
}

enum err spec_parameters(struct arena *a, const struct json *template_spec,
                         const struct json *tenant_spec, struct json **values,
                         struct diag_list *diags) {
    struct reader r = {.a = a, .kind = SPEC_TENANT, .diags = diags};
    uint32_t n = diags->n, dropped = diags->dropped;
    enum err e = guarded(&r, template_spec, tenant_spec);
    if (e) return e;
    if (diags->n != n || diags->dropped != dropped) return ERR_DIAG;
    *values = r.out;
    return OK;
}
