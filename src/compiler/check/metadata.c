/* Reads `# METADATA` blocks and finds what they annotate (OPA's v1/ast/parser.go, annotations.go).
 * in: a module's comments and statements.
 * out: struct metadata entries; rego_parse_error diagnostics for malformed blocks.
 * owns: nothing; all lies in the compile's arena. */
#include "compiler/check/metadata.h"
#include <stdlib.h>

static struct str trim(struct str s) {
    while (s.len && strchr(" \t\r\n", s.ptr[0])) s = str_from(s, 1);
    while (s.len && strchr(" \t\r\n", s.ptr[s.len - 1])) s.len--;
    return s;
}

static bool starts_block(const struct comment *c) {
    return c->loc.col == 1 && str_starts(trim(c->text), STR("METADATA"));
}

/* ---- The text of a block ---- */

/* Comment lines first … first + n of a module, after the line `# METADATA`. */
struct block {
    const struct comment *head, *lines;
    uint32_t n;
};

static struct block block_at(const struct module *m, uint32_t i) {
    const struct comment *c = m->comments.items;
    struct block b = {&c[i], &c[i] + 1, 0};
    for (uint32_t j = i + 1; j < m->comments.n; j++, b.n++)
        if (c[j].loc.col != 1 || c[j].loc.row - 1 != c[j - 1].loc.row || starts_block(&c[j])) break;
    return b;
}

static struct str block_text(struct arena *a, const struct block *b) {
    size_t len = 0;
    for (uint32_t i = 0; i < b->n; i++) len += b->lines[i].text.len + 1;
    char *text = arena_alloc(a, len + 1);
    size_t at = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        struct str line = b->lines[i].text;
        if (line.len && line.ptr[0] == ' ') line = str_from(line, 1);
        if (line.len) memcpy(text + at, line.ptr, line.len);
        at += line.len;
        text[at++] = '\n';
    }
    return (struct str){text, at};
}

/* The place OPA gives for an error in line `row` (from 1) of the YAML. */
static struct loc line_loc(const struct block *b, uint32_t row) {
    if (b->n == 0) return b->head->loc;
    return b->lines[row < b->n ? row : b->n - 1].loc;
}

static struct loc key_loc(const struct block *b, const char *key) {
    for (uint32_t i = 0; i < b->n; i++) {
        struct str line = trim(b->lines[i].text);
        if (str_starts(line, str_of(key))) return line_loc(b, i + 1);
    }
    return line_loc(b, 1);
}

/* ---- Fields ---- */

enum field_kind { FIELD_STRING, FIELD_BOOL, FIELD_STRINGS, FIELD_LIST, FIELD_MAPS, FIELD_MAP };

static const struct field {
    const char *name;
    enum field_kind kind;
    const char *go_type; /* for messages */
} fields[] = {
    {"scope", FIELD_STRING, "string"},
    {"title", FIELD_STRING, "string"},
    {"entrypoint", FIELD_BOOL, "bool"},
    {"description", FIELD_STRING, "string"},
    {"organizations", FIELD_STRINGS, "[]string"},
    {"related_resources", FIELD_LIST, "[]interface {}"},
    {"authors", FIELD_LIST, "[]interface {}"},
    {"schemas", FIELD_MAPS, "[]map[string]interface {}"},
    {"compile", FIELD_MAP, "map[string]interface {}"},
    {"custom", FIELD_MAP, "map[string]interface {}"},
    {"labels", FIELD_MAP, "map[string]interface {}"},
};

static bool is_scalar(const struct json *v) {
    return v->kind == JSON_BOOL || v->kind == JSON_NUMBER || v->kind == JSON_STRING ||
           v->kind == JSON_NULL;
}

static bool all_items(const struct json *v, bool (*fits)(const struct json *)) {
    if (v->kind != JSON_ARRAY) return false;
    for (uint32_t i = 0; i < v->n; i++)
        if (!fits(v->items[i])) return false;
    return true;
}

static bool is_map(const struct json *v) { return v->kind == JSON_OBJECT; }

static bool field_fits(const struct json *v, enum field_kind kind) {
    if (v->kind == JSON_NULL) return true;
    switch (kind) {
    case FIELD_STRING: return is_scalar(v);
    case FIELD_BOOL: return v->kind == JSON_BOOL;
    case FIELD_STRINGS: return all_items(v, is_scalar);
    case FIELD_LIST: return v->kind == JSON_ARRAY;
    case FIELD_MAPS: return all_items(v, is_map);
    case FIELD_MAP: return is_map(v);
    }
    return false;
}

static bool check_fields(struct check_private *k, const struct block *b, const struct json *yaml) {
    bool ok = true;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const struct json *v = json_get_c(yaml, fields[i].name);
        if (!v || field_fits(v, fields[i].kind)) continue;
        diag_add(&k->c->diags, DIAG_PARSE, key_loc(b, fields[i].name),
                 "yaml: unmarshal errors: cannot unmarshal %s into %s", fields[i].name,
                 fields[i].go_type);
        ok = false;
        break;
    }
    return ok;
}

