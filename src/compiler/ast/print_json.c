/* Prints a module as OPA's AST JSON, without places, comments and annotations.
 * in: a parsed module
 * out: JSON text in a buffer
 * owns: nothing */
#include "base/json.h"
#include "compiler/ast/print.h"

static void put_term(const struct term *t, struct buf *out);
static void put_body(const struct body *b, struct buf *out);

static void put_terms(const struct term_list *l, struct buf *out) {
    buf_byte(out, '[');
    for (uint32_t i = 0; i < l->n; i++) {
        if (i) buf_byte(out, ',');
        put_term(l->items[i], out);
    }
    buf_byte(out, ']');
}

static void put_object(const struct term *t, struct buf *out) {
    buf_byte(out, '[');
    for (uint32_t i = 0; i + 1 < t->list.n; i += 2) {
        buf_cstr(out, i ? ",[" : "[");
        put_term(t->list.items[i], out);
        buf_byte(out, ',');
        put_term(t->list.items[i + 1], out);
        buf_byte(out, ']');
    }
    buf_byte(out, ']');
}

static void put_compr(const struct term *t, struct buf *out) {
    if (t->key) {
        buf_cstr(out, "{\"key\":");
        put_term(t->key, out);
        buf_cstr(out, ",\"value\":");
    } else {
        buf_cstr(out, "{\"term\":");
    }
    put_term(t->value, out);
    buf_cstr(out, ",\"body\":");
    put_body(&t->body, out);
    buf_byte(out, '}');
}

static void put_expr(const struct expr *e, uint32_t index, struct buf *out);

/* Literals among the parts stand as terms, all else as expressions. */
static void put_template(const struct term *t, struct buf *out) {
    if (t->parts.n == 0) {
        buf_printf(out, "{\"parts\":null,\"multi_line\":%s}", t->multi_line ? "true" : "false");
        return;
    }
    buf_cstr(out, "{\"parts\":[");
    for (uint32_t i = 0; i < t->parts.n; i++) {
        const struct expr *e = t->parts.items[i];
        if (i) buf_byte(out, ',');
        if (e->kind == EXPR_TERM && e->term->kind <= TERM_STRING)
            put_term(e->term, out);
        else
            put_expr(e, 0, out);
    }
    buf_printf(out, "],\"multi_line\":%s}", t->multi_line ? "true" : "false");
}

static const char *type_word(enum term_kind k) {
    switch (k) {
    case TERM_NULL: return "null";
    case TERM_BOOLEAN: return "boolean";
    case TERM_NUMBER: return "number";
    case TERM_STRING: return "string";
    case TERM_VAR: return "var";
    case TERM_REF: return "ref";
    case TERM_ARRAY: return "array";
    case TERM_OBJECT: return "object";
    case TERM_SET: return "set";
    case TERM_ARRAY_COMPR: return "arraycomprehension";
    case TERM_SET_COMPR: return "setcomprehension";
    case TERM_OBJECT_COMPR: return "objectcomprehension";
    case TERM_CALL: return "call";
    case TERM_TEMPLATE_STRING: return "templatestring";
    }
    return "";
}

/* .5 is a number of Rego but not of JSON. */
static void put_number(struct str s, struct buf *out) {
    if (str_starts(s, STR("-"))) {
        buf_byte(out, '-');
        s = str_from(s, 1);
    }
    if (str_starts(s, STR("."))) buf_byte(out, '0');
    buf_str(out, s);
}

static void put_value(const struct term *t, struct buf *out) {
    switch (t->kind) {
    case TERM_NULL: buf_cstr(out, "{}"); break;
    case TERM_BOOLEAN: buf_cstr(out, t->boolean ? "true" : "false"); break;
    case TERM_NUMBER: put_number(t->text, out); break;
    case TERM_STRING:
    case TERM_VAR: json_print_string(t->text, out); break;
    case TERM_REF:
    case TERM_ARRAY:
    case TERM_SET:
    case TERM_CALL: put_terms(&t->list, out); break;
    case TERM_OBJECT: put_object(t, out); break;
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR: put_compr(t, out); break;
    case TERM_TEMPLATE_STRING: put_template(t, out); break;
    }
}

static void put_term(const struct term *t, struct buf *out) {
    buf_printf(out, "{\"type\":\"%s\",\"value\":", type_word(t->kind));
    put_value(t, out);
    buf_byte(out, '}');
}

/* ---- Expressions ---- */

static void put_member(const char *name, const struct term *t, struct buf *out) {
    buf_printf(out, "\"%s\":", name);
    if (t)
        put_term(t, out);
    else
        buf_cstr(out, "null");
}

static void put_every(const struct expr *e, struct buf *out) {
    buf_cstr(out, "{\"body\":");
    put_body(&e->body, out);
    buf_byte(out, ',');
    put_member("domain", e->domain, out);
    buf_byte(out, ',');
    put_member("key", e->key, out);
    buf_byte(out, ',');
    put_member("value", e->value, out);
    buf_byte(out, '}');
}

