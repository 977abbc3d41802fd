/* regent replay: evaluates the decisions of a log again, and says which have become others.
 * in: logs (lines or arrays of events, gzip'ed or not), bundles. out: a summary and the differences. owns: the run. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/replay.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <zlib.h>

enum {
    LINE_BYTES = 1 << 30,
    EVENT_ARENA_BYTES = 2047 << 20,
    OUTPUT_BYTES = 1 << 30,
    READ_BYTES = 1 << 16,
    SHOWN = 100,
    SHOWN_BYTES = 200,
    PROGRESS_NS = 500000000
};

struct run {
    struct replay *replay;
    struct arena arena; /* of one event, or one batch */
    struct arena *all;  /* of the command */
    bool json, terminal;
    int64_t most;
    uint64_t events, unreadable, outcomes[REPLAY_OUTCOMES], told_ns;
    struct json *differences;
    struct buf text;
};

static struct str text_of(const struct json *object, const char *name) {
    const struct json *v = json_get_c(object, name);
    return v && v->kind == JSON_STRING ? v->text : STR("");
}

static struct json *kept_text(struct arena *a, struct str s) {
    return json_string(a, (struct str){arena_strndup(a, s.ptr, s.len), s.len});
}

static void tell_progress(struct run *r) {
    uint64_t now = clock_ns();
    if (!r->terminal || now - r->told_ns < PROGRESS_NS) return;
    r->told_ns = now;
    fprintf(stderr, "\r%llu events", (unsigned long long)r->events);
}

static void keep_difference(struct run *r, const struct json *event, const struct replay_difference *d) {
    static const char *const names[] = {"decision_id", "timestamp", "path"};
    struct json *o = json_object(r->all);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        json_set(r->all, o, str_of(names[i]), kept_text(r->all, text_of(event, names[i])));
    const struct json *custom = json_get_c(event, "custom");
    json_set(r->all, o, STR("tenant_id"), kept_text(r->all, text_of(custom, "tenant_id")));
    json_set(r->all, o, STR("version"), kept_text(r->all, text_of(custom, "version")));
    json_set(r->all, o, STR("logged"), kept_text(r->all, d->logged));
    json_set(r->all, o, STR("now"), kept_text(r->all, d->now));
    json_push(r->all, r->differences, o);
}

static void take_event(struct run *r, const struct json *event) {
    struct replay_difference d;
    enum replay_outcome o = replay_event(r->replay, &r->arena, event, &d);
    r->events++;
    r->outcomes[o]++;
    if (o == REPLAY_DIFFERENT && r->differences->n < r->most) keep_difference(r, event, &d);
    tell_progress(r);
}

/* A line, or a whole array. */
static void take_text(struct run *r, struct str text) {
    struct json *v;
    bool blank = true;
    for (size_t i = 0; i < text.len && blank; i++) blank = strchr(" \t\r\n", text.ptr[i]) != NULL;
    if (blank) return;
    arena_reset(&r->arena);
    if (json_parse(&r->arena, text, &v, NULL)) {
        r->unreadable++;
        return;
    }
    if (v->kind != JSON_ARRAY) {
        take_event(r, v);
        return;
    }
    for (uint32_t i = 0; i < v->n; i++) take_event(r, v->items[i]);
}

/* All whole lines of what has been read; an array may have line breaks in it, and is taken at the end. */
static void take_lines(struct run *r) {
    struct buf *b = &r->text;
    size_t done = 0;
    const uint8_t *end;
    if (b->len && b->ptr[0] == '[') return;
    while (done < b->len && (end = memchr(b->ptr + done, '\n', b->len - done))) {
        size_t next = (size_t)(end - b->ptr) + 1;
        take_text(r, (struct str){(const char *)b->ptr + done, next - done});
        done = next;
    }
    memmove(b->ptr, b->ptr + done, b->len - done);
    b->len -= done;
}

static bool read_log(struct run *r, const char *path) {
    gzFile f = str_is(str_of(path), "-") ? gzdopen(dup(STDIN_FILENO), "rb") : gzopen(path, "rb");
    int n = f ? 1 : -1;
    buf_clear(&r->text);
    while (n > 0) {
        uint8_t *at = buf_reserve(&r->text, READ_BYTES);
        if (!at || (n = gzread(f, at, READ_BYTES)) < 0) break;
        buf_commit(&r->text, (size_t)n);
        take_lines(r);
    }
    bool whole = f && n == 0;
    if (f && gzclose_r(f) != Z_OK) whole = false;
    if (whole) take_text(r, buf_view(&r->text));
    return whole;
}

/* ---- results ---- */

static void print_json(struct run *r) {
    struct arena *a = r->all;
    struct json *top = json_object(a), *skipped = json_object(a);
    struct buf out;
    json_set(a, top, STR("events"), json_int(a, (int64_t)r->events));
    json_set(a, top, STR("same"), json_int(a, (int64_t)r->outcomes[REPLAY_SAME]));
    json_set(a, top, STR("different"), json_int(a, (int64_t)r->outcomes[REPLAY_DIFFERENT]));
    for (int i = REPLAY_DIFFERENT + 1; i < REPLAY_OUTCOMES; i++)
        if (r->outcomes[i])
            json_set(a, skipped, str_of(replay_word((enum replay_outcome)i)), json_int(a, (int64_t)r->outcomes[i]));
    json_set(a, top, STR("skipped"), skipped);
    json_set(a, top, STR("unreadable"), json_int(a, (int64_t)r->unreadable));
    json_set(a, top, STR("differences"), r->differences);
    buf_init(&out, OUTPUT_BYTES);
    json_print(top, false, 2, &out);
    buf_byte(&out, '\n');
    print_buf(STDOUT_FILENO, &out);
    buf_deinit(&out);
}

