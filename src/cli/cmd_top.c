/* regent top: a live view of a node's tenants, from its /metrics and /v1/status.
 * in: a URL or Unix socket, keys. out: a screen, a table or JSON. owns: the terminal's state while
 * it runs, its fetcher. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/top.h"
#include "net/fetch.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

enum {
    WHY_BYTES = 512,
    SCREEN_BYTES = 16 << 20,
    STATUS_BYTES = 64 << 20,
    STATUS_EVERY = 10, /* readings: versions change seldom, and the page is long */
    FETCH_MS = 3000,
    DEFAULT_COLUMNS = 80, DEFAULT_LINES = 24, PLAIN_COLUMNS = 132
};

struct top {
    const char *base, *socket, *node; /* base: without a path */
    struct str ca_file;
    struct fetcher *fetcher;
    struct top_sample samples[2];
    uint32_t readings; /* the newest is samples[(readings - 1) % 2] */
    struct arena frame, status_arena;
    struct buf status_text;
    struct table bundles;
    bool has_bundles;
    enum top_order order;
    char why[WHY_BYTES];
};

/* ---- reading a node ---- */

static enum err get(struct top *t, const char *path, struct buf *out) {
    char url[1024];
    struct fetch_reply reply = {0};
    snprintf(url, sizeof url, "%s%s", t->base, path);
    struct fetch_request q = {.url = url, .connect_timeout_ms = FETCH_MS, .timeout_ms = FETCH_MS, .allow_plain = true,
                              .unix_socket = t->socket, .ca_file = t->ca_file.len ? t->ca_file.ptr : NULL};
    enum err e = fetch(t->fetcher, &q, out, &reply, t->why, sizeof t->why);
    if (e || reply.status == 200) return e;
    snprintf(t->why, sizeof t->why, "GET %s answered %d%s", path, reply.status,
             reply.status == 404 ? ": is it a listener with the doors metrics and status?" : "");
    return ERR_NOT_FOUND;
}

/* What is not there stays unknown. */
static void read_status(struct top *t) {
    struct json *root;
    t->has_bundles = false;
    buf_clear(&t->status_text);
    arena_reset(&t->status_arena);
    if (get(t, "/v1/status", &t->status_text) ||
        json_parse(&t->status_arena, buf_view(&t->status_text), &root, NULL))
        return;
    const struct json *bundles = json_get_c(json_get_c(root, "result"), "bundles");
    table_init(&t->bundles, &t->status_arena);
    for (uint32_t i = 0; bundles && bundles->kind == JSON_OBJECT && i < bundles->n; i++)
        table_set(&t->bundles, bundles->keys[i], bundles->items[i]);
    t->has_bundles = true;
}

/* A reading that fails takes nothing from the ones before. */
static enum err take_reading(struct top *t) {
    struct top_sample *s = &t->samples[t->readings % 2], fresh;
    top_sample_init(&fresh);
    enum err e = get(t, "/metrics", &fresh.text);
    if (!e && (e = top_sample_read(&fresh)))
        snprintf(t->why, sizeof t->why, "its /metrics is not a Regent node's");
    if (e) {
        top_sample_deinit(&fresh);
        return e;
    }
    fresh.taken_ns = clock_ns();
    top_sample_deinit(s);
    *s = fresh;
    s->by_id.arena = &s->arena; /* which moved here */
    if (t->readings++ % STATUS_EVERY == 0) read_status(t);
    t->why[0] = 0;
    return OK;
}

static enum err make_view(struct top *t, struct top_view *v) {
    const struct top_sample *now = &t->samples[(t->readings - 1) % 2];
    const struct top_sample *before = t->readings > 1 ? &t->samples[t->readings % 2] : NULL;
    arena_reset(&t->frame);
    return top_view_make(&t->frame, before, now, t->has_bundles ? &t->bundles : NULL, t->order, v);
}

/* ---- the terminal ---- */

struct terminal {
    struct termios before;
    bool has_keys;
    int signals;
};

static void put_out(const char *text) {
    for (size_t n = strlen(text); n;) {
        ssize_t w = write(STDOUT_FILENO, text, n);
        if (w <= 0) return;
        text += w;
        n -= (size_t)w;
    }
}

static void terminal_enter(struct terminal *t) {
    struct termios raw = t->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    if (t->has_keys) tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    put_out("\033[?1049h\033[?25l\033[2J"); /* a screen of our own, without a cursor */
}

static void terminal_leave(struct terminal *t) {
    put_out("\033[0m\033[?25h\033[?1049l");
    if (t->has_keys) tcsetattr(STDIN_FILENO, TCSANOW, &t->before);
}

