/* Reads checks.json and holds a policy's answers against it.
 * in: checks.json, answers. out: the check that does not hold, as a sentence. owns: nothing. */
#include "bundle/checks.h"
#include <stdio.h>

enum { PRINTED_BYTES = 256 << 20 };

enum err checks_parse(struct arena *a, struct str text, const struct json **out, char *why,
                      size_t why_bytes) {
    struct json *list = NULL;
    struct json_error error = {0};
    enum err e = json_parse(a, text, &list, &error);
    if (e) {
        snprintf(why, why_bytes, "checks.json:%u:%u: %s", error.row, error.col,
                 error.message ? error.message : err_meaning(e));
        return e;
    }
    if (list->kind != JSON_ARRAY || list->n > CHECKS_MAX) {
        snprintf(why, why_bytes, "checks.json: it must be a list of at most %d checks", CHECKS_MAX);
        return ERR_INVALID;
    }
    *out = list;
    return OK;
}

static struct str printed(struct arena *a, const struct json *v) {
    struct buf b;
    jmp_buf *exhausted = a->exhausted; /* nothing may jump over the buffer */
    buf_init(&b, PRINTED_BYTES);
    json_print(v, false, 0, &b);
    a->exhausted = NULL;
    char *copy = b.err ? NULL : arena_strndup(a, (const char *)b.ptr, b.len);
    a->exhausted = exhausted;
    struct str s = {copy, copy ? b.len : 0};
    buf_deinit(&b);
    return s;
}

const char *check_wrong(const struct json *v) {
    struct str entrypoint = STR("");
    if (v->kind != JSON_OBJECT)
        return "it must be an object such as {\"entrypoint\": \"a/b\", \"input\": {}, \"expect\": "
               "true}";
    for (uint32_t k = 0; k < v->n; k++) {
        bool text = v->items[k]->kind == JSON_STRING;
        if (str_is(v->keys[k], "entrypoint") && text)
            entrypoint = v->items[k]->text;
        else if (!(str_is(v->keys[k], "note") && text) && !str_is(v->keys[k], "input") &&
                 !str_is(v->keys[k], "expect"))
            return "it has `entrypoint` and `note` (text), `input` and `expect`, and nothing else";
    }
    while (entrypoint.len && entrypoint.ptr[0] == '/') entrypoint = str_from(entrypoint, 1);
    return entrypoint.len ? NULL
                          : "`entrypoint` is missing: the decision's path, such as authz/allow";
}

/* What is wrong with it as a check; NULL: nothing. */
static const char *check_read(struct arena *a, const struct json *v, struct check *out) {
    const struct json *input = json_get_c(v, "input"), *expect = json_get_c(v, "expect");
    const struct json *note = json_get_c(v, "note");
    const char *wrong = check_wrong(v);
    *out = (struct check){0};
    if (wrong) return wrong;
    out->entrypoint = json_get_c(v, "entrypoint")->text;
    while (out->entrypoint.ptr[0] == '/') out->entrypoint = str_from(out->entrypoint, 1);
    if (note) out->note = note->text;
    if (input) out->input = printed(a, input);
    if (expect) out->expect = printed(a, expect);
    return (input && !out->input.ptr) || (expect && !out->expect.ptr) ? "it is too large" : NULL;
}

void check_show(const struct check_answer *answer, char *out, size_t bytes) {
    const char *more = answer->json.len > CHECKS_SHOWN_BYTES ? "…" : "", *message = answer->message;
    struct str head = str_head(answer->json, CHECKS_SHOWN_BYTES);
    while (head.len < answer->json.len && head.len &&
           ((unsigned char)head.ptr[head.len] & 0xc0) == 0x80)
        head.len--;
    switch (answer->kind) {
    case CHECK_VALUE: snprintf(out, bytes, "%.*s%s", STR_FMT(head), more); break;
    case CHECK_UNDEFINED: snprintf(out, bytes, "undefined"); break;
    case CHECK_FAILED:
        snprintf(out, bytes, "an error (%s%s%.*s)", err_word(answer->err),
                 message && message[0] ? ": " : "", CHECKS_SHOWN_BYTES, message ? message : "");
        break;
    case CHECK_NO_ENTRYPOINT: snprintf(out, bytes, "no such entrypoint"); break;
    case CHECK_NOTHING: snprintf(out, bytes, "nothing"); break;
    }
}

bool check_same(struct arena *scratch, struct str a, struct str b) {
    struct json *x, *y;
    if (str_eq(a, b)) return true;
    return json_parse(scratch, a, &x, NULL) == OK && json_parse(scratch, b, &y, NULL) == OK &&
           json_equal(x, y);
}

static enum err differs(uint32_t i, const struct check *c, const struct check_answer *answer,
                        char *why, size_t why_bytes) {
    char got[2 * CHECKS_SHOWN_BYTES + 64], want[2 * CHECKS_SHOWN_BYTES + 64],
        note[CHECKS_SHOWN_BYTES + 8] = "";
    struct check_answer wanted = {.kind = c->expect.ptr ? CHECK_VALUE : CHECK_UNDEFINED,
                                  .json = c->expect};
    check_show(answer, got, sizeof got);
    check_show(&wanted, want, sizeof want);
    if (c->note.len)
        snprintf(note, sizeof note, " (%.*s)", STR_FMT(str_head(c->note, CHECKS_SHOWN_BYTES)));
    snprintf(why, why_bytes, "checks.json: check %u%s: %.*s is %s, not %s", i + 1, note,
             STR_FMT(str_head(c->entrypoint, CHECKS_SHOWN_BYTES)), got, want);
    return ERR_INVALID;
}

enum err check_hold(struct arena *a, uint32_t i, const struct json *item,
                    const struct check_asker *asker, char *why, size_t why_bytes) {
    struct check c;
    struct check_answer answer = {.kind = CHECK_NOTHING};
    const char *wrong = check_read(a, item, &c);
    if (wrong) {
        snprintf(why, why_bytes, "checks.json: check %u: %s", i + 1, wrong);
        return ERR_INVALID;
    }
    asker->ask(asker->ctx, &c, &answer);
    bool holds = c.expect.ptr ? answer.kind == CHECK_VALUE &&
                                    check_same(asker->scratch, answer.json, c.expect)
                              : answer.kind == CHECK_UNDEFINED;
    return holds ? OK : differs(i, &c, &answer, why, why_bytes);
}
