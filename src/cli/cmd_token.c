/* regent token: makes a token for the doors admin and distribution, and the line that lets it in.
 * in: a name, scopes. out: the token; its line, or a file with it. owns: nothing. */
#include "base/hash.h"
#include "cli/cli.h"
#include "edge/admin_tokens.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
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

int cmd_token(struct arena *a, int argc, char **argv) {
    struct str file = {NULL, 0};
    bool own = false;
    struct str_list words;
    int code;
    const struct option_spec specs[] = {
        {"file", 0, OPTION_TEXT, &file, "FILE", "append the line there and print the token alone"},
        {"stdin", 0, OPTION_BOOL, &own, NULL, "read the token from standard input instead of making one"},
        {0}};
    if (!command_options(a, "token NAME [SCOPE...] [flags]", specs, argc, argv, &words, &code)) return code;
    if (!words.n) return fail("a token needs a name, for the log: regent token NAME [SCOPE...]");
    char made[5 + 2 * TOKEN_RANDOM + 1], hash[65];
    struct buf given, line;
    buf_init(&given, TOKEN_BYTES);
    buf_init(&line, TOKEN_BYTES);
    if (own && !read_token(&given)) return fail("standard input holds no token: one line, up to %d bytes", TOKEN_BYTES);
    if (!own && !make_token(made)) return fail("no random numbers: %s", strerror(errno));
    struct str token = own ? buf_view(&given) : str_of(made);
    sha256_hex(token.ptr, token.len, hash);
    buf_printf(&line, "%.*s sha256:%s", STR_FMT(words.items[0]), hash);
    for (uint32_t i = 1; i < words.n; i++) buf_printf(&line, " %.*s", STR_FMT(words.items[i]));
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
