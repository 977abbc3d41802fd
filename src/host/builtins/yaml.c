/* yaml.marshal, yaml.unmarshal and yaml.is_valid.
 *
 * in:   values; text of policies (hostile), read through libyaml.
 * out:  YAML text as OPA writes it, values.
 * owns: the text buffer while it writes.
 * Rules: block style, two spaces, keys sorted, sequences indented below their key; scalars plain
 * where YAML 1.1 reads them back as the same string. */
#include "host/builtins/support.h"
#include "host/builtins/table.h"
#include <stdlib.h>
#include <yaml.h>

/* Reading takes time that grows with the square of a mapping's keys, and aliases multiply it: both
 * are bounded here. */
enum {
    YAML_TEXT_MAX = 1 << 16,
    YAML_ALIAS_TEXT_MAX = 1 << 13,
    YAML_OUT_MAX = 1 << 24,
    YAML_DEPTH_MAX = 500
};

static bool word_in(struct str s, const char *const *words) {
    for (; *words; words++)
        if (str_is(s, *words)) return true;
    return false;
}

/* What a plain scalar of this text would not be read back as a string. */
static bool is_resolved(struct str s) {
    static const char *const words[] = {
        "",      "~",    "null", "Null",  "NULL",  "true", "True", "TRUE", "false", "False",
        "FALSE", "yes",  "Yes",  "YES",   "no",    "No",   "NO",   "on",   "On",    "ON",
        "off",   "Off",  "OFF",  "y",     "Y",     "n",    "N",    ".nan", ".NaN",  ".NAN",
        ".inf",  ".Inf", ".INF", "+.inf", "-.inf", "<<",   NULL};
    if (word_in(s, words)) return true;
    size_t i = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+');
    bool digit = false;
    if (i >= s.len || !strchr("0123456789.", s.ptr[i]) || !s.ptr[i]) return false;
    for (; i < s.len; i++) {
        if (!s.ptr[i] || !strchr("0123456789abcdefABCDEFxXoO._:+-TZt ", s.ptr[i])) return false;
        digit = digit || (s.ptr[i] >= '0' && s.ptr[i] <= '9');
    }
    return digit; /* a number, a date or a near miss: quotes never hurt */
}

static bool printable(struct str s, bool *breaks) {
    bool ok = true;
    *breaks = false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t ch = (uint8_t)s.ptr[i];
        if (ch == '\n')
            *breaks = true;
        else if (ch < 0x20 || ch == 0x7f)
            ok = false;
    }
    return ok;
}

/* Whether the text may stand without quotes, on one line. */
static bool is_plain(struct str s) {
    if (!s.len || s.ptr[0] == ' ' || s.ptr[s.len - 1] == ' ') return false;
    if (strchr("#,[]{}&*!|>'\"%@`", s.ptr[0])) return false;
    if (strchr("-?:", s.ptr[0]) && (s.len == 1 || s.ptr[1] == ' ')) return false;
    if (str_starts(s, STR("---")) || str_starts(s, STR("..."))) return false;
    for (size_t i = 0; i < s.len; i++) {
        bool last = i + 1 == s.len;
        if (s.ptr[i] == ':' && (last || s.ptr[i + 1] == ' ')) return false;
        if (s.ptr[i] == '#' && i > 0 && s.ptr[i - 1] == ' ') return false;
    }
    return true;
}

static void write_single_quoted(struct str s, struct buf *out) {
    buf_byte(out, '\'');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\'') buf_byte(out, '\'');
        buf_byte(out, (uint8_t)s.ptr[i]);
    }
    buf_byte(out, '\'');
}

static void write_double_quoted(struct str s, struct buf *out) {
    static const char names[] = "\aa\bb\tt\nn\vv\ff\rr\x1b"
                                "e\"\"\\\\";
    buf_byte(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        uint8_t ch = (uint8_t)s.ptr[i];
        const char *name = NULL;
        for (const char *p = names; *p && !name; p += 2)
            if (*p == s.ptr[i]) name = p + 1;
        if (name)
            buf_byte(out, '\\'), buf_byte(out, (uint8_t)*name);
        else if (ch == 0)
            buf_cstr(out, "\\0");
        else if (ch < 0x20 || ch == 0x7f)
            buf_printf(out, "\\x%02X", ch);
        else
            buf_byte(out, ch);
    }
    buf_byte(out, '"');
}