static bool has_text(const struct json *v) {
    return v && v->kind == JSON_STRING && trim(v->text).len > 0;
}

/* What is wrong with an item of authors or related_resources; NULL: nothing. */
static const char *author_problem(const struct json *v) {
    if (v->kind == JSON_STRING) return has_text(v) ? NULL : "author is an empty string";
    if (v->kind != JSON_OBJECT) return "invalid value type, must be string or map";
    if (has_text(json_get_c(v, "name")) || has_text(json_get_c(v, "email"))) return NULL;
    return "'name' and/or 'email' values required in object";
}

static const char *resource_problem(const struct json *v) {
    if (v->kind == JSON_STRING) return v->text.len ? NULL : "ref URL may not be empty string";
    if (v->kind != JSON_OBJECT) return "invalid value type, must be string or map";
    return has_text(json_get_c(v, "ref")) ? NULL : "'ref' value required in object";
}

static bool check_items(struct check_private *k, const struct block *b, const struct json *list,
                        const char *word, const char *(*problem)(const struct json *)) {
    for (uint32_t i = 0; list && i < list->n; i++) {
        const char *why = problem(list->items[i]);
        if (!why) continue;
        struct buf shown;
        buf_init(&shown, 1 << 16);
        json_print(list->items[i], false, 0, &shown);
        diag_add(&k->c->diags, DIAG_PARSE, b->head->loc, "invalid %s definition %.*s: %s", word,
                 STR_FMT(buf_view(&shown)), why);
        buf_deinit(&shown);
        return false;
    }
    return true;
}

static bool check_schemas(struct check_private *k, const struct block *b, const struct json *list) {
    for (uint32_t i = 0; list && i < list->n; i++) {
        const struct json *pair = list->items[i];
        const struct json *v = pair->n ? pair->items[0] : NULL;
        struct diag_list ignored;
        diag_list_init(&ignored, k->a);
        const char *why = NULL;
        if (!v || !parse_ref(k->a, b->head->loc.file, pair->keys[0], &ignored))
            why = "invalid document reference";
        else if (v->kind == JSON_STRING && !str_is(v->text, "schema") &&
                 !str_starts(v->text, STR("schema.")) && !str_starts(v->text, STR("schema[")))
            why = "invalid schema reference";
        else if (v->kind != JSON_STRING && v->kind != JSON_OBJECT)
            why = "invalid schema declaration for path";
        if (!why) continue;
        diag_add(&k->c->diags, DIAG_PARSE, b->head->loc, "%s", why);
        return false;
    }
    return true;
}

static const struct json *read_block(struct check_private *k, const struct block *b) {
    struct str text = block_text(k->a, b);
    struct diag_list *diags = &k->c->diags;
    if (trim(text).len == 0) {
        diag_add(diags, DIAG_PARSE, b->head->loc, "expected METADATA block, found whitespace");
        return NULL;
    }
    struct json *yaml = NULL;
    struct json_error error = {0};
    if (yaml_parse(k->a, text, &yaml, &error) != OK) {
        struct str why = str_of(error.message ? error.message : "syntax error");
        if (str_starts(why, STR("yaml: "))) why = str_from(why, 6);
        diag_add(diags, DIAG_PARSE, line_loc(b, error.row), "yaml: line %u: %.*s",
                 error.row < b->n ? error.row : b->n, STR_FMT(why));
        return NULL;
    }
    if (yaml->kind == JSON_NULL) return json_object(k->a);
    if (yaml->kind != JSON_OBJECT) {
        diag_add(diags, DIAG_PARSE, line_loc(b, 1),
                 "yaml: unmarshal errors: line 1: cannot "
                 "unmarshal the block, which is no mapping");
        return NULL;
    }
    bool ok = check_fields(k, b, yaml) &&
              check_items(k, b, json_get_c(yaml, "related_resources"), "related-resource",
                          resource_problem) &&
              check_schemas(k, b, json_get_c(yaml, "schemas")) &&
              check_items(k, b, json_get_c(yaml, "authors"), "author", author_problem);
    return ok ? yaml : NULL;
}

/* ---- What follows a block ---- */

enum target_kind { TARGET_NONE, TARGET_PACKAGE, TARGET_IMPORT, TARGET_RULE };
static const char *const target_words[] = {"", "package", "import", "rule"};

struct target {
    enum target_kind kind;
    uint32_t row;
    const struct rule *rule;
};

static void target_try(struct target *best, uint32_t below, enum target_kind kind, struct loc loc,
                       const struct rule *rule) {
    if (loc.row <= below || (best->kind != TARGET_NONE && best->row <= loc.row)) return;
    *best = (struct target){kind, loc.row, rule};
}