static bool terminal_open(struct terminal *t) {
    static const int heeded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof heeded / sizeof *heeded; i++) sigaddset(&set, heeded[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    t->signals = signalfd(-1, &set, SFD_CLOEXEC);
    t->has_keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &t->before) == 0;
    if (t->signals < 0) return false;
    terminal_enter(t);
    return true;
}

/* false: it is over. */
static bool heed_signal(struct terminal *t) {
    struct signalfd_siginfo info;
    if (read(t->signals, &info, sizeof info) != sizeof info) return true;
    if (info.ssi_signo == SIGWINCH) return true;
    if (info.ssi_signo != SIGTSTP) return false;
    terminal_leave(t);
    raise(SIGSTOP); /* here it stands until it is continued */
    terminal_enter(t);
    return true;
}

static bool heed_key(struct top *t, struct top_screen *s) {
    static const char keys[TOP_ORDERS] = {'r', 'd', 'l', 'e', 'i', 'n'};
    char c;
    if (read(STDIN_FILENO, &c, 1) != 1) return false; /* nobody is there any more */
    for (int i = 0; i < TOP_ORDERS; i++)
        if (c == keys[i]) t->order = (enum top_order)i;
    if (c == 'p' || c == ' ') s->paused = !s->paused;
    return c != 'q' && c != 'Q';
}

static void measure(struct top_screen *s, uint32_t columns, uint32_t lines) {
    struct winsize w;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row;
    s->columns = known ? w.ws_col : columns;
    s->lines = known && lines ? w.ws_row : lines;
}

static void draw(struct top *t, struct top_screen *s, struct buf *out) {
    struct top_view v;
    measure(s, DEFAULT_COLUMNS, DEFAULT_LINES);
    s->order = t->order;
    s->problem = t->why[0] ? t->why : NULL;
    buf_clear(out);
    buf_cstr(out, "\033[H");
    if (make_view(t, &v)) return;
    top_print(&v, s, "\033[K\r\n", out);
    buf_cstr(out, "\033[K\033[J");
    buf_byte(out, 0);
    if (!out->err) put_out((const char *)out->ptr);
}

static void live(struct top *t, struct top_screen *s, struct terminal *terminal, int64_t interval_ms) {
    struct pollfd fds[2] = {{.fd = terminal->signals, .events = POLLIN},
                            {.fd = terminal->has_keys ? STDIN_FILENO : -1, .events = POLLIN}};
    struct buf out;
    buf_init(&out, SCREEN_BYTES);
    for (int64_t due = clock_ms() + interval_ms;;) {
        draw(t, s, &out);
        int64_t left = due - clock_ms();
        if (left > 0 && poll(fds, 2, (int)left) > 0) {
            if (fds[0].revents && !heed_signal(terminal)) break;
            if (fds[1].revents && !heed_key(t, s)) break;
            continue;
        }
        if (clock_ms() < due) continue;
        if (!s->paused && take_reading(t) && !t->why[0]) snprintf(t->why, sizeof t->why, "out of memory");
        due = clock_ms() + interval_ms;
    }
    buf_deinit(&out);
}

/* ---- the command ---- */

struct top_flags {
    bool once;
    struct str format, sort, interval, ca_file;
};

static bool read_flags(struct arena *a, struct top_flags *f, int argc, char **argv, struct str_list *rest, int *code) {
    const struct option_spec specs[] = {
        {"once", 0, OPTION_BOOL, &f->once, NULL, "print one table, of what happens within the interval, and end"},
        {"format", 'f', OPTION_TEXT, &f->format, "FORMAT", "with --once: text (default) or json"},
        {"interval", 0, OPTION_TEXT, &f->interval, "SECONDS", "between two readings (default 1)"},
        {"sort", 's', OPTION_TEXT, &f->sort, "ORDER", "rate (default), denied, p99, errors, limits or name"},
        {"ca-cert", 0, OPTION_TEXT, &f->ca_file, "FILE", "PEM file with who may vouch for an https:// node"},
        {0},
    };
    return command_options(a, "top [URL | HOST:PORT | unix:PATH] [flags]", specs, argc, argv, rest, code);
}

