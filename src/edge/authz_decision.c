/* Checks what a policy decided: the object of opa-envoy-plugin, member by member.
 * in: a decision's JSON. out: struct authz_decision. owns: nothing. */
#include "edge/authz.h"

static enum err mistyped(const char **why, const char *what) { return *why = what, ERR_INVALID; }

static bool is_string(const struct json *v) { return v->kind == JSON_STRING; }

static bool are_strings(const struct json *v) {
    if (v->kind != JSON_ARRAY) return false;
    for (uint32_t i = 0; i < v->n; i++)
        if (!is_string(v->items[i])) return false;
    return true;
}

/* An object whose values are strings or lists of strings. */
static bool is_string_map(const struct json *v) {
    if (v->kind != JSON_OBJECT) return false;
    for (uint32_t i = 0; i < v->n; i++)
        if (!is_string(v->items[i]) && !are_strings(v->items[i])) return false;
    return true;
}

/* Such an object, or an array of them. */
static bool are_headers(const struct json *v) {
    if (v->kind != JSON_ARRAY) return is_string_map(v);
    for (uint32_t i = 0; i < v->n; i++)
        if (!is_string_map(v->items[i])) return false;
    return true;
}

static bool each_in_map(const struct json *map, bool (*each)(void *ctx, struct str name, struct str value),
                        void *ctx) {
    for (uint32_t i = 0; i < map->n; i++) {
        const struct json *v = map->items[i];
        if (is_string(v) && !each(ctx, map->keys[i], v->text)) return false;
        for (uint32_t k = 0; v->kind == JSON_ARRAY && k < v->n; k++)
            if (!each(ctx, map->keys[i], v->items[k]->text)) return false;
    }
    return true;
}

bool authz_headers_each(const struct json *headers, bool (*each)(void *ctx, struct str name, struct str value),
                        void *ctx) {
    if (!headers) return true;
    if (headers->kind == JSON_OBJECT) return each_in_map(headers, each, ctx);
    for (uint32_t i = 0; i < headers->n; i++)
        if (!each_in_map(headers->items[i], each, ctx)) return false;
    return true;
}

/* Codes that both Go's net/http and Envoy's StatusCode know. */
static bool known_status(int64_t s) {
    return s == 100 || (s >= 200 && s <= 208) || s == 226 || (s >= 300 && s <= 308 && s != 306) ||
           (s >= 400 && s <= 417) || (s >= 421 && s <= 424) || s == 426 || s == 428 || s == 429 || s == 431 ||
           (s >= 500 && s <= 508) || s == 510 || s == 511;
}

static bool member(const struct json *o, const char *name, bool (*is)(const struct json *v),
                   const struct json **out) {
    *out = json_get_c(o, name);
    return !*out || is(*out);
}

static bool is_object(const struct json *v) { return v->kind == JSON_OBJECT; }

static enum err allowed_members(const struct json *o, struct authz_decision *d, const char **why) {
    if (!member(o, "request_headers_to_remove", are_strings, &d->headers_to_remove))
        return mistyped(why, "request_headers_to_remove must be a list of strings");
    if (!member(o, "response_headers_to_add", are_headers, &d->response_headers))
        return mistyped(why, "response_headers_to_add must hold strings");
    if (!member(o, "query_parameters_to_set", is_string_map, &d->query_to_set))
        return mistyped(why, "query_parameters_to_set must hold strings");
    if (!member(o, "query_parameters_to_remove", are_strings, &d->query_to_remove))
        return mistyped(why, "query_parameters_to_remove must be a list of strings");
    return OK;
}

static enum err denied_members(const struct json *o, struct authz_decision *d, const char **why) {
    const struct json *status = json_get_c(o, "http_status"), *body;
    int64_t code = 403;
    if (status && (!json_int64(status, &code) || !known_status(code)))
        return mistyped(why, "http_status must be a known HTTP status code");
    if (!member(o, "body", is_string, &body)) return mistyped(why, "body must be a string");
    d->status = (int)code;
    if ((d->has_body = body != NULL)) d->body = body->text;
    return OK;
}

enum err authz_decision_read(struct arena *a, struct str json, struct authz_decision *d, const char **why) {
    struct json *o = NULL;
    *d = (struct authz_decision){.status = 403, .body = {"", 0}};
    if (str_is(json, "true")) return d->allowed = true, OK;
    if (str_is(json, "false")) return OK;
    enum err e = json_parse(a, json, &o, NULL);
    if (e == ERR_MEMORY) return *why = "no memory for the decision", e;
    if (e || o->kind != JSON_OBJECT) return mistyped(why, "the decision must be a boolean or an object");
    const struct json *flag = json_get_c(o, "allowed");
    if (!flag || flag->kind != JSON_BOOL) return mistyped(why, "the decision object needs the boolean `allowed`");
    d->allowed = flag->boolean;
    d->is_object = true;
    if (!member(o, "headers", are_headers, &d->headers)) return mistyped(why, "headers must hold strings");
    if (!member(o, "dynamic_metadata", is_object, &d->metadata))
        return mistyped(why, "dynamic_metadata must be an object");
    return d->allowed ? allowed_members(o, d, why) : denied_members(o, d, why);
}
