/* Who may open the doors admin and distribution, and where those doors may be.
 * in: a configuration that was read, files of tokens. out: tokens, problems and warnings. owns: a file's bytes while it
 * reads them. */
#include "edge/admin_tokens.h"
#include "edge/config_keys.h"
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

struct tokens_file {
    struct config_reader *r;
    const char *path;
};

static void problem(void *ctx, uint32_t row, const char *what) {
    struct tokens_file *f = ctx;
    struct loc loc = {.file = str_of(f->path), .row = row, .col = 1};
    config_problem(f->r, loc, "%s", what);
}

/* The file's text in the arena; ptr NULL after a problem. */
static struct str text_of(struct config_reader *r, const char *path, struct loc loc) {
    struct buf b;
    struct str text = {NULL, 0};
    jmp_buf *exhausted = r->a->exhausted; /* nothing may jump over the file's bytes */
    r->a->exhausted = NULL;
    buf_init(&b, ADMIN_FILE_BYTES);
    enum err e = buf_read_file(&b, path);
    if (!e) text = (struct str){arena_strndup(r->a, b.ptr ? (char *)b.ptr : "", b.len), b.len};
    buf_deinit(&b);
    r->a->exhausted = exhausted;
    if (e) config_problem(r, loc, "cannot read %.256s: %s", path, e == ERR_IO ? strerror(errno) : err_meaning(e));
    return text;
}

/* Whoever could write into it could make itself an administrator. */
static void check_writers(struct config_reader *r, const char *path, struct loc loc) {
    struct stat st;
    if (stat(path, &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)))
        config_problem(r, loc, "others than its owner may write into %.256s: chmod go-w it", path);
}

static struct admin_tokens *read_tokens(struct config_reader *r, const char *path, struct loc loc) {
    struct tokens_file f = {r, path};
    if (!path || !config_file_check(r, path, false, loc)) return NULL;
    check_writers(r, path, loc);
    struct str text = text_of(r, path, loc);
    struct admin_tokens *t = ARENA_NEW(r->a, struct admin_tokens);
    if (!text.ptr || !t) return NULL;
    admin_tokens_read(r->a, text, t, problem, &f);
    if (!t->n) config_warning(r, loc, "%.256s holds no token", path);
    return t;
}

static struct loc place(const struct json *tree, const char *section) {
    const struct json *s = json_get_c(tree, section), *file = json_get_c(s, "tokens_file");
    return file ? yaml_place(file) : yaml_place(s ? s : tree);
}

static void check_certificates(struct config_reader *r, const struct json *tree) {
    const struct json *list = json_get_c(json_get_c(tree, "admin"), "certificates");
    for (uint32_t i = 0; list && list->kind == JSON_ARRAY && i < list->n; i++) {
        struct str s = list->items[i]->text;
        bool fine = str_starts(s, STR("dns:")) ? s.len > 4
                                               : s.len && (memmem(s.ptr, s.len, "://", 3) || memchr(s.ptr, '=', s.len));
        if (list->items[i]->kind == JSON_STRING && !fine)
            config_problem(
                r, yaml_place(list->items[i]),
                "want a URI such as spiffe://example.com/ops, dns:NAME, or a subject such as CN=ops,O=Example");
    }
}

static bool is_local(const struct edge_listener *l) {
    return strncmp(l->address, "unix:", 5) == 0 || strncmp(l->address, "127.", 4) == 0 ||
           strncmp(l->address, "[::1]", 5) == 0;
}

static void check_listener(struct config_reader *r, const struct edge_listener *l) {
    const struct edge_config *c = r->c;
    bool admin = l->doors & DOOR_ADMIN, bare = !is_local(l) && !l->certificate;
    if (admin && l->doors & (DOOR_REST | DOOR_EXT_AUTHZ | DOOR_HTTP_AUTHZ))
        config_problem(
            r, l->loc,
            "the door `admin` wants a listener without doors that decide (rest, ext_authz, http_authz): give it "
            "an address of its own");
    if (admin && !c->admin_tokens_file && !c->admin_certificates.n)
        config_problem(r, l->loc,
                       "nobody could open the door `admin`: give `admin.tokens_file` or `admin.certificates`");
    if (admin && !c->admin_tokens_file && !l->client_ca)
        config_problem(r, l->loc, "nobody could open the door `admin` here: `admin.certificates` needs tls.client_ca");
    if (admin && bare)
        config_warning(r, l->loc, "whoever listens on the way to %s gets to know the tokens of admin: give it tls",
                       l->address);
    if (l->doors & DOOR_DISTRIBUTION && !is_local(l) && !l->require_client && !c->distribution_tokens_file)
        config_warning(
            r, l->loc,
            "whoever reaches %s may read the policies of %s: give it tls.client_ca or distribution.tokens_file",
            l->address, l->tenants.n ? "its tenants" : "all tenants");
}

void config_admin_check(struct config_reader *r, const struct json *tree) {
    struct edge_config *c = r->c;
    c->admin_tokens = read_tokens(r, c->admin_tokens_file, place(tree, "admin"));
    c->distribution_tokens = read_tokens(r, c->distribution_tokens_file, place(tree, "distribution"));
    check_certificates(r, tree);
    for (uint32_t i = 0; i < c->listeners.n; i++)
        if (c->listeners.items[i].address) check_listener(r, &c->listeners.items[i]);
}
