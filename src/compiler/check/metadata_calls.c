/* Replaces calls of rego.metadata.rule() and chain() by what the METADATA blocks say.
 * in: modules with resolved refs and flat calls.
 * out: rules that begin with `v = constant` and use v where the call stood.
 * owns: nothing; all lies in the compile's arena. */
#include "compiler/check/metadata.h"

/* ---- Blocks as terms ---- */

/* YAML's 4.50 is the number 4.5 in Go. */
static struct str shortest_fraction(struct str number) {
    if (!memchr(number.ptr, '.', number.len)) return number;
    if (memchr(number.ptr, 'e', number.len) || memchr(number.ptr, 'E', number.len)) return number;
    while (number.ptr[number.len - 1] == '0') number.len--;
    if (number.ptr[number.len - 1] == '.') number.len--;
    return number;
}

struct term *term_of_json(struct arena *a, const struct json *v, struct loc loc) {
    switch (v->kind) {
    case JSON_NULL: return term_new(a, TERM_NULL, loc);
    case JSON_BOOL: return term_boolean(a, v->boolean, loc);
    case JSON_STRING: return term_string(a, v->text, loc);
    case JSON_NUMBER:
    case JSON_ARRAY:
    case JSON_OBJECT: break;
    }
    if (v->kind == JSON_NUMBER) {
        struct term *number = term_new(a, TERM_NUMBER, loc);
        number->text = shortest_fraction(v->text);
        return number;
    }
    struct term *t = term_new(a, v->kind == JSON_ARRAY ? TERM_ARRAY : TERM_OBJECT, loc);
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->kind == JSON_OBJECT) ARENA_PUSH(a, &t->list, term_string(a, v->keys[i], loc));
        ARENA_PUSH(a, &t->list, term_of_json(a, v->items[i], loc));
    }
    return t;
}

static void put(struct arena *a, struct term *object, const char *key, struct term *value) {
    ARENA_PUSH(a, &object->list, term_string(a, str_of(key), object->loc));
    ARENA_PUSH(a, &object->list, value);
}

static void put_text(struct arena *a, struct term *object, const char *key, struct str text) {
    if (text.len) put(a, object, key, term_string(a, text, object->loc));
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static struct str trim(struct str s) {
    while (s.len && is_space(s.ptr[0])) s = str_from(s, 1);
    while (s.len && is_space(s.ptr[s.len - 1])) s.len--;
    return s;
}

static struct str text_of(const struct json *v) {
    if (!v || v->kind == JSON_NULL) return (struct str){"", 0};
    if (v->kind == JSON_BOOL) return v->boolean ? STR("true") : STR("false");
    return v->kind == JSON_STRING || v->kind == JSON_NUMBER ? v->text : (struct str){"", 0};
}

/* Words of s joined by one space each. */
static struct str normal_space(struct arena *a, struct str s) {
    char *text = arena_alloc(a, s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_space(s.ptr[i]))
            text[n++] = s.ptr[i];
        else if (n && text[n - 1] != ' ')
            text[n++] = ' ';
    }
    while (n && text[n - 1] == ' ') n--;
    return (struct str){text, n};
}

/* "Name Name <mail>" or {name, email} */
static struct term *author_term(struct arena *a, const struct json *v, struct loc loc) {
    struct term *t = term_new(a, TERM_OBJECT, loc);
    if (v->kind == JSON_OBJECT) {
        put_text(a, t, "name", trim(text_of(json_get_c(v, "name"))));
        put_text(a, t, "email", trim(text_of(json_get_c(v, "email"))));
        return t;
    }
    struct str name = normal_space(a, v->text), email = {"", 0};
    size_t last = name.len;
    while (last && name.ptr[last - 1] != ' ') last--;
    if (name.len - last >= 2 && name.ptr[last] == '<' && name.ptr[name.len - 1] == '>') {
        email = (struct str){name.ptr + last + 1, name.len - last - 2};
        name.len = last ? last - 1 : 0;
    }
    put_text(a, t, "name", name);
    put_text(a, t, "email", email);
    return t;
}

static struct term *resource_term(struct arena *a, const struct json *v, struct loc loc) {
    struct term *t = term_new(a, TERM_OBJECT, loc);
    if (v->kind == JSON_STRING) {
        put_text(a, t, "ref", v->text);
    } else {
        put_text(a, t, "ref", trim(text_of(json_get_c(v, "ref"))));
        put_text(a, t, "description", trim(text_of(json_get_c(v, "description"))));
    }
    return t;
}

static struct term *organization_term(struct arena *a, const struct json *v, struct loc loc) {
    return term_string(a, text_of(v), loc);
}