static void indent(struct buf *out, uint32_t depth) {
    for (uint32_t i = 0; i < depth; i++) buf_cstr(out, "  ");
}

/* "|", "|-" or "|+" by the breaks at the end, each line indented. */
static void write_literal(struct str s, uint32_t depth, struct buf *out) {
    size_t breaks = 0;
    while (breaks < s.len && s.ptr[s.len - 1 - breaks] == '\n') breaks++;
    buf_byte(out, '|');
    if (s.ptr[0] == ' ' || s.ptr[0] == '\n') buf_byte(out, '2');
    if (breaks != 1) buf_byte(out, breaks ? '+' : '-');
    struct str lines = str_head(s, breaks ? s.len - 1 : s.len);
    bool at_start = true;
    buf_byte(out, '\n');
    for (size_t i = 0; i < lines.len; i++) {
        if (at_start && lines.ptr[i] != '\n') indent(out, depth);
        buf_byte(out, (uint8_t)lines.ptr[i]);
        at_start = lines.ptr[i] == '\n';
    }
}

static void write_string(struct str s, uint32_t depth, bool key, struct buf *out) {
    bool breaks;
    if (!printable(s, &breaks) || is_resolved(s))
        write_double_quoted(s, out);
    else if (breaks && (key || str_is(s, "\n")))
        write_double_quoted(s, out);
    else if (breaks)
        write_literal(s, depth, out);
    else if (is_plain(s))
        buf_str(out, s);
    else
        write_single_quoted(s, out);
}

/* Integers as they are, all else as Go prints a float64. */
static void write_number(const struct json *v, struct buf *out) {
    char text[32];
    int64_t i;
    double d;
    if (json_int64(v, &i))
        buf_str(out, v->text);
    else if (number_double(v, &d))
        buf_put(out, text, format_double(d, 6, text));
    else
        buf_cstr(out, v->text.ptr[0] == '-' ? "-.inf" : ".inf");
}

static void write_value(const struct json *v, uint32_t depth, struct buf *out);

static bool is_nested(const struct json *v) {
    return (v->kind == JSON_ARRAY || v->kind == JSON_OBJECT) && v->n > 0;
}

struct member {
    struct str key;
    const struct json *value;
};

