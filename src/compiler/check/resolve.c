/* Turns names of rules and imports into full refs: `bar[_]` under `import data.foo.bar` becomes
 * data.foo.bar[_].
 * in: parsed modules and query. out: resolved refs, rule->path. owns: nothing. */
#include "compiler/ast/print.h"
#include "compiler/check/check_private.h"

/* A name that stands for a ref outside the rule. */
struct global {
    struct term *ref;
    bool used;
};

/* Names that are local where the walk stands; they hide globals. */
struct scope {
    struct varset names;
    const struct scope *outer;
};

struct resolver {
    struct check_private *k;
    struct table globals; /* name → struct global */
    const struct scope *scope;
};

static void resolve_term(struct resolver *r, struct term *t);
static void resolve_body(struct resolver *r, struct body *b);

/* ---- Globals ---- */

static void add_global(struct resolver *r, struct str name, struct term *ref) {
    struct global *g = ARENA_NEW(r->k->a, struct global);
    g->ref = ref;
    table_set(&r->globals, name, g);
}

static bool is_keyword_import(const struct import *i) {
    return ref_has_root(i->path, "future") || ref_has_root(i->path, "rego");
}

static struct str import_name(const struct import *i) {
    if (i->alias.ptr) return i->alias;
    return i->path->list.items[i->path->list.n - 1]->text;
}

static void add_rule_names(struct resolver *r, const struct module *m) {
    for (uint32_t i = 0; i < m->rules.n; i++) {
        struct str name = m->rules.items[i]->head->ref->list.items[0]->text;
        if (table_get(&r->globals, name)) continue;
        struct term *ref = term_copy(r->k->a, m->package);
        ARENA_PUSH(r->k->a, &ref->list, term_string(r->k->a, name, m->package_loc));
        add_global(r, name, ref);
    }
}

/* Names that the rules of `package` in any module, and the imports, bring into sight. */
static void set_globals(struct resolver *r, const struct term *package,
                        const struct import_list *imports) {
    const struct module_list *all = &r->k->c->modules;
    table_init(&r->globals, r->k->a);
    for (uint32_t i = 0; i < all->n; i++)
        if (term_equal(all->items[i]->package, package)) add_rule_names(r, all->items[i]);
    for (uint32_t i = 0; i < imports->n; i++)
        if (!is_keyword_import(&imports->items[i]))
            add_global(r, import_name(&imports->items[i]), imports->items[i].path);
}

static struct global *global_of(const struct resolver *r, const struct term *var) {
    struct global *g = table_get(&r->globals, var->text);
    for (const struct scope *s = r->scope; g && s; s = s->outer)
        if (varset_has(&s->names, var->text)) g = NULL;
    return g;
}

static struct term *use_global(struct resolver *r, struct global *g, struct loc loc) {
    struct term *ref = term_copy(r->k->a, g->ref);
    ref->loc = loc;
    for (uint32_t i = 0; i < ref->list.n; i++) ref->list.items[i]->loc = loc;
    g->used = true;
    return ref;
}

/* ---- Terms and bodies ---- */

static void resolve_list(struct resolver *r, struct term_list *l) {
    for (uint32_t i = 0; i < l->n; i++) resolve_term(r, l->items[i]);
}

/* A global at the head of a ref is spliced into it. */
static void resolve_ref(struct resolver *r, struct term *t) {
    struct term *head = t->list.items[0];
    struct global *g = head->kind == TERM_VAR ? global_of(r, head) : NULL;
    for (uint32_t i = head->kind == TERM_VAR; i < t->list.n; i++) resolve_term(r, t->list.items[i]);
    if (!g) return;
    struct term *spliced = use_global(r, g, head->loc);
    for (uint32_t i = 1; i < t->list.n; i++) ARENA_PUSH(r->k->a, &spliced->list, t->list.items[i]);
    t->list = spliced->list;
}

static void enter_scope(struct resolver *r, struct scope *s) {
    varset_init(&s->names, r->k->a);
    s->outer = r->scope;
    r->scope = s;
}

static void resolve_comprehension(struct resolver *r, struct term *t) {
    struct scope s;
    enter_scope(r, &s);
    vars_declared(r->k, &t->body, &s.names);
    if (t->key) resolve_term(r, t->key);
    resolve_term(r, t->value);
    resolve_body(r, &t->body);
    r->scope = s.outer;
}

static void resolve_term(struct resolver *r, struct term *t) {
    struct global *g;
    switch (t->kind) {
    case TERM_NULL:
    case TERM_BOOLEAN:
    case TERM_NUMBER:
    case TERM_STRING: return;
    case TERM_VAR:
        if ((g = global_of(r, t))) *t = *use_global(r, g, t->loc);
        return;
    case TERM_REF: resolve_ref(r, t); return;
    case TERM_ARRAY:
    case TERM_OBJECT:
    case TERM_SET:
    case TERM_CALL: resolve_list(r, &t->list); return;
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR: resolve_comprehension(r, t); return;
    case TERM_TEMPLATE_STRING: resolve_body(r, &t->parts); return;
    }
}

static void resolve_every(struct resolver *r, struct expr *e) {
    struct scope s;
    enter_scope(r, &s);
    if (e->key) vars_of_term(r->k, VARS_ALL, e->key, &s.names);
    vars_of_term(r->k, VARS_ALL, e->value, &s.names);
    resolve_term(r, e->domain);
    resolve_body(r, &e->body);
    r->scope = s.outer;
}

