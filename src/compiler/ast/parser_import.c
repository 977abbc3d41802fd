/* Parses package and import declarations, and lets imports switch keywords on.
 * in: the parser at `package` or `import`
 * out: a statement; false with errors, or without where it is a ref such as import.x
 * owns: nothing */
#include "compiler/ast/parser_private.h"

/* After the keyword: false when `.` or `[` makes it a name, or no name follows (an error then). */
static bool begin_path(struct parser *p) {
    parser_scan_ws(p);
    if (p->s.tok.kind == TOK_DOT || p->s.tok.kind == TOK_LBRACK) return false;
    if (p->s.tok.kind == TOK_WHITESPACE) parser_scan(p);
    if (parser_is_ref_keyword(p, p->s.tok.kind)) p->s.tok.kind = TOK_IDENT;
    if (p->s.tok.kind == TOK_IDENT) return true;
    parser_illegal_token(p);
    return false;
}

/* All operands from `from` on are strings; else an error. */
static bool only_strings(struct parser *p, const struct term *ref, uint32_t from) {
    for (uint32_t i = from; i < ref->list.n; i++) {
        const struct term *t = ref->list.items[i];
        if (t->kind == TERM_STRING) continue;
        parser_error(p, t->loc, "unexpected %s token: expecting string", term_kind_word(t));
        return false;
    }
    return true;
}

/* data.<path>; NULL after an error. */
static struct term *package_path(struct parser *p, struct term *t) {
    struct term *path = term_new(p->arena, TERM_REF, t->loc);
    ARENA_PUSH(p->arena, &path->list, term_var(p->arena, STR("data"), t->loc));
    if (t->kind == TERM_VAR) {
        ARENA_PUSH(p->arena, &path->list, term_string(p->arena, t->text, t->loc));
        return path;
    }
    if (t->kind != TERM_REF) {
        parser_illegal_token(p);
        return NULL;
    }
    struct term *first = t->list.items[0];
    if (first->kind != TERM_VAR) {
        parser_error(p, first->loc, "unexpected %s token: expecting var", term_kind_word(first));
        return NULL;
    }
    if (!only_strings(p, t, 1)) return NULL;
    path->list.items[0]->loc = first->loc;
    ARENA_PUSH(p->arena, &path->list, term_string(p->arena, first->text, first->loc));
    for (uint32_t i = 1; i < t->list.n; i++) ARENA_PUSH(p->arena, &path->list, t->list.items[i]);
    return path;
}

bool parse_package(struct parser *p, struct statement *out) {
    out->kind = STATEMENT_PACKAGE;
    out->loc = parser_loc(p);
    if (!begin_path(p)) return false;
    struct term *t = parse_simple_term(p);
    out->package = t ? package_path(p, t) : NULL;
    if (!out->package && p->s.n_errors == 0) parser_error(p, parser_loc(p), "expected path");
    return out->package != NULL;
}

/* ---- import ---- */

static struct term *import_path(struct parser *p) {
    uint32_t known = p->s.lexer.keywords;
    p->s.lexer.keywords &= ~(uint32_t)KW_FUTURE;
    struct term *t = parse_simple_term(p);
    p->s.lexer.keywords = known;
    if (t && t->kind == TERM_VAR) {
        struct term *ref = term_new(p->arena, TERM_REF, t->loc);
        ARENA_PUSH(p->arena, &ref->list, t);
        return ref;
    }
    if (t && t->kind == TERM_REF) return only_strings(p, t, 1) ? t : NULL;
    parser_error(p, parser_loc(p), "expected path");
    return NULL;
}

static bool check_import_root(struct parser *p, const struct term *path) {
    const struct term *root = path->list.items[0];
    if (root->kind == TERM_VAR &&
        (term_is_root(root) || str_is(root->text, "future") || str_is(root->text, "rego"))) {
        return true;
    }
    parser_hint(p, "if this is unexpected, try updating OPA");
    parser_error(p, path->loc,
                 "unexpected import path, must begin with one of: {data, future, input, rego}, "
                 "got: %.*s",
                 STR_FMT(term_text(p->arena, root)));
    return false;
}

