/* regent token: makes a token for an edge's doors admin and distribution, and the line that lets it
 * in; with a role, has the control plane make one of its own. in: a name, scopes. out: the token;
 * its line, or a file with it. owns: nothing. */
#include "base/hash.h"
#include "cli/client.h"
#include "edge/admin_tokens.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOKEN_RANDOM = 32, TOKEN_BYTES = 4096 };

static bool make_token(char out[5 + 2 * TOKEN_RANDOM + 1]) {
    uint8_t random[TOKEN_RANDOM];
    if (getrandom(random, sizeof random, 0) != sizeof random) return false;
    memcpy(out, "rgnt_", 5);
    for (int i = 0; i < TOKEN_RANDOM; i++) snprintf(out + 5 + 2 * i, 3, "%02x", random[i]);
    return true;
}

/* A token of the user's own, without the end of its line. */
static bool read_token(struct buf *b) {
    if (buf_read_file(b, "-")) return false;
    while (b->len && (b->ptr[b->len - 1] == '\n' || b->ptr[b->len - 1] == '\r')) b->len--;
    return b->len > 0 && !memchr(b->ptr, '\n', b->len);
}

static void note_problem(void *ctx, uint32_t row, const char *what) {
    (void)row;
    *(const char **)ctx = what;
}

/* Appended by one write, so that no reader sees half a line. */
static enum err append(const char *path, struct str line) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return ERR_IO;
    bool fine = write(fd, line.ptr, line.len) == (ssize_t)line.len;
    return close(fd) == 0 && fine ? OK : ERR_IO;
}

/* ---- tokens of the control plane ---- */

struct wish {
    struct str role, revoke, expires, file;
    struct str_list tenants, labels;
};

/* "90s", "15m", "12h", "30d" as seconds; 0: it is no such time. */
static int64_t seconds_of(struct str text) {
    int64_t n = 0;
    if (text.len < 2 || text.len > 9) return 0;
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return 0;
        n = n * 10 + (text.ptr[i] - '0');
    }
    switch (text.ptr[text.len - 1]) {
    case 's': return n;
    case 'm': return n * 60;
    case 'h': return n * 3600;
    case 'd': return n * 86400;
    default: return 0;
    }
}

static bool scopes_of(struct arena *a, const struct wish *w, struct json *body) {
    struct json *scopes = json_object(a), *tenants = json_array(a), *labels = json_object(a);
    for (uint32_t i = 0; i < w->tenants.n; i++)
        json_push(a, tenants, json_string(a, w->tenants.items[i]));
    for (uint32_t i = 0; i < w->labels.n; i++) {
        struct str l = w->labels.items[i];
        const char *equals = l.len ? memchr(l.ptr, '=', l.len) : NULL;
        if (!equals || equals == l.ptr) return fail("--label takes KEY=VALUE"), false;
        struct str key = str_head(l, (size_t)(equals - l.ptr));
        json_set(a, labels, key, json_string(a, str_from(l, key.len + 1)));
    }
    if (tenants->n) json_set(a, scopes, STR("tenants"), tenants);
    if (labels->n) json_set(a, scopes, STR("labels"), labels);
    if (scopes->n) json_set(a, body, STR("scopes"), scopes);
    return true;
}

/* To a file for its owner only, or to standard output. */
static int give(struct arena *a, struct str file, struct str token) {
    size_t n;
    char *line = arena_printf(a, &n, "%.*s\n", STR_FMT(token));
    if (!file.len) return client_print(stdout, token), putchar('\n'), EXIT_OK;
    mode_t before = umask(077);
    enum err e = file_write_atomic(arena_strndup(a, file.ptr, file.len), (struct str){line, n});
    umask(before);
    return e ? fail("cannot write %.*s: %s; the token is lost: revoke it", STR_FMT(file),
                    strerror(errno))
             : EXIT_OK;
}

