/* What administrators' calls say. in: bodies, maybe hostile. out: struct admin_body. owns: nothing. */
#include "edge/admin.h"

static bool printable(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 127) return false;
    return true;
}

bool admin_tenant_valid(struct str id) {
    return id.len && id.len < TENANT_ID_BYTES && *id.ptr != '.' && printable(id) && !memchr(id.ptr, '/', id.len);
}

static const char *read_version(const struct json *v, struct str *out) {
    if (v->kind != JSON_STRING) return "version is a text";
    if (!v->text.len || v->text.len >= VERSION_BYTES || !printable(v->text))
        return "version has 1 to 128 printable bytes; leave it out for whatever is current";
    *out = v->text;
    return NULL;
}

static const char *read_switch(const struct json *v, bool *out) {
    if (v->kind != JSON_BOOL) return "allow_older and at_once are true or false";
    *out = v->boolean;
    return NULL;
}

static const char *read_tenant(const struct json *v, struct str *out) {
    if (v->kind != JSON_STRING) return "tenant_id is a text";
    if (!admin_tenant_valid(v->text)) return "tenant_id: up to 127 bytes, no slash, not beginning with a dot";
    *out = v->text;
    return NULL;
}

static const char *read_member(struct str key, const struct json *v, bool tenant, struct admin_body *out) {
    if (tenant && str_is(key, "tenant_id")) return read_tenant(v, &out->tenant);
    if (str_is(key, "version")) return read_version(v, &out->version);
    if (tenant && str_is(key, "allow_older")) return read_switch(v, &out->allow_older);
    if (tenant && str_is(key, "at_once")) return read_switch(v, &out->at_once);
    return tenant ? "unknown member: there are tenant_id, version, allow_older and at_once"
                  : "unknown member: there is version";
}

const char *admin_body_read(struct arena *a, struct str text, bool tenant, struct admin_body *out) {
    struct json *v = NULL;
    struct json_error error = {0};
    const char *wrong = NULL;
    *out = (struct admin_body){0};
    if (!tenant && !text.len) return NULL;
    enum err e = json_parse(a, text, &v, &error);
    if (e) return error.message ? error.message : err_meaning(e);
    if (v->kind != JSON_OBJECT) return "the body has to be a JSON object";
    for (uint32_t i = 0; i < v->n && !wrong; i++) wrong = read_member(v->keys[i], v->items[i], tenant, out);
    if (!wrong && tenant && !out->tenant.len) return "tenant_id is missing";
    return wrong;
}