/* A ref's elements as an array, from its n-th on; its head is a name. */
static struct term *path_term(struct arena *a, const struct term *ref, uint32_t from,
                              struct loc loc) {
    struct term *path = term_new(a, TERM_ARRAY, loc);
    for (uint32_t i = from; i < ref->list.n; i++) {
        const struct term *key = ref->list.items[i];
        struct term *copy =
            key->kind == TERM_VAR ? term_string(a, key->text, loc) : term_copy(a, key);
        copy->loc = loc;
        ARENA_PUSH(a, &path->list, copy);
    }
    return path;
}

static struct term *schema_term(struct arena *a, const struct json *pair, struct loc loc) {
    struct diag_list ignored;
    diag_list_init(&ignored, a);
    struct term *t = term_new(a, TERM_OBJECT, loc);
    const struct json *v = pair->items[0];
    struct term *path = parse_ref(a, loc.file, pair->keys[0], &ignored);
    if (path) put(a, t, "path", path_term(a, path, 0, loc));
    if (v->kind == JSON_OBJECT) {
        put(a, t, "definition", term_of_json(a, v, loc));
        return t;
    }
    struct term *schema = parse_ref(a, loc.file, v->text, &ignored);
    if (schema) put(a, t, "schema", path_term(a, schema, 0, loc));
    return t;
}

static void put_list(struct arena *a, struct term *object, const struct json *yaml, const char *key,
                     struct term *(*item)(struct arena *, const struct json *, struct loc)) {
    const struct json *list = json_get_c(yaml, key);
    if (!list || list->n == 0) return;
    struct term *t = term_new(a, TERM_ARRAY, object->loc);
    for (uint32_t i = 0; i < list->n; i++)
        ARENA_PUSH(a, &t->list, item(a, list->items[i], object->loc));
    put(a, object, key, t);
}

static void put_map(struct arena *a, struct term *object, const struct json *yaml,
                    const char *key) {
    const struct json *map = json_get_c(yaml, key);
    if (map && map->kind == JSON_OBJECT && map->n)
        put(a, object, key, term_of_json(a, map, object->loc));
}

struct term *metadata_term(struct check_private *k, const struct metadata *m, struct loc loc) {
    static const char *const scopes[] = {"rule", "document", "package", "subpackages", ""};
    struct arena *a = k->a;
    struct term *t = term_new(a, TERM_OBJECT, loc);
    put_text(a, t, "scope", str_of(scopes[m->scope]));
    put_text(a, t, "title", text_of(json_get_c(m->yaml, "title")));
    if (m->entrypoint) put(a, t, "entrypoint", term_boolean(a, true, loc));
    put_text(a, t, "description", text_of(json_get_c(m->yaml, "description")));
    put_list(a, t, m->yaml, "organizations", organization_term);
    put_list(a, t, m->yaml, "related_resources", resource_term);
    put_list(a, t, m->yaml, "authors", author_term);
    put_list(a, t, m->yaml, "schemas", schema_term);
    put_map(a, t, m->yaml, "custom");
    put_map(a, t, m->yaml, "labels");
    return t;
}

/* ---- What a rule's calls give ---- */

/* The first block of a rule, which rego.metadata.rule() gives. */
static const struct metadata *first_block(const struct metadata_list *all, const struct rule *r) {
    for (uint32_t i = 0; i < all->n; i++)
        if (all->items[i].scope == SCOPE_RULE && all->items[i].rule == r) return &all->items[i];
    return NULL;
}

static void push_link(struct arena *a, struct term *chain, const struct term *path,
                      struct term *annotations) {
    struct term *link = term_new(a, TERM_OBJECT, chain->loc);
    put(a, link, "path", path_term(a, path, 1, chain->loc));
    if (annotations) put(a, link, "annotations", annotations);
    ARENA_PUSH(a, &chain->list, link);
}

static void push_block(struct check_private *k, struct term *chain, const struct metadata *m) {
    push_link(k->a, chain, m->path, metadata_term(k, m, chain->loc));
}

static void push_scope(struct check_private *k, const struct metadata_list *all,
                       enum metadata_scope scope, const struct term *path, struct term *chain) {
    for (uint32_t i = 0; i < all->n; i++)
        if (all->items[i].scope == scope && term_equal(all->items[i].path, path))
            push_block(k, chain, &all->items[i]);
}