static int by_key(const void *a, const void *b) {
    return str_cmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

static void write_members(const struct json *v, uint32_t depth, struct buf *out) {
    struct member *m = malloc(v->n * sizeof *m);
    if (!m) {
        out->err = ERR_MEMORY;
        return;
    }
    for (uint32_t i = 0; i < v->n; i++) m[i] = (struct member){v->keys[i], v->items[i]};
    qsort(m, v->n, sizeof *m, by_key);
    for (uint32_t i = 0; i < v->n && !out->err; i++) {
        if (i) indent(out, depth);
        write_string(m[i].key, depth, true, out);
        buf_byte(out, ':');
        buf_byte(out, is_nested(m[i].value) ? '\n' : ' ');
        if (is_nested(m[i].value)) indent(out, depth + 1);
        write_value(m[i].value, depth + 1, out);
    }
    free(m);
}

/* The first line stands where the writer is; every line ends with a break. */
static void write_value(const struct json *v, uint32_t depth, struct buf *out) {
    if (depth > YAML_DEPTH_MAX && out->err == OK) out->err = ERR_LIMIT;
    if (out->err) return;
    if (v->kind == JSON_OBJECT && v->n) {
        write_members(v, depth, out);
        return;
    }
    if (v->kind == JSON_ARRAY && v->n) {
        for (uint32_t i = 0; i < v->n && !out->err; i++) {
            if (i) indent(out, depth);
            buf_cstr(out, "- ");
            write_value(v->items[i], depth + 1, out);
        }
        return;
    }
    switch (v->kind) {
    case JSON_NULL: buf_cstr(out, "null"); break;
    case JSON_BOOL: buf_cstr(out, v->boolean ? "true" : "false"); break;
    case JSON_NUMBER: write_number(v, out); break;
    case JSON_STRING: write_string(v->text, depth ? depth : 1, false, out); break;
    case JSON_ARRAY: buf_cstr(out, "[]"); break;
    case JSON_OBJECT: buf_cstr(out, "{}"); break;
    }
    buf_byte(out, '\n');
}

enum err hb_yaml_marshal(struct builtin_call *c) {
    struct buf text;
    buf_init(&text, YAML_OUT_MAX);
    write_value(c->args[0], 0, &text);
    enum err err = text.err == OK          ? builtin_return_string(c, buf_view(&text))
                   : text.err == ERR_LIMIT ? builtin_fail(c, "the value is too large or too deep")
                                           : text.err;
    buf_deinit(&text);
    return err;
}

/* Go's package counts the lines of grammar errors from 0 and leaves line 0 out. */
static bool refuse_yaml(struct builtin_call *c, const struct json_error *e) {
    struct str why = str_of(e->message ? e->message : "cannot be read");
    if (str_starts(why, STR("yaml: "))) why = str_from(why, 6);
    uint32_t line = e->row - (e->row && str_starts(why, STR("did not find expected")));
    return line ? builtin_refuse(c, "yaml: line %u: %.*s", line, STR_FMT(why))
                : builtin_refuse(c, "yaml: %.*s", STR_FMT(why));
}

/* Reads all documents of the text, though only the first one counts; how many aliases they have. */
static bool scan_yaml(struct builtin_call *c, struct str text, uint32_t *aliases) {
    yaml_parser_t parser;
    yaml_event_t event;
    bool ok = true, more = true;
    int32_t depth = 0;
    *aliases = 0;
    if (!yaml_parser_initialize(&parser)) return builtin_no_memory(c);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text.ptr ? text.ptr : ""),
                                 text.len);
    while (ok && more && (ok = yaml_parser_parse(&parser, &event))) {
        more = event.type != YAML_STREAM_END_EVENT;
        *aliases += event.type == YAML_ALIAS_EVENT;
        depth += event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_MAPPING_START_EVENT;
        depth -= event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
        more = more && depth <= YAML_DEPTH_MAX;
        yaml_event_delete(&event);
    }
    if (!ok) {
        struct json_error e = {.row = (uint32_t)parser.problem_mark.line + 1,
                               .message = parser.problem};
        refuse_yaml(c, &e);
    }
    yaml_parser_delete(&parser);
    if (depth > YAML_DEPTH_MAX) return builtin_refuse(c, "YAML text nested too deep");
    return ok;
}

static enum err read_yaml(struct builtin_call *c, struct str text, struct json **out) {
    struct json_error e = {0};
    uint32_t aliases;
    if (text.len > YAML_TEXT_MAX) {
        builtin_refuse(c, "YAML text of more than %d bytes", YAML_TEXT_MAX);
        return ERR_SYNTAX;
    }
    if (!scan_yaml(c, text, &aliases)) return ERR_SYNTAX;
    if (aliases && text.len > YAML_ALIAS_TEXT_MAX) {
        builtin_refuse(c, "YAML text with aliases of more than %d bytes", YAML_ALIAS_TEXT_MAX);
        return ERR_SYNTAX;
    }
    enum err err = yaml_parse(c->arena, text, out, &e);
    if (err == OK || err == ERR_MEMORY) return err;
    refuse_yaml(c, &e);
    return err;
}

enum err hb_yaml_unmarshal(struct builtin_call *c) {
    struct str text;
    struct json *v = NULL;
    if (!builtin_string(c, 0, &text)) return OK;
    enum err err = read_yaml(c, text, &v);
    if (err == ERR_MEMORY) return err;
    return err == OK ? builtin_return(c, v) : OK;
}

enum err hb_yaml_is_valid(struct builtin_call *c) {
    struct json *v = NULL;
    if (c->args[0]->kind != JSON_STRING) return builtin_return_bool(c, false);
    enum err err = read_yaml(c, c->args[0]->text, &v);
    c->error = NULL;
    return err == ERR_MEMORY ? err : builtin_return_bool(c, err == OK);
}