static void print_answer(struct buf *out, struct str answer) {
    buf_str(out, answer.len ? str_head(answer, SHOWN_BYTES) : STR("undefined"));
    if (answer.len > SHOWN_BYTES) buf_cstr(out, "…");
}

static void print_pretty(struct run *r) {
    struct buf out;
    buf_init(&out, OUTPUT_BYTES);
    for (uint32_t i = 0; i < r->differences->n; i++) {
        const struct json *d = r->differences->items[i];
        buf_printf(&out, "%.*s %.*s %.*s: was ", STR_FMT(text_of(d, "decision_id")), STR_FMT(text_of(d, "tenant_id")),
                   STR_FMT(text_of(d, "path")));
        print_answer(&out, text_of(d, "logged"));
        buf_cstr(&out, ", is ");
        print_answer(&out, text_of(d, "now"));
        buf_byte(&out, '\n');
    }
    if (r->outcomes[REPLAY_DIFFERENT] > r->differences->n)
        buf_printf(&out, "… and %llu more\n",
                   (unsigned long long)(r->outcomes[REPLAY_DIFFERENT] - r->differences->n));
    buf_printf(&out, "%llu events: %llu same, %llu different", (unsigned long long)r->events,
               (unsigned long long)r->outcomes[REPLAY_SAME], (unsigned long long)r->outcomes[REPLAY_DIFFERENT]);
    for (int i = REPLAY_DIFFERENT + 1; i < REPLAY_OUTCOMES; i++)
        if (r->outcomes[i])
            buf_printf(&out, ", %llu skipped (%s)", (unsigned long long)r->outcomes[i],
                       replay_word((enum replay_outcome)i));
    if (r->unreadable) buf_printf(&out, ", %llu lines that are no JSON", (unsigned long long)r->unreadable);
    buf_byte(&out, '\n');
    print_buf(STDOUT_FILENO, &out);
    buf_deinit(&out);
}

struct replay_flags {
    struct str_list bundles, directories, stores;
    struct str format;
    int64_t most;
};

static bool add_all(struct run *r, const struct str_list *paths, uint32_t *bundles) {
    for (uint32_t i = 0; i < paths->n; i++) {
        if (replay_add(r->replay, paths->items[i].ptr, bundles) == OK) continue;
        fail("cannot read %s: %s", paths->items[i].ptr, strerror(errno));
        return false;
    }
    return true;
}

static int replay_all(struct run *r, const struct replay_flags *f, const struct str_list *logs) {
    uint32_t bundles = 0;
    if (replay_new(&r->replay)) return fail("cannot start: no memory");
    if (!add_all(r, &f->bundles, &bundles) || !add_all(r, &f->directories, &bundles) ||
        !add_all(r, &f->stores, &bundles))
        return EXIT_FAILED;
    if (!bundles) return fail("no bundle with a module: give --bundle FILE, --directory DIR or --store DIR");
    for (uint32_t i = 0; i < logs->n; i++)
        if (!read_log(r, logs->items[i].ptr)) return fail("cannot read %s: no file, or damaged", logs->items[i].ptr);
    if (r->terminal) fprintf(stderr, "\r\033[K");
    if (r->json)
        print_json(r);
    else
        print_pretty(r);
    return r->outcomes[REPLAY_DIFFERENT] ? EXIT_ERRORS : EXIT_OK;
}

int cmd_replay(struct arena *a, int argc, char **argv) {
    struct replay_flags f = {.most = SHOWN};
    struct str_list rest;
    int code;
    const struct option_spec specs[] = {
        {"bundle", 'b', OPTION_LIST, &f.bundles, "PATH", "bundle file, or folder of bundles (repeatable)"},
        {"directory", 'd', OPTION_LIST, &f.directories, "DIR",
         "an edge's folder: DIR/tenants/ID/bundle.tar.gz (repeatable)"},
        {"store", 0, OPTION_LIST, &f.stores, "DIR", "an edge's store of last known good versions (repeatable)"},
        {"format", 'f', OPTION_TEXT, &f.format, "FORMAT", "pretty (default) or json"},
        {"differences", 0, OPTION_NUMBER, &f.most, "N", "differences shown at most (default 100)"},
        {0},
    };
    if (!command_options(a, "replay <log>... [flags]", specs, argc, argv, &rest, &code)) return code;
    if (!rest.n) return fail("specify a decision log: a file, or - for standard input");
    if (f.format.len && !str_is(f.format, "json") && !str_is(f.format, "pretty"))
        return fail("invalid argument \"%s\" for \"-f, --format\" flag: must be one of {pretty,json}", f.format.ptr);
    struct run r = {.all = a, .json = str_is(f.format, "json"), .terminal = isatty(STDERR_FILENO), .most = f.most};
    arena_init(&r.arena, EVENT_ARENA_BYTES);
    buf_init(&r.text, LINE_BYTES);
    r.differences = json_array(a);
    code = replay_all(&r, &f, &rest);
    if (r.replay) replay_free(r.replay);
    arena_deinit(&r.arena);
    buf_deinit(&r.text);
    return code;
}