static void resolve_expr(struct resolver *r, struct expr *e) {
    switch (e->kind) {
    case EXPR_TERM: resolve_term(r, e->term); break;
    case EXPR_CALL: resolve_list(r, &e->call); break;
    case EXPR_SOME:
        if (e->call.n && e->call.items[0]->kind == TERM_CALL)
            resolve_list(r, &e->call.items[0]->list);
        break;
    case EXPR_EVERY: resolve_every(r, e); break;
    case EXPR_NOT: resolve_body(r, &e->body); break;
    case EXPR_AND:
    case EXPR_OR:
        resolve_body(r, &e->lhs);
        resolve_body(r, &e->rhs);
        break;
    }
    for (uint32_t i = 0; i < e->with.n; i++) {
        resolve_term(r, e->with.items[i].target);
        resolve_term(r, e->with.items[i].value);
    }
}

static void resolve_body(struct resolver *r, struct body *b) {
    for (uint32_t i = 0; i < b->n; i++) resolve_expr(r, b->items[i]);
}

/* ---- Rules ---- */

struct arg_walk {
    struct varset *vars;
    const struct term *shadow; /* data or input used as an argument's name */
};

static bool visit_arg(void *ctx, struct term *t) {
    struct arg_walk *w = ctx;
    if (t->kind == TERM_VAR) varset_add(w->vars, t->text);
    if (term_is_root_document(t) && !w->shadow) w->shadow = t;
    return !w->shadow && t->kind != TERM_SET && t->kind != TERM_CALL && !term_is_comprehension(t);
}

static bool resolve_rule(struct resolver *r, struct rule *rule) {
    struct head *h = rule->head;
    struct scope s;
    enter_scope(r, &s);
    struct arg_walk w = {.vars = &s.names};
    struct ast_visitor v = {.ctx = &w, .term = visit_arg};
    for (uint32_t i = 0; i < h->args.n; i++) ast_visit_term(h->args.items[i], &v);
    if (w.shadow) {
        diag_add(&r->k->c->diags, DIAG_COMPILE, rule->loc,
                 "args must not shadow %.*s (use a different variable name)",
                 STR_FMT(check_text(r->k, w.shadow)));
        r->scope = s.outer;
        return false;
    }
    vars_declared(r->k, &rule->body, &s.names);
    for (uint32_t i = 1; i < h->ref->list.n; i++) resolve_term(r, h->ref->list.items[i]);
    if (h->key) resolve_term(r, h->key);
    if (h->value) resolve_term(r, h->value);
    resolve_body(r, &rule->body);
    r->scope = s.outer;
    return true;
}

static void note_unused_imports(struct resolver *r, const struct module *m) {
    for (uint32_t i = 0; i < m->imports.n; i++) {
        const struct import *import = &m->imports.items[i];
        if (is_keyword_import(import)) continue;
        const struct global *g = table_get(&r->globals, import_name(import));
        struct import_use use = {import};
        if (g && !g->used) ARENA_PUSH(r->k->a, &r->k->unused_imports, use);
    }
}

void check_resolve_refs(struct compile *c) {
    for (uint32_t m = 0; m < c->modules.n; m++) {
        struct module *mod = c->modules.items[m];
        struct resolver r = {.k = c->check->priv};
        set_globals(&r, mod->package, &mod->imports);
        for (uint32_t i = 0; i < mod->rules.n; i++) {
            struct rule *rule = mod->rules.items[i];
            for (struct rule *e = rule; e && resolve_rule(&r, e);) e = e->else_rule;
            rule_set_path(r.k, rule);
        }
        if (c->request->strict) note_unused_imports(&r, mod);
    }
}

void check_unused_imports(struct compile *c) {
    struct check_private *k = c->check->priv;
    for (uint32_t i = 0; i < k->unused_imports.n; i++) {
        const struct import *import = k->unused_imports.items[i].import;
        struct str path = check_text(k, import->path);
        check_recoverable(k, DIAG_COMPILE, import->loc, "import %.*s%s%.*s unused", STR_FMT(path),
                          import->alias.ptr ? " as " : "", STR_FMT(import->alias));
    }
}

/* ---- Query ---- */

/* Package and imports of a query, read as the head of a module. */
static struct module *query_context(struct check_private *k) {
    const struct compile_request *q = k->c->request;
    if (!q->query_package.len && !q->n_query_imports) return NULL;
    struct buf *text = &k->text;
    buf_clear(text);
    struct str package = q->query_package;
    if (str_starts(package, STR("data."))) package = str_from(package, 5);
    buf_printf(text, "package %.*s\n", STR_FMT(package.len ? package : STR("query")));
    for (uint32_t i = 0; i < q->n_query_imports; i++) {
        struct str import = q->query_imports[i];
        bool whole = str_starts(import, STR("import "));
        buf_printf(text, "%s%.*s\n", whole ? "" : "import ", STR_FMT(import));
    }
    struct str source = {arena_copy(k->a, text->ptr, text->len), text->len};
    struct parse_options options = q->parse;
    options.skip_rules = true;
    return parse_module(k->a, STR(""), source, &options, &k->c->diags);
}

void resolve_query(struct check_private *k, struct body *query) {
    struct resolver r = {.k = k};
    struct module *context = query_context(k);
    if (!context) return;
    set_globals(&r, context->package, &context->imports);
    struct scope s;
    enter_scope(&r, &s);
    vars_declared(k, query, &s.names);
    resolve_body(&r, query);
}