static bool parse_alias(struct parser *p, struct import *imp) {
    parser_scan(p);
    struct term *t = p->s.tok.kind == TOK_IDENT ? parse_simple_term(p) : NULL;
    if (t && t->kind == TERM_VAR) {
        imp->alias = t->text;
        imp->alias_loc = t->loc;
        return true;
    }
    if (t && t->kind == TERM_REF && t->list.n == 1) {
        parser_error(p, t->loc, "unexpected import alias, must not be a reserved name, got: %.*s",
                     STR_FMT(t->list.items[0]->text));
        return false;
    }
    parser_illegal(p, "expected var");
    return false;
}

/* The last element is the name that the import defines: no keyword, except after future. */
static void check_import_name(struct parser *p, const struct term *path) {
    const struct term *last = path->list.items[path->list.n - 1];
    if (path->list.n > 1 && str_is(path->list.items[0]->text, "future")) return;
    if (!keyword_in_version(last->text, p->version)) return;
    parser_hint(p, "import a different path or use an alias");
    parser_error(p, last->loc, "unexpected import path, must not end with a keyword, got: %.*s",
                 STR_FMT(last->text));
}

bool parse_import(struct parser *p, struct statement *out) {
    out->kind = STATEMENT_IMPORT;
    out->loc = parser_loc(p);
    out->import = (struct import){.loc = out->loc};
    if (!begin_path(p)) return false;
    struct term *path = import_path(p);
    out->import.path = path;
    if (!path || !check_import_root(p, path)) return false;
    if (p->s.tok.kind == TOK_AS) return parse_alias(p, &out->import);
    check_import_name(p, path);
    return true;
}

/* ---- What imports switch on ---- */

static void import_future(struct parser *p, const struct import *imp) {
    const struct term_list *l = &imp->path->list;
    if (l->n == 1 || !str_is(l->items[1]->text, "keywords")) {
        parser_error(p, imp->path->loc, "invalid import, must be `future.keywords`");
        return;
    }
    if (imp->alias.ptr) {
        parser_error(p, imp->alias_loc, "`future` imports cannot be aliased");
        return;
    }
    uint32_t keywords = p->allowed_keywords;
    if (l->n == 3) {
        keywords &= keyword_bit(l->items[2]->text);
        if (!keywords) {
            parser_error(p, imp->path->loc,
                         "unexpected keyword, must be one of [and contains every if in not or]");
            return;
        }
    }
    if (keywords & KW_NOT) p->not_bodies = true;
    parser_add_keywords(p, keywords);
}

static void import_rego(struct parser *p, const struct import *imp) {
    bool v1 = term_is_op(imp->path, "rego.v1"), v2 = term_is_op(imp->path, "rego.v2");
    if (!v1 && !v2) {
        parser_error(p, imp->path->loc,
                     "invalid import `%.*s`, must be one of: `rego.v1`, `rego.v2`",
                     STR_FMT(term_text(p->arena, imp->path)));
        return;
    }
    if (imp->alias.ptr) {
        parser_error(p, imp->alias_loc, "`rego` imports cannot be aliased");
        return;
    }
    if (p->version != REGO_V1 || v2) parser_add_keywords(p, v2 ? KW_V1 | KW_V2 : KW_V1);
    if (v2) p->not_bodies = true;
}

/* The token at hand was read before the import took effect. */
static void reclassify(struct parser *p) {
    if (p->s.tok.kind != TOK_IDENT) return;
    uint32_t bit = keyword_bit(p->s.tok.lit) & KW_FUTURE & p->s.lexer.keywords;
    if (bit) p->s.tok.kind = keyword_token(bit);
}

void import_keywords(struct parser *p, const struct import *imp) {
    struct str root = imp->path->list.items[0]->text;
    if (str_is(root, "rego"))
        import_rego(p, imp);
    else if (str_is(root, "future"))
        import_future(p, imp);
    else
        return;
    reclassify(p);
}