/* "127.0.0.1:8181", "http://node:8181/metrics", "unix:/run/regent/ops.sock", "unix:@regent". */
static bool set_node(struct arena *a, struct top *t, struct str given) {
    t->node = arena_strndup(a, given.ptr, given.len);
    if (str_starts(given, STR("unix:"))) {
        t->socket = t->node ? t->node + 5 : NULL;
        t->base = "http://localhost";
        return t->socket && t->socket[0];
    }
    if (str_ends(given, STR("/metrics"))) given.len -= 8;
    while (given.len && given.ptr[given.len - 1] == '/') given.len--;
    bool has_scheme = str_starts(given, STR("http://")) || str_starts(given, STR("https://"));
    t->base = arena_printf(a, NULL, "%s%.*s", has_scheme ? "" : "http://", STR_FMT(given));
    return t->node && t->base && given.len;
}

static int print_once(struct arena *a, struct top *t, bool json, int64_t interval_ms) {
    struct top_view v;
    struct top_screen s = {.order = t->order, .node = t->node,
                           .color = !json && isatty(STDOUT_FILENO) && !getenv("NO_COLOR")};
    struct timespec pause = {interval_ms / 1000, interval_ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
    if (take_reading(t)) return fail("%s: %s", t->node, t->why);
    if (make_view(t, &v)) return fail("%s", err_meaning(ERR_MEMORY));
    struct buf out;
    buf_init(&out, SCREEN_BYTES);
    measure(&s, PLAIN_COLUMNS, 0);
    if (json) top_print_json(a, &v, &out);
    else top_print(&v, &s, "\n", &out);
    print_buf(STDOUT_FILENO, &out);
    buf_deinit(&out);
    return EXIT_OK;
}

static int run_live(struct top *t, int64_t interval_ms) {
    struct terminal terminal = {0};
    struct top_screen s = {.node = t->node, .color = !getenv("NO_COLOR")};
    if (!terminal_open(&terminal)) return fail("cannot take signals");
    live(t, &s, &terminal, interval_ms);
    terminal_leave(&terminal);
    close(terminal.signals);
    return EXIT_OK;
}

static int run(struct arena *a, struct top *t, const struct top_flags *f, int64_t interval_ms) {
    bool json = str_is(f->format, "json");
    if (fetcher_new(&t->fetcher, t->why, sizeof t->why)) return fail("%s", t->why);
    if (take_reading(t)) return fail("%s: %s", t->node, t->why);
    return f->once ? print_once(a, t, json, interval_ms) : run_live(t, interval_ms);
}

/* NULL: all is well. */
static const char *flags_wrong(const struct top_flags *f, struct top *t, int64_t *interval_ms) {
    char *end = NULL;
    double seconds = f->interval.len ? strtod(f->interval.ptr, &end) : 1;
    if ((end && *end) || !(seconds >= 0.1 && seconds <= 3600)) return "--interval wants seconds, from 0.1 to 3600";
    *interval_ms = (int64_t)(seconds * 1000);
    if (f->format.len && !str_is(f->format, "text") && !str_is(f->format, "json"))
        return "--format wants text or json";
    if (str_is(f->format, "json") && !f->once) return "--format json wants --once";
    if (!f->once && !isatty(STDOUT_FILENO)) return "standard output is no terminal: use --once";
    if (!f->sort.len) return NULL;
    for (int i = 0; i < TOP_ORDERS; i++) {
        if (!str_is(f->sort, top_orders[i])) continue;
        t->order = (enum top_order)i;
        return NULL;
    }
    return "--sort wants rate, denied, p99, errors, limits or name";
}

int cmd_top(struct arena *a, int argc, char **argv) {
    struct top t = {0};
    struct top_flags f = {0};
    struct str_list rest = {0};
    int64_t interval_ms = 0;
    int code = EXIT_OK;
    if (!read_flags(a, &f, argc, argv, &rest, &code)) return code;
    const char *wrong = flags_wrong(&f, &t, &interval_ms);
    if (wrong) return fail("%s", wrong);
    if (rest.n > 1) return fail("top wants one node, not %u", rest.n);
    if (!set_node(a, &t, rest.n ? rest.items[0] : STR("127.0.0.1:8181"))) return fail("that is no node: %s", t.node);
    t.ca_file = f.ca_file;
    arena_init(&t.frame, SCREEN_BYTES * 4);
    arena_init(&t.status_arena, STATUS_BYTES * 4);
    buf_init(&t.status_text, STATUS_BYTES);
    for (int i = 0; i < 2; i++) top_sample_init(&t.samples[i]);
    code = run(a, &t, &f, interval_ms);
    for (int i = 0; i < 2; i++) top_sample_deinit(&t.samples[i]);
    fetcher_free(t.fetcher);
    buf_deinit(&t.status_text);
    arena_deinit(&t.status_arena);
    arena_deinit(&t.frame);
    return code;
}