static struct target target_below(const struct module *m, uint32_t row) {
    struct target best = {TARGET_NONE, 0, NULL};
    target_try(&best, row, TARGET_PACKAGE, m->package_loc, NULL);
    for (uint32_t i = 0; i < m->imports.n; i++)
        target_try(&best, row, TARGET_IMPORT, m->imports.items[i].loc, NULL);
    for (uint32_t i = 0; i < m->rules.n; i++)
        target_try(&best, row, TARGET_RULE, m->rules.items[i]->loc, m->rules.items[i]);
    return best;
}

/* ---- Scopes ---- */

static const char *const scope_words[] = {"rule", "document", "package", "subpackages"};

static enum metadata_scope scope_of(struct str word) {
    for (int i = 0; i < SCOPE_INVALID; i++)
        if (str_is(word, scope_words[i])) return (enum metadata_scope)i;
    return SCOPE_INVALID;
}

static struct str default_scope(const struct target *t, bool entrypoint) {
    if (t->kind == TARGET_RULE) return entrypoint ? STR("document") : STR("rule");
    return str_of(target_words[t->kind]);
}

/* Reports a scope that does not fit what it is attached to. */
static bool check_scope(struct check_private *k, const struct metadata *m, struct str word,
                        const struct target *t) {
    struct diag_list *diags = &k->c->diags;
    bool of_rule = m->scope == SCOPE_RULE || m->scope == SCOPE_DOCUMENT;
    enum target_kind want = of_rule ? TARGET_RULE : TARGET_PACKAGE;
    bool ok = m->scope != SCOPE_INVALID && t->kind == want;
    if (m->scope == SCOPE_INVALID)
        diag_add(diags, DIAG_PARSE, m->loc,
                 "invalid annotation scope '%.*s'. Use one of 'rule', 'document', 'package', or "
                 "'subpackages'",
                 STR_FMT(word));
    else if (!ok)
        diag_add(diags, DIAG_PARSE, m->loc, "annotation scope '%.*s' must be applied to %s%s%s%s",
                 STR_FMT(word), target_words[want], t->kind ? " (have " : "", target_words[t->kind],
                 t->kind ? ")" : "");
    if (m->entrypoint && m->scope != SCOPE_DOCUMENT && m->scope != SCOPE_PACKAGE) {
        diag_add(diags, DIAG_PARSE, m->loc,
                 "annotation entrypoint applied to non-document or package scope '%.*s'",
                 STR_FMT(word));
        ok = false;
    }
    return ok;
}

static const struct term *ground_prefix(struct arena *a, const struct term *ref) {
    struct term *copy = term_copy(a, ref);
    copy->list.n = ref_ground_len(ref);
    return copy;
}

/* Fills in what a block is attached to; false: its scope does not fit. */
static bool attach(struct check_private *k, const struct module *m, struct metadata *found) {
    struct target t = target_below(m, found->loc.row);
    const struct json *scope = json_get_c(found->yaml, "scope");
    const struct json *entrypoint = json_get_c(found->yaml, "entrypoint");
    found->entrypoint = entrypoint && entrypoint->kind == JSON_BOOL && entrypoint->boolean;
    bool named = scope && scope->kind == JSON_STRING && scope->text.len;
    struct str word = named ? scope->text : default_scope(&t, found->entrypoint);
    found->scope = scope_of(word);
    found->rule = t.rule;
    if (!check_scope(k, found, word, &t)) return false;
    found->path = t.rule ? ground_prefix(k->a, t.rule->path) : m->package;
    return true;
}

void metadata_read(struct check_private *k, const struct module *m, struct metadata_list *out) {
    struct metadata_list blocks = {0};
    bool ok = true;
    for (uint32_t i = 0; i < m->comments.n; i++) {
        if (!starts_block(&m->comments.items[i])) continue;
        struct block b = block_at(m, i);
        struct metadata found = {.loc = b.head->loc, .module = m, .yaml = read_block(k, &b)};
        ok = ok && found.yaml;
        if (found.yaml) ARENA_PUSH(k->a, &blocks, found);
    }
    for (uint32_t i = 0; ok && i < blocks.n; i++)
        if (attach(k, m, &blocks.items[i])) ARENA_PUSH(k->a, out, blocks.items[i]);
}

void metadata_check_unique(struct check_private *k, const struct metadata_list *list) {
    for (uint32_t i = 0; i < list->n; i++) {
        const struct metadata *m = &list->items[i];
        if (m->scope == SCOPE_RULE) continue;
        for (uint32_t j = 0; j < i; j++) {
            const struct metadata *other = &list->items[j];
            bool both_by_path = m->scope != SCOPE_PACKAGE && other->scope != SCOPE_PACKAGE &&
                                other->scope != SCOPE_RULE;
            if (m->scope != other->scope && !both_by_path) continue;
            if (!term_equal(m->path, other->path)) continue;
            diag_add(&k->c->diags, DIAG_TYPE, m->loc, "%s annotation redeclared: %.*s:%u",
                     scope_words[m->scope], STR_FMT(other->loc.file), other->loc.row);
            break;
        }
    }
}
