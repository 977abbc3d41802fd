/* regent export: writes what a control plane keeps as the folder that `regent apply` reads.
 * in: documents of templates, libraries, tenants. out: files. owns: nothing. */
#include "cli/changes.h"
#include "cli/folder.h"
#include <unistd.h>

struct exporting {
    struct folder_writer writer;
    enum spec_kind kind;
    uint32_t n[3];
};

static int take(void *ctx, const struct json *item) {
    struct exporting *x = ctx;
    const struct json *document = client_document(item);
    if (!document)
        return fail("the control plane gave a %s without its document", spec_word(x->kind));
    if (!folder_write(&x->writer, x->kind, client_text(item, "id"), document)) return EXIT_FAILED;
    x->n[x->kind]++;
    if (is_fancy(STDERR_FILENO) && x->n[x->kind] % 100 == 0)
        fprintf(stderr, "\r\033[K%u %s", x->n[x->kind], spec_words(x->kind));
    return EXIT_OK;
}

static int export(struct client *c, struct exporting *x) {
    static const enum spec_kind kinds[] = {SPEC_LIBRARY, SPEC_TEMPLATE, SPEC_TENANT};
    for (size_t i = 0; i < 3; i++) {
        x->kind = kinds[i];
        int code = documents_read(c, kinds[i], take, x);
        if (is_fancy(STDERR_FILENO)) fprintf(stderr, "\r\033[K");
        if (code) return code;
    }
    return folder_end(&x->writer) ? EXIT_OK : EXIT_FAILED;
}

int cmd_export(struct arena *a, int argc, char **argv) {
    struct client_options where = {0};
    struct exporting x = {.n = {0}};
    struct str dir = {0};
    bool force = false;
    struct str_list rest;
    struct client c;
    int code;
    const struct option_spec specs[] = {
        {"output", 'o', OPTION_TEXT, &dir, "DIR", "folder to write: a new or an empty one"},
        {"force", 0, OPTION_BOOL, &force, NULL,
         "write into a folder that holds something, and take away what `apply` would read there "
         "and the control plane lacks"},
        CLIENT_FLAGS(where),
        {0}};
    if (!command_options(a, "export -o DIR [flags]", specs, argc, argv, &rest, &code)) return code;
    if (!dir.len || rest.n) return fail("which folder? regent export -o DIR");
    if (!client_open(a, &where, &c)) return EXIT_FAILED;
    code = folder_begin(a, dir.ptr, force, &x.writer) ? export(&c, &x) : EXIT_FAILED;
    client_close(&c);
    if (!code)
        printf("Wrote %u templates, %u libraries, %u tenants to %s\n", x.n[SPEC_TEMPLATE],
               x.n[SPEC_LIBRARY], x.n[SPEC_TENANT], x.writer.dir);
    return code;
}