static void put_logical(const struct expr *e, struct buf *out) {
    buf_byte(out, '{');
    if (e->explicit_lhs) buf_cstr(out, "\"explicit_lhs\":true,");
    if (e->explicit_rhs) buf_cstr(out, "\"explicit_rhs\":true,");
    buf_cstr(out, "\"lhs\":");
    put_body(&e->lhs, out);
    buf_cstr(out, ",\"rhs\":");
    put_body(&e->rhs, out);
    buf_printf(out, ",\"type\":\"%s\"}", e->kind == EXPR_AND ? "and" : "or");
}

static void put_not(const struct expr *e, struct buf *out) {
    buf_cstr(out, "{\"body\":");
    put_body(&e->body, out);
    buf_printf(out, ",\"explicit_body\":%s,\"type\":\"not\"}", e->explicit_lhs ? "true" : "false");
}

static void put_expr_terms(const struct expr *e, struct buf *out) {
    switch (e->kind) {
    case EXPR_TERM: put_term(e->term, out); break;
    case EXPR_CALL: put_terms(&e->call, out); break;
    case EXPR_SOME:
        buf_cstr(out, "{\"symbols\":");
        put_terms(&e->call, out);
        buf_byte(out, '}');
        break;
    case EXPR_EVERY: put_every(e, out); break;
    case EXPR_NOT: put_not(e, out); break;
    case EXPR_AND:
    case EXPR_OR: put_logical(e, out); break;
    }
}

static void put_expr(const struct expr *e, uint32_t index, struct buf *out) {
    buf_byte(out, '{');
    if (e->generated) buf_cstr(out, "\"generated\":true,");
    buf_printf(out, "\"index\":%u,", index);
    if (e->negated) buf_cstr(out, "\"negated\":true,");
    buf_cstr(out, "\"terms\":");
    put_expr_terms(e, out);
    for (uint32_t i = 0; i < e->with.n; i++) {
        buf_cstr(out, i ? ",{" : ",\"with\":[{");
        put_member("target", e->with.items[i].target, out);
        buf_byte(out, ',');
        put_member("value", e->with.items[i].value, out);
        buf_byte(out, '}');
    }
    buf_cstr(out, e->with.n ? "]}" : "}");
}

static void put_body(const struct body *b, struct buf *out) {
    buf_byte(out, '[');
    for (uint32_t i = 0; i < b->n; i++) {
        if (i) buf_byte(out, ',');
        put_expr(b->items[i], i, out);
    }
    buf_byte(out, ']');
}

/* ---- Rules and modules ---- */

static void put_head(const struct head *h, struct buf *out) {
    buf_byte(out, '{');
    if (h->name.len) {
        buf_cstr(out, "\"name\":");
        json_print_string(h->name, out);
        buf_byte(out, ',');
    }
    if (h->args.n) {
        buf_cstr(out, "\"args\":");
        put_terms(&h->args, out);
        buf_byte(out, ',');
    }
    const struct term *key = h->key ? h->key : h->object_key;
    if (key) {
        put_member("key", key, out);
        buf_byte(out, ',');
    }
    if (h->value) {
        put_member("value", h->value, out);
        buf_byte(out, ',');
    }
    if (h->assign) buf_cstr(out, "\"assign\":true,");
    buf_cstr(out, "\"ref\":");
    put_terms(&h->ref->list, out);
    buf_byte(out, '}');
}

/* An else chain nests as JSON; its closing braces come at the end. */
static void put_rule(const struct rule *r, struct buf *out) {
    uint32_t open = 0;
    for (; r; r = r->else_rule, open++) {
        if (open) buf_cstr(out, ",\"else\":");
        buf_cstr(out, "{\"body\":");
        put_body(&r->body, out);
        if (r->is_default) buf_cstr(out, ",\"default\":true");
        buf_cstr(out, ",\"head\":");
        put_head(r->head, out);
    }
    while (open--) buf_byte(out, '}');
}

static void put_import(const struct import *imp, struct buf *out) {
    buf_byte(out, '{');
    if (imp->alias.ptr) {
        buf_cstr(out, "\"alias\":");
        json_print_string(imp->alias, out);
        buf_byte(out, ',');
    }
    put_member("path", imp->path, out);
    buf_byte(out, '}');
}

void print_module_json(const struct module *m, struct buf *out) {
    buf_cstr(out, "{\"package\":{\"path\":");
    put_terms(&m->package->list, out);
    buf_byte(out, '}');
    for (uint32_t i = 0; i < m->imports.n; i++) {
        buf_cstr(out, i ? "," : ",\"imports\":[");
        put_import(&m->imports.items[i], out);
    }
    if (m->imports.n) buf_byte(out, ']');
    for (uint32_t i = 0; i < m->rules.n; i++) {
        buf_cstr(out, i ? "," : ",\"rules\":[");
        put_rule(m->rules.items[i], out);
    }
    if (m->rules.n) buf_byte(out, ']');
    buf_byte(out, '}');
}
