/* regent apply: makes a folder of templates, libraries and tenants the control plane's state.
 * in: files. out: a plan; changes; what was built and what failed. owns: nothing. */
#include "cli/changes.h"
#include "cli/folder.h"

/* What the folder has and the control plane has not, or has otherwise. */
static void compare(struct arena *a, const struct folder *f, const struct table *there,
                    struct changes *out) {
    for (uint32_t i = 0; i < f->n; i++) {
        const struct folder_item *x = &f->items[i];
        const char *sha = table_get(there, str_of(digest_key(a, x->kind, x->id)));
        struct change c = {
            .kind = x->kind, .id = x->id, .document = x->document, .expect = sha ? sha : ""};
        c.sign = sha ? CHANGE_UPDATE : CHANGE_CREATE;
        if (sha && strcmp(sha, x->sha256) == 0)
            out->unchanged++;
        else
            changes_add(out, c);
    }
}

/* What the folder does not have: tenants first, so that nobody needs what goes after them. */
static void add_deletions(struct arena *a, const struct folder *f, const struct table *there,
                          struct changes *out) {
    static const enum spec_kind order[] = {SPEC_TENANT, SPEC_TEMPLATE, SPEC_LIBRARY};
    struct table have;
    table_init(&have, a);
    for (uint32_t i = 0; i < f->n; i++)
        table_set(&have, str_of(digest_key(a, f->items[i].kind, f->items[i].id)), out);
    for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
        struct str prefix = str_of(digest_key(a, order[k], STR("")));
        for (uint32_t i = 0; i < there->n; i++) {
            struct str key = there->entries[i].key;
            if (!str_starts(key, prefix) || table_get(&have, key)) continue;
            changes_add(out, (struct change){.sign = CHANGE_DELETE,
                                             .kind = order[k],
                                             .id = str_from(key, prefix.len),
                                             .expect = there->entries[i].value});
        }
    }
}

static int apply(struct arena *a, const struct client_options *where, const char *dir, bool delete,
                 struct changes_options *o) {
    struct diag_list diags;
    struct folder f;
    struct table there;
    struct changes changes;
    struct client c;
    diag_list_init(&diags, a);
    if (!folder_read(a, dir, &f, &diags)) {
        diag_sort(&diags);
        return report_errors(&diags, o->json, EXIT_ERRORS);
    }
    if (!client_open(a, where, &c)) return EXIT_FAILED;
    o->dir = f.dir;
    changes_init(&changes, a);
    int code = digests_read(&c, &there);
    if (!code) {
        compare(a, &f, &there, &changes);
        if (delete) add_deletions(a, &f, &there, &changes);
        code = changes_run(&c, &changes, o);
    }
    client_close(&c);
    return code;
}

int cmd_apply(struct arena *a, int argc, char **argv) {
    struct client_options where = {0};
    struct changes_options o = {.wait = true, .release = true};
    struct str dir = {0}, output = STR("text");
    bool delete = false, keep = false;
    struct str_list rest;
    int code;
    const struct option_spec specs[] = {
        {"folder", 'f', OPTION_TEXT, &dir, "DIR", "folder with templates/, shared/ and policies/"},
        {"delete", 0, OPTION_BOOL, &delete, NULL, "take away what the folder does not have"},
        {"no-release", 0, OPTION_BOOL, &keep, NULL,
         "build versions, and let somebody release them"},
        CHANGES_FLAGS(o),
        CLIENT_FLAGS(where),
        {0}};
    if (!command_options(a, "apply -f DIR [flags]", specs, argc, argv, &rest, &code)) return code;
    if (!dir.len || rest.n) return fail("which folder? regent apply -f DIR");
    o.release = !keep;
    o.json = str_is(output, "json");
    if (!o.json && !str_is(output, "text")) return fail("-o takes text or json");
    return apply(a, &where, dir.ptr, delete, &o);
}