static int ask_control(struct arena *a, const struct client_options *where, const struct wish *w,
                       struct str name) {
    struct client c;
    struct json *body = json_object(a);
    struct client_call q = {.method = "POST", .path = "/v1/tokens", .body = body};
    int64_t seconds = w->expires.len ? seconds_of(w->expires) : 0;
    if (w->expires.len && !seconds) return fail("--expires takes a time such as 12h or 30d");
    json_set(a, body, STR("name"), json_string(a, name));
    json_set(a, body, STR("role"), json_string(a, w->role));
    if (seconds) json_set(a, body, STR("expires_in_s"), json_int(a, seconds));
    if (!scopes_of(a, w, body) || !client_open(a, where, &c)) return EXIT_FAILED;
    if (w->revoke.len) {
        q = (struct client_call){.method = "DELETE"};
        q.path = arena_printf(a, NULL, "/v1/tokens/%s", client_escape(a, w->revoke));
    }
    int code = client_ask(&c, &q);
    struct str token = client_text(q.reply, "token");
    if (!code && !w->revoke.len && !token.len) code = fail("%s gave no token", c.url);
    if (!code && !w->revoke.len) code = give(a, w->file, token);
    client_close(&c);
    return code;
}

/* A token for an edge's doors: words are its name and scopes. */
static int edge_token(struct arena *a, const struct str_list *words, struct str file, bool own) {
    char made[5 + 2 * TOKEN_RANDOM + 1], hash[65];
    struct buf given, line;
    buf_init(&given, TOKEN_BYTES);
    buf_init(&line, TOKEN_BYTES);
    if (own && !read_token(&given))
        return fail("standard input holds no token: one line, up to %d bytes", TOKEN_BYTES);
    if (!own && !make_token(made)) return fail("no random numbers: %s", strerror(errno));
    struct str token = own ? buf_view(&given) : str_of(made);
    sha256_hex(token.ptr, token.len, hash);
    buf_printf(&line, "%.*s sha256:%s", STR_FMT(words->items[0]), hash);
    for (uint32_t i = 1; i < words->n; i++) buf_printf(&line, " %.*s", STR_FMT(words->items[i]));
    struct admin_tokens tokens = {0};
    const char *wrong = line.err ? err_meaning(line.err) : NULL;
    if (!wrong) admin_tokens_read(a, buf_view(&line), &tokens, note_problem, &wrong);
    if (wrong) return fail("%s", wrong);
    buf_byte(&line, '\n');
    if (file.len && append(arena_strndup(a, file.ptr, file.len), buf_view(&line)))
        return fail("cannot write %.*s: %s", STR_FMT(file), strerror(errno));
    if (!own) printf("%.*s\n", STR_FMT(token));
    if (!file.len) printf("%.*s", STR_FMT(buf_view(&line)));
    buf_deinit(&given);
    buf_deinit(&line);
    return EXIT_OK;
}

int cmd_token(struct arena *a, int argc, char **argv) {
    struct str file = {NULL, 0};
    bool own = false;
    struct str_list words;
    struct client_options where = {0};
    struct wish wish = {0};
    int code;
    const struct option_spec specs[] = {
        {"file", 0, OPTION_TEXT, &file, "FILE",
         "append the line there and print the token alone; with --role: write the token there"},
        {"stdin", 0, OPTION_BOOL, &own, NULL,
         "read the token from standard input instead of making one"},
        {"role", 0, OPTION_TEXT, &wish.role, "ROLE",
         "of the control plane: admin, author, releaser, viewer or edge"},
        {"tenant", 0, OPTION_LIST, &wish.tenants, "ID",
         "with --role: for these tenants only, one * allowed; repeatable"},
        {"label", 0, OPTION_LIST, &wish.labels, "KEY=VALUE",
         "with --role: for tenants with these labels only; repeatable"},
        {"expires", 0, OPTION_TEXT, &wish.expires, "TIME",
         "with --role: such as 12h or 30d (default never)"},
        {"revoke", 0, OPTION_TEXT, &wish.revoke, "ID", "take a token of the control plane back"},
        CLIENT_FLAGS(where),
        {0}};
    if (!command_options(a, "token NAME [SCOPE...] [flags]", specs, argc, argv, &words, &code))
        return code;
    if (wish.revoke.len)
        return words.n ? fail("--revoke takes the token's id alone")
                       : ask_control(a, &where, &wish, STR(""));
    if (!words.n) return fail("a token needs a name, for the log: regent token NAME [SCOPE...]");
    if (wish.role.len && (words.n > 1 || own))
        return fail(
            "--role: scopes are --tenant and --label, and the control plane makes the token");
    wish.file = file;
    if (wish.role.len) return ask_control(a, &where, &wish, words.items[0]);
    if (wish.tenants.n || wish.labels.n || wish.expires.len)
        return fail("--tenant, --label and --expires go with --role");
    return edge_token(a, &words, file, own);
}
