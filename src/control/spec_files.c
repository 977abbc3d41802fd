/* Files of a document: names, sizes, and Rego that parses.
 * in: {"policy.rego": "…"}. out: the same, or problems with their places. owns: nothing. */
#include "compiler/ast/parser.h"
#include "control/spec_private.h"

/* What is wrong with a file's name, or NULL. */
static const char *name_wrong(struct str s) {
    if (!s.len || s.len > SPEC_FILE_NAME_BYTES) return "a file's name has 1 to 200 bytes";
    for (size_t i = 0; i < s.len; i++) {
        char c = char_lower(s.ptr[i]);
        bool begins = i == 0 || s.ptr[i - 1] == '/';
        if (c == '/' && (begins || i + 1 == s.len))
            return "it is not a relative path: a part of it is empty";
        if (c == '.' && begins) return "no part of a file's name may begin with a dot";
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && (!c || !strchr("._-/", c)))
            return "a file's name consists of A-Z a-z 0-9 . _ - and /";
    }
    return str_ends(s, STR(".rego"))
               ? NULL
               : "it must end in .rego (data belongs into `data`, checks into `checks`)";
}

/* The tree is thrown away, messages are copied to the document's list. */
static void parse_file(struct reader *r, struct str name, struct str text) {
    struct diag_list found;
    struct parse_options options = {.version = REGO_V1};
    arena_reset(&r->scratch);
    diag_list_init(&found, &r->scratch);
    if (parse_module(&r->scratch, name, text, &options, &found)) return;
    for (uint32_t i = 0; i < found.n; i++) {
        const struct diag *d = &found.items[i];
        struct loc loc = {.file = name, .row = d->loc.row, .col = d->loc.col};
        diag_add(r->diags, d->code, loc, "%.*s", STR_FMT(d->message));
    }
}

void spec_read_files(struct reader *r, const struct json *v) {
    struct json *out = json_object(r->a);
    size_t bytes = 0;
    if (!spec_is(r, STR("files"), v, JSON_OBJECT,
                 "an object such as {\"policy.rego\": \"package shop\"}"))
        return;
    if (v->n > SPEC_FILES)
        return spec_problem(r, STR("files"), "there are %u; at most %d are allowed", v->n,
                            SPEC_FILES);
    for (uint32_t i = 0; i < v->n; i++) {
        const struct json *item = v->items[i];
        struct str path = spec_path(r, "files", v->keys[i]);
        const char *wrong = name_wrong(v->keys[i]);
        if (item->kind == JSON_NULL) continue;
        if (wrong)
            spec_problem(r, path, "%s", wrong);
        else if (!spec_is(r, path, item, JSON_STRING, "the file's text"))
            continue;
        else if (item->text.len > SPEC_FILE_BYTES)
            spec_problem(r, path, "it has %zu bytes; at most %d are allowed", item->text.len,
                         SPEC_FILE_BYTES);
        else if ((bytes += item->text.len) <= SPEC_BYTES)
            parse_file(r, v->keys[i], item->text);
        json_append(r->a, out, v->keys[i], v->items[i]);
    }
    if (bytes > SPEC_BYTES)
        spec_problem(r, STR("files"), "they have %zu bytes in all; at most %d are allowed", bytes,
                     SPEC_BYTES);
    if (out->n) json_append(r->a, r->out, STR("files"), out);
}
