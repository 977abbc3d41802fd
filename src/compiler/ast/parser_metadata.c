/* Finds `# METADATA` blocks among the comments and attaches them to what they describe.
 * in: a module with its comments
 * out: annotations of rules and of the module; their YAML stays text
 * owns: nothing */
#include "base/json.h"
#include "compiler/ast/parser_private.h"

static struct str trim(struct str s) {
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) s = str_from(s, 1);
    while (s.len &&
           (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t' || s.ptr[s.len - 1] == '\r')) {
        s.len--;
    }
    return s;
}

static bool begins_block(const struct comment *c) {
    return c->loc.col == 1 && str_starts(trim(c->text), STR("METADATA"));
}

/* The comments [from, to) without their leading space, a line each. */
static struct str block_text(struct arena *a, const struct comment_list *l, uint32_t from,
                             uint32_t to) {
    size_t len = 0, n = 0;
    for (uint32_t i = from; i < to; i++) len += l->items[i].text.len + 1;
    char *text = arena_alloc(a, len);
    for (uint32_t i = from; i < to; i++) {
        struct str line = l->items[i].text;
        if (str_starts(line, STR(" "))) line = str_from(line, 1);
        if (line.len) memcpy(text + n, line.ptr, line.len);
        n += line.len;
        text[n++] = '\n';
    }
    return (struct str){text, n};
}

static void attach_to_rule(struct arena *a, struct rule *r, struct annotation *note) {
    struct annotation **all = ARENA_ARRAY(a, struct annotation *, r->n_annotations + 1);
    if (r->n_annotations) {
        memcpy(all, r->annotations, r->n_annotations * sizeof(all[0]));
    }
    all[r->n_annotations++] = note;
    r->annotations = all;
}

/* The statement that a block stands above: the first one below its first row. */
struct target {
    struct rule *rule;
    bool package, import;
};

static struct target find_target(const struct module *m, uint32_t row) {
    struct target t = {.package = m->package_loc.row > row};
    if (t.package) return t;
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < m->imports.n; i++) {
        struct loc loc = m->imports.items[i].loc;
        if (loc.row <= row || loc.row >= best) continue;
        best = loc.row;
        t.import = true;
    }
    for (uint32_t i = 0; i < m->rules.n; i++) {
        struct loc loc = m->rules.items[i]->loc;
        if (loc.row <= row || loc.row >= best) continue;
        best = loc.row;
        t = (struct target){.rule = m->rules.items[i]};
    }
    return t;
}

/* Scope and entrypoint of the block; an unwritten scope follows from the target. */
static bool read_scope(struct parser *p, struct annotation *note, struct target t,
                       struct diag_list *diags) {
    struct json *yaml;
    struct json_error error;
    if (yaml_parse(p->arena, note->yaml, &yaml, &error) != OK || yaml->kind != JSON_OBJECT) {
        /* check_metadata reports it, at the line that is wrong */
        return false;
    }
    const struct json *scope = json_get_c(yaml, "scope"), *entry = json_get_c(yaml, "entrypoint");
    bool entrypoint = entry && entry->kind == JSON_BOOL && entry->boolean;
    if (scope && scope->kind == JSON_STRING)
        note->scope = scope->text;
    else if (t.rule)
        note->scope = entrypoint ? STR("document") : STR("rule");
    else
        note->scope = t.package ? STR("package") : t.import ? STR("import") : STR("");
    bool may_enter = str_is(note->scope, "document") || str_is(note->scope, "package");
    if (!entrypoint || may_enter) return true;
    diag_add(diags, DIAG_PARSE, note->loc,
             "annotation entrypoint applied to non-document or package scope '%.*s'",
             STR_FMT(note->scope));
    return false;
}

static bool check_scope(const struct annotation *note, struct target t, struct diag_list *diags) {
    bool rule = str_is(note->scope, "rule") || str_is(note->scope, "document");
    bool package = str_is(note->scope, "package") || str_is(note->scope, "subpackages");
    if ((rule && t.rule) || (package && t.package)) return true;
    if (!rule && !package) {
        diag_add(diags, DIAG_PARSE, note->loc,
                 "invalid annotation scope '%.*s'. Use one of 'rule', 'document', 'package', or "
                 "'subpackages'",
                 STR_FMT(note->scope));
        return false;
    }
    const char *have = t.rule      ? " (have rule)"
                       : t.package ? " (have package)"
                       : t.import  ? " (have import)"
                                   : "";
    diag_add(diags, DIAG_PARSE, note->loc, "annotation scope '%.*s' must be applied to %s%s",
             STR_FMT(note->scope), rule ? "rule" : "package", have);
    return false;
}

/* A rule's annotation goes to it, a document's to all rules of that name. */
static void attach(struct parser *p, struct module *m, struct annotation *note,
                   struct diag_list *diags) {
    struct target t = find_target(m, note->loc.row);
    if (!read_scope(p, note, t, diags) || !check_scope(note, t, diags)) return;
    if (!t.rule) {
        ARENA_PUSH(p->arena, &m->annotations, note);
        return;
    }
    bool document = str_is(note->scope, "document");
    for (uint32_t i = 0; i < m->rules.n; i++) {
        struct rule *r = m->rules.items[i];
        if (r == t.rule || (document && term_equal(r->head->ref, t.rule->head->ref))) {
            attach_to_rule(p->arena, r, note);
        }
    }
}

static bool is_blank(struct str s) {
    for (size_t i = 0; i < s.len; i++) {
        if (!strchr(" \t\r\n", s.ptr[i])) return false;
    }
    return true;
}

void attach_metadata(struct parser *p, struct module *m, struct diag_list *diags) {
    const struct comment_list *l = &m->comments;
    for (uint32_t i = 0; i < l->n;) {
        uint32_t start = i++;
        if (!begins_block(&l->items[start])) continue;
        while (i < l->n && l->items[i].loc.col == 1 && !begins_block(&l->items[i]) &&
               l->items[i].loc.row == l->items[i - 1].loc.row + 1) {
            i++;
        }
        struct annotation *note = ARENA_NEW(p->arena, struct annotation);
        note->loc = l->items[start].loc;
        note->yaml = block_text(p->arena, l, start + 1, i);
        if (!is_blank(note->yaml)) {
            attach(p, m, note, diags);
            continue;
        }
        diag_add(diags, DIAG_PARSE, note->loc, "expected METADATA block, found whitespace");
    }
}