/* Blocks of the rule from the nearest up, then document, package, packages around it. */
static struct term *chain_term(struct check_private *k, const struct metadata_list *all,
                               const struct rule *r, struct loc loc) {
    struct term *chain = term_new(k->a, TERM_ARRAY, loc);
    struct term *ground = term_copy(k->a, r->path);
    ground->list.n = ref_ground_len(r->path);
    for (uint32_t i = all->n; i-- > 0;)
        if (all->items[i].scope == SCOPE_RULE && all->items[i].rule == r)
            push_block(k, chain, &all->items[i]);
    if (chain->list.n == 0) push_link(k->a, chain, ground, NULL);
    push_scope(k, all, SCOPE_DOCUMENT, ground, chain);
    push_scope(k, all, SCOPE_PACKAGE, r->module->package, chain);
    struct term prefix = *r->module->package;
    for (prefix.list.n = r->module->package->list.n; prefix.list.n > 0; prefix.list.n--)
        push_scope(k, all, SCOPE_SUBPACKAGES, &prefix, chain);
    return chain;
}

/* ---- Calls ---- */

struct call_search {
    struct expr *chain, *rule; /* first call of each */
};

/* A call of rego.metadata.<name>. */
static bool is_metadata_call(const struct expr *e, const char *name) {
    if (e->kind != EXPR_CALL || e->call.n == 0 || e->call.items[0]->kind != TERM_REF) return false;
    const struct term_list *op = &e->call.items[0]->list;
    return op->n == 3 && str_is(op->items[0]->text, "rego") &&
           str_is(op->items[1]->text, "metadata") && str_is(op->items[2]->text, name);
}

static bool find_call(void *ctx, struct expr *e) {
    struct call_search *s = ctx;
    if (!s->chain && is_metadata_call(e, "chain"))
        s->chain = e;
    else if (!s->rule && is_metadata_call(e, "rule"))
        s->rule = e;
    return true;
}

struct call_rewrite {
    struct check_private *k;
    const struct term *chain, *rule; /* variables that hold the answers */
};

/* The call becomes `output = v`, or v itself when its result is not used. */
static bool rewrite_call(void *ctx, struct expr *e) {
    struct call_rewrite *w = ctx;
    const struct term *v = NULL;
    if (w->chain && is_metadata_call(e, "chain"))
        v = w->chain;
    else if (w->rule && is_metadata_call(e, "rule"))
        v = w->rule;
    if (!v) return true;
    struct term *answer = term_copy(w->k->a, v), *output = expr_operand(e, 0);
    struct expr *fresh;
    if (output) {
        struct term *sides[] = {output, answer};
        fresh = expr_call_c(w->k->a, "eq", e->loc, sides, 2);
    } else {
        fresh = expr_new(w->k->a, EXPR_TERM, e->loc);
        fresh->term = answer;
    }
    fresh->generated = true;
    *e = *fresh;
    return true;
}

/* A body expression that gives a new variable the answer; messages show the variable as the call.
 */
static const struct term *push_answer(struct check_private *k, struct body *body,
                                      struct term *answer, struct str shown) {
    struct expr *e = gen_equality(k, &k->gen, answer);
    struct str *name = ARENA_NEW(k->a, struct str);
    *name = shown;
    table_set(&k->c->check->rewritten_vars, expr_operand(e, 0)->text, name);
    ARENA_PUSH(k->a, body, e);
    return expr_operand(e, 0);
}

struct rule_rewrite {
    struct check_private *k;
    const struct metadata_list *all;
};

static void rewrite_rule(void *ctx, struct rule *r) {
    struct rule_rewrite *w = ctx;
    struct check_private *k = w->k;
    struct call_search found = {0};
    struct ast_visitor search = {.ctx = &found, .expr = find_call};
    visit_rule(r, &search);
    if (!found.chain && !found.rule) return;
    struct body body = {0};
    struct call_rewrite rewrite = {.k = k};
    if (found.chain)
        rewrite.chain = push_answer(k, &body, chain_term(k, w->all, r, found.chain->loc),
                                    STR("rego.metadata.chain()"));
    if (found.rule) {
        const struct metadata *m = first_block(w->all, r);
        struct term *answer =
            m ? metadata_term(k, m, found.rule->loc) : term_new(k->a, TERM_OBJECT, found.rule->loc);
        rewrite.rule = push_answer(k, &body, answer, STR("rego.metadata.rule()"));
    }
    struct ast_visitor v = {.ctx = &rewrite, .expr = rewrite_call};
    visit_head(r->head, &v, false);
    ast_visit_body(&r->body, &v);
    for (uint32_t i = 0; i < r->body.n; i++) ARENA_PUSH(k->a, &body, r->body.items[i]);
    r->body = body;
}

void check_metadata(struct compile *c) {
    struct check_private *k = c->check->priv;
    struct metadata_list all = {0};
    uint32_t before = c->diags.n;
    for (uint32_t i = 0; i < c->modules.n; i++) metadata_read(k, c->modules.items[i], &all);
    if (c->diags.n == before) metadata_check_unique(k, &all);
    if (c->diags.n > before) return;
    struct rule_rewrite w = {k, &all};
    each_rule(c, rewrite_rule, &w);
}
