/* Flag reader. in: argv and a table. out: targets filled in. owns: nothing; lists lie in the arena. */
#include "cli/options.h"
#include <stdio.h>
#include <stdlib.h>

static const struct option_spec *find_long(const struct option_spec *s, struct str name) {
    for (; s->name; s++)
        if (str_is(name, s->name)) return s;
    return NULL;
}

static const struct option_spec *find_letter(const struct option_spec *s, char letter) {
    for (; s->name; s++)
        if (s->letter == letter) return s;
    return NULL;
}

static bool bad(struct arena *a, struct option_result *r, const char *what, struct str arg) {
    r->error = arena_printf(a, NULL, "%s%.*s", what, STR_FMT(arg));
    return false;
}

static bool store(struct arena *a, const struct option_spec *s, struct str v, struct option_result *r) {
    switch (s->kind) {
    case OPTION_BOOL:
        if (!str_is(v, "true") && !str_is(v, "false"))
            return bad(a, r, "a switch takes true or false, not ", v);
        *(bool *)s->target = str_is(v, "true");
        return true;
    case OPTION_TEXT: *(struct str *)s->target = v; return true;
    case OPTION_LIST: ARENA_PUSH(a, (struct str_list *)s->target, v); return true;
    case OPTION_NUMBER: {
        char *end;
        long long n = strtoll(v.ptr, &end, 10); /* v is a tail of an argv string: terminated */
        if (v.len == 0 || *end) return bad(a, r, "not a whole number: ", v);
        *(int64_t *)s->target = n;
        return true;
    }
    }
    return false;
}

static bool read_long(struct arena *a, const struct option_spec *specs, struct str arg, int *i, int argc,
                      char **argv, struct option_result *r) {
    const char *equals = memchr(arg.ptr, '=', arg.len);
    struct str name = equals ? str_head(arg, (size_t)(equals - arg.ptr)) : arg;
    if (str_is(name, "help")) return r->help = true;
    const struct option_spec *s = find_long(specs, name);
    if (!s) return bad(a, r, "unknown flag: --", name);
    if (equals) return store(a, s, str_from(arg, name.len + 1), r);
    if (s->kind == OPTION_BOOL) return store(a, s, STR("true"), r);
    if (*i + 1 >= argc) return bad(a, r, "flag needs an argument: --", name);
    return store(a, s, str_of(argv[++*i]), r);
}

static bool read_short(struct arena *a, const struct option_spec *specs, struct str arg, int *i, int argc,
                       char **argv, struct option_result *r) {
    for (size_t k = 0; k < arg.len; k++) {
        struct str letter = {arg.ptr + k, 1};
        const struct option_spec *s = find_letter(specs, arg.ptr[k]);
        if (!s && arg.ptr[k] == 'h') return r->help = true;
        if (!s) return bad(a, r, "unknown shorthand flag: -", letter);
        if (s->kind == OPTION_BOOL) {
            if (!store(a, s, STR("true"), r)) return false;
            continue;
        }
        if (k + 1 < arg.len) return store(a, s, str_from(arg, k + 1 + (arg.ptr[k + 1] == '=')), r);
        if (*i + 1 >= argc) return bad(a, r, "flag needs an argument: -", letter);
        return store(a, s, str_of(argv[++*i]), r);
    }
    return true;
}

bool options_read(struct arena *a, const struct option_spec *specs, int argc, char **argv,
                  struct option_result *out) {
    *out = (struct option_result){0};
    bool only_rest = false;
    for (int i = 0; i < argc; i++) {
        struct str arg = str_of(argv[i]);
        if (only_rest || arg.len < 2 || arg.ptr[0] != '-') {
            ARENA_PUSH(a, &out->rest, arg);
        } else if (str_is(arg, "--")) {
            only_rest = true;
        } else if (arg.ptr[1] == '-') {
            if (!read_long(a, specs, str_from(arg, 2), &i, argc, argv, out)) return false;
        } else if (!read_short(a, specs, str_from(arg, 1), &i, argc, argv, out)) {
            return false;
        }
    }
    return true;
}

void options_help(const struct option_spec *specs) {
    printf("Flags:\n");
    for (const struct option_spec *s = specs; s->name; s++) {
        char left[64];
        snprintf(left, sizeof left, "%s%c%s--%s %s", s->letter ? "-" : " ", s->letter ? s->letter : ' ',
                 s->letter ? ", " : "  ", s->name, s->value_name ? s->value_name : "");
        printf("  %-38s %s\n", left, s->help);
    }
}
