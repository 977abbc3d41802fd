/* Fuzzes what the decision log does with text that nobody vouches for: results of mask policies, applied to an event; and
 * inputs and results on their way into a line. in: libFuzzer's bytes: up to the first zero the mask's result, behind it the
 * event's input. out: crashes only. owns: nothing. Build: tests/fuzz/run.sh. */
#include "base/json.h"
#include "edge/decision_log_private.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT = 1 << 16 };

static void law(bool holds) {
    if (!holds) abort();
}

struct str event_part(const struct event_record *e, enum event_part part) {
    (void)e, (void)part;
    return STR("");
}

static bool names_one_of_ours(const struct json *list) {
    for (uint32_t i = 0; i < list->n; i++) {
        struct str s = list->items[i]->text;
        if (!str_starts(s, STR("/input")) && !str_starts(s, STR("/result"))) return false;
    }
    return true;
}

/* Whatever the rules are: the rest of the event stays, hiding hides, and it can be printed and read. */
static void mask(struct arena *a, struct str rules_text, struct str input_text) {
    struct json *rules, *input, *again, *event = json_object(a);
    struct buf out;
    if (json_parse(a, rules_text, &rules, NULL)) return;
    if (json_parse(a, input_text, &input, NULL)) input = json_null(a);
    json_set(a, event, STR("decision_id"), json_string(a, STR("1")));
    json_set(a, event, STR("input"), input);
    json_set(a, event, STR("result"), json_bool(a, true));
    json_set(a, event, STR("custom"), json_object(a));
    enum err e = mask_apply(a, rules, event);
    law(!e || e == ERR_TYPE || e == ERR_MEMORY);
    if (e) {
        mask_hide(a, event, "why");
        law(!json_get_c(event, "input") && !json_get_c(event, "result"));
    } else {
        if (json_get_c(event, "erased")) law(names_one_of_ours(json_get_c(event, "erased")));
        if (json_get_c(event, "masked")) law(names_one_of_ours(json_get_c(event, "masked")));
    }
    law(str_is(json_get_c(event, "decision_id")->text, "1") && json_get_c(event, "custom"));
    buf_init(&out, 64 << 20);
    json_print(event, false, 0, &out);
    law(out.err || json_parse(a, buf_view(&out), &again, NULL) == OK);
    buf_deinit(&out);
}

/* What is taken for JSON is one value, the same one, on one line. */
static void compact(struct arena *a, struct str text) {
    struct json *was, *is;
    struct buf out;
    buf_init(&out, 1 << 20);
    if (event_compact(text, &out)) {
        law(json_parse(a, text, &was, NULL) == OK && json_parse(a, buf_view(&out), &is, NULL) == OK);
        law(json_equal(was, is) && out.len <= text.len && !memchr(out.ptr, '\n', out.len));
    } else {
        law(out.len == 0);
    }
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena a;
    if (size > MAX_INPUT) return 0;
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    struct str rules = {(const char *)data, zero ? (size_t)(zero - data) : size};
    struct str input = zero ? (struct str){(const char *)zero + 1, size - rules.len - 1} : STR("{\"a\":[1,{\"b\":2}],\"c\":3}");
    arena_init(&a, 64 << 20);
    compact(&a, rules);
    compact(&a, input);
    mask(&a, rules, input);
    arena_deinit(&a);
    return 0;
}
