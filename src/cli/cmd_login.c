/* regent login, regent logout: keep an address and a token in the file of profiles.
 * in: a URL; a token from the terminal (not shown) or standard input. out: a profile.
 * owns: the terminal's state while it asks. */
#include "cli/client.h"
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

enum { TOKEN_BYTES = 4096, NAME_BYTES = 256 };

/* One line of standard input, shown by nobody. */
static bool read_token(struct arena *a, const char *prompt, struct str *out) {
    char line[TOKEN_BYTES];
    struct termios before, quiet;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    sigset_t held, old;
    if (terminal) { /* an interrupt waits until the terminal is as it was */
        sigemptyset(&held);
        sigaddset(&held, SIGTERM);
        sigaddset(&held, SIGTSTP);
        sigprocmask(SIG_BLOCK, &held, &old);
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
        fprintf(stderr, "%s", prompt);
    }
    char *got = fgets(line, sizeof line, stdin);
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        sigprocmask(SIG_SETMASK, &old, NULL);
        fputc('\n', stderr);
    }
    size_t n = got ? strlen(line) : 0;
    while (n && strchr(" \t\r\n", line[n - 1])) n--;
    for (size_t i = 0; i < n; i++)
        if (line[i] <= ' ' || line[i] > '~') n = 0; /* Ctrl-C, or no token at all */
    *out = (struct str){arena_strndup(a, line, n), n};
    return n > 0 || (fail("no token was given"), false);
}

static const char *own_name(struct arena *a) {
    char host[NAME_BYTES] = "";
    const char *user = getenv("USER");
    if (gethostname(host, sizeof host - 1) != 0) host[0] = 0;
    return arena_printf(a, NULL, "%s@%s", user && *user ? user : "regent", host[0] ? host : "host");
}

/* The host of a URL: what a profile is called unless it is told. */
static struct str host_of(struct str url) {
    const char *slashes = memmem(url.ptr, url.len, "//", 2);
    if (slashes) url = str_from(url, (size_t)(slashes - url.ptr) + 2);
    const char *slash = memchr(url.ptr, '/', url.len);
    return slash ? str_head(url, (size_t)(slash - url.ptr)) : url;
}

/* The one-time token of the first start becomes a lasting one; others stay what they are. */
static int lasting_token(struct client *c, const char *name, struct profile *p) {
    struct client_call self = {.method = "GET", .path = "/v1/tokens/self"};
    int code = client_ask(c, &self);
    if (code) return code;
    const struct json *once = json_get_c(self.reply, "one_time");
    p->token_id = STR("");
    if (!once || once->kind != JSON_BOOL || !once->boolean) return EXIT_OK;
    struct json *body = json_object(c->arena);
    json_set(c->arena, body, STR("name"), json_string(c->arena, str_of(name)));
    json_set(c->arena, body, STR("role"), json_string(c->arena, client_text(self.reply, "role")));
    struct client_call made = {.method = "POST", .path = "/v1/tokens", .body = body};
    if ((code = client_ask(c, &made))) return code;
    p->token = client_text(made.reply, "token");
    p->token_id = client_text(made.reply, "id");
    if (p->token.len) return EXIT_OK;
    return fail("%s gave no token", c->url);
}

static bool keep(struct arena *a, struct profiles *all, const struct profile *p) {
    struct profile *old = profiles_find(all, p->name);
    if (old)
        *old = *p;
    else
        ARENA_PUSH(a, all, *p);
    all->current = p->name;
    return profiles_save(all);
}

int cmd_login(struct arena *a, int argc, char **argv) {
    struct client_options o = {0};
    struct str name = {0};
    struct str_list rest;
    struct profiles all;
    struct client c;
    int code;
    const struct option_spec specs[] = {
        {"profile", 0, OPTION_TEXT, &o.profile, "NAME", "name of the profile (default the host)"},
        {"name", 0, OPTION_TEXT, &name, "TEXT",
         "name of the token that is made (default USER@HOST)"},
        {"ca-file", 0, OPTION_TEXT, &o.ca_file, "FILE",
         "certificates (PEM) that the control plane's is checked against"},
        {"insecure-http", 0, OPTION_BOOL, &o.insecure_http, NULL,
         "allow http:// to other machines: anybody on the way reads the token"},
        {0}};
    if (!command_options(a, "login URL [flags]", specs, argc, argv, &rest, &code)) return code;
    if (rest.n != 1) return fail("which control plane? regent login URL");
    struct profile p = {.url = rest.items[0], .ca_file = o.ca_file};
    p.name = o.profile.len ? o.profile : host_of(p.url);
    if (p.ca_file.len) { /* the profile is used from other folders too */
        char *whole = realpath(p.ca_file.ptr, NULL);
        if (!whole) return fail("%s: no such file", p.ca_file.ptr);
        p.ca_file = str_of(arena_strndup(a, whole, strlen(whole)));
        free(whole);
    }
    if (!profiles_load(a, &all) || !read_token(a, "Token (it is not shown): ", &p.token))
        return EXIT_FAILED;
    if (!client_open_at(a, &o, p.url, p.token, &c)) return EXIT_FAILED;
    code = lasting_token(&c, name.len ? name.ptr : own_name(a), &p);
    if (!code && !keep(a, &all, &p)) code = EXIT_FAILED;
    if (!code)
        printf("Logged in to %s; profile \"%.*s\" in %s\n", c.url, STR_FMT(p.name), all.path);
    client_close(&c);
    return code;
}

/* Takes back the token that login made; a control plane that is gone does not hold anybody up. */
static void take_back(struct arena *a, const struct profile *p, bool insecure_http) {
    struct client c;
    struct client_options o = {.ca_file = p->ca_file, .insecure_http = insecure_http};
    if (!p->token_id.len || !client_open_at(a, &o, p->url, p->token, &c)) return;
    struct client_call q = {.method = "DELETE", .timeout_ms = 5000};
    q.path = arena_printf(a, NULL, "/v1/tokens/%s", client_escape(a, p->token_id));
    if (client_ask(&c, &q)) fprintf(stderr, "warning: the token may still be good\n");
    client_close(&c);
}

int cmd_logout(struct arena *a, int argc, char **argv) {
    struct str name = {0};
    struct str_list rest;
    struct profiles all;
    bool insecure = false;
    int code;
    const struct option_spec specs[] = {
        {"profile", 0, OPTION_TEXT, &name, "NAME", "profile to forget (default the current one)"},
        {"insecure-http", 0, OPTION_BOOL, &insecure, NULL, "allow http:// to other machines"},
        {0}};
    if (!command_options(a, "logout [flags]", specs, argc, argv, &rest, &code)) return code;
    if (rest.n) return fail("logout takes no arguments: --profile NAME says which");
    if (!profiles_load(a, &all)) return EXIT_FAILED;
    struct profile *p = profiles_find(&all, name.len ? name : all.current);
    if (!p) return fail("%s has no such profile", all.path);
    struct str gone = p->name;
    take_back(a, p, insecure);
    if (str_eq(all.current, gone)) all.current = STR("");
    memmove(p, p + 1, (size_t)(all.items + all.n - (p + 1)) * sizeof *p);
    all.n--;
    if (!profiles_save(&all)) return EXIT_FAILED;
    printf("Logged out: profile \"%.*s\" is forgotten\n", STR_FMT(gone));
    return EXIT_OK;
}
