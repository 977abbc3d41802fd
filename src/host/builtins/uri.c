/* uri.parse and uri.is_valid: addresses as Go's net/url reads them.
 *
 * in:   text (hostile).
 * out:  an object of the parts that are there; booleans.
 * owns: nothing.
 * Rules: RFC 3986 with Go's deviations; time is linear in the text. */
#include "host/builtins/support.h"
#include "host/builtins/table.h"
#include <arpa/inet.h>
#include <stdio.h>

enum part { PART_PATH, PART_HOST, PART_ZONE, PART_USER, PART_FRAGMENT };

struct uri {
    struct arena *arena;
    struct str scheme, host, path, raw_path, query, fragment;
    const char *error; /* why it is none; in the arena or static */
};

static bool refuse(struct uri *u, const char *what, struct str detail, const char *tail) {
    struct str quoted = go_quote(u->arena, detail);
    u->error = arena_printf(u->arena, NULL, "%s%.*s%s", what, STR_FMT(quoted), tail);
    if (!u->error) u->error = "out of memory";
    return false;
}

static bool fault(struct uri *u, const char *what) {
    u->error = what;
    return false;
}

static bool is_letter(char ch) { return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z'); }
static bool is_digit(char ch) { return ch >= '0' && ch <= '9'; }
static bool one_of(char ch, const char *set) { return ch && strchr(set, ch); }

/* Whether Go writes the byte as %XX in a path. */
static bool path_escapes(char ch) {
    return !is_letter(ch) && !is_digit(ch) && !one_of(ch, "-_.~$&+,/:;=@");
}

/* Whether the ASCII byte may stand in a host as it is. */
static bool host_allows(char ch) {
    return is_letter(ch) || is_digit(ch) || one_of(ch, "-_.~!$&'()*+,;=:[]<>\"");
}

static bool escape_allowed(enum part part, int high, int low) {
    if (part == PART_HOST) return high >= 8 || (high == 2 && low == 5);
    if (part != PART_ZONE) return true;
    uint8_t ch = (uint8_t)(high << 4 | low);
    return ch == '%' || ch == ' ' || (ch < 0x80 && host_allows((char)ch));
}

static bool unescape(struct uri *u, struct str s, enum part part, struct str *out) {
    char *bytes = arena_alloc(u->arena, s.len);
    size_t n = 0;
    bool in_host = part == PART_HOST || part == PART_ZONE;
    if (!bytes) return fault(u, "out of memory");
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i];
        if (ch == '%') {
            int high = i + 2 < s.len ? char_hex(s.ptr[i + 1]) : -1;
            int low = i + 2 < s.len ? char_hex(s.ptr[i + 2]) : -1;
            if (high < 0 || low < 0 || !escape_allowed(part, high, low))
                return refuse(u, "invalid URL escape ", str_head(str_from(s, i), 3), "");
            ch = (char)(high << 4 | low);
            i += 2;
        } else if (in_host && !((uint8_t)ch & 0x80) && !host_allows(ch)) {
            return refuse(u, "invalid character ", str_head(str_from(s, i), 1), " in host name");
        }
        bytes[n++] = ch;
    }
    *out = (struct str){bytes, n};
    return true;
}

/* "" or ":" and digits. */
static bool valid_port(struct str s) {
    if (s.len == 0) return true;
    if (s.ptr[0] != ':') return false;
    for (size_t i = 1; i < s.len; i++)
        if (!is_digit(s.ptr[i])) return false;
    return true;
}

static size_t last_of(struct str s, char ch) {
    const char *at = s.len ? memrchr(s.ptr, ch, s.len) : NULL;
    return at ? (size_t)(at - s.ptr) : s.len;
}

static size_t first_of(struct str s, char ch) {
    const char *at = s.len ? memchr(s.ptr, ch, s.len) : NULL;
    return at ? (size_t)(at - s.ptr) : s.len;
}

/* "[v6]" or "[v6%25zone]", and a port. */
static bool parse_literal(struct uri *u, struct str host) {
    size_t close = last_of(host, ']');
    if (close == host.len) return fault(u, "missing ']' in host");
    struct str port = str_from(host, close + 1), name = {host.ptr + 1, close - 1};
    struct str zone = {NULL, 0}, plain, plain_zone = {"", 0};
    if (!valid_port(port)) return refuse(u, "invalid port ", port, " after host");
    const char *percent = name.len ? memmem(name.ptr, name.len, "%25", 3) : NULL;
    if (percent) {
        zone = str_from(name, (size_t)(percent - name.ptr));
        name = str_head(name, (size_t)(percent - name.ptr));
    }
    if (!unescape(u, name, PART_HOST, &plain)) return false;
    if (percent && !unescape(u, zone, PART_ZONE, &plain_zone)) return false;
    char text[INET6_ADDRSTRLEN + 1];
    uint8_t address[16];
    snprintf(text, sizeof text, "%.*s", STR_FMT(plain));
    if (plain.len >= INET6_ADDRSTRLEN || inet_pton(AF_INET6, text, address) != 1)
        return fault(u, "invalid IP-literal");
    size_t len = 0;
    u->host.ptr = arena_printf(u->arena, &len, "[%.*s%.*s]%.*s", STR_FMT(plain),
                               STR_FMT(plain_zone), STR_FMT(port));
    u->host.len = len;
    return u->host.ptr ? true : fault(u, "out of memory");
}

static bool parse_host(struct uri *u, struct str host) {
    size_t open = first_of(host, '[');
    if (open == 0 && host.len) return parse_literal(u, host);
    if (open < host.len) return fault(u, "invalid IP-literal");
    struct str port = str_from(host, first_of(host, ':'));
    if (!valid_port(port)) return refuse(u, "invalid port ", port, " after host");
    return unescape(u, host, PART_HOST, &u->host);
}

static bool valid_userinfo(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if (!is_letter(s.ptr[i]) && !is_digit(s.ptr[i]) && !one_of(s.ptr[i], "-._:~!$&'()*+,;=%@"))
            return false;
    return true;
}

static bool parse_authority(struct uri *u, struct str s) {
    size_t at = last_of(s, '@');
    struct str ignored;
    if (at == s.len) return parse_host(u, s);
    if (!parse_host(u, str_from(s, at + 1))) return false;
    if (!valid_userinfo(str_head(s, at))) return fault(u, "net/url: invalid userinfo");
    return unescape(u, str_head(s, at), PART_USER, &ignored);
}

/* raw_path is what was written when Go would have escaped the path otherwise. */
static bool set_path(struct uri *u, struct str s) {
    static const char digits[] = "0123456789ABCDEF";
    if (!unescape(u, s, PART_PATH, &u->path)) return false;
    size_t at = 0;
    bool same = true;
    for (size_t i = 0; i < u->path.len && same; i++) {
        uint8_t ch = (uint8_t)u->path.ptr[i];
        char escaped[3] = {'%', digits[ch >> 4], digits[ch & 15]};
        size_t len = path_escapes((char)ch) ? 3 : 1;
        const char *want = len == 3 ? escaped : &u->path.ptr[i];
        same = at + len <= s.len && memcmp(s.ptr + at, want, len) == 0;
        at += len;
    }
    u->raw_path = same && at == s.len ? u->path : s;
    return true;
}

/* The scheme goes to u, lower-cased; *rest is what follows its colon. */
static bool take_scheme(struct uri *u, struct str s, struct str *rest) {
    *rest = s;
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i];
        if (is_letter(ch)) continue;
        if (is_digit(ch) || one_of(ch, "+-.")) {
            if (i == 0) return true;
            continue;
        }
        if (ch != ':') return true;
        if (i == 0) return fault(u, "missing protocol scheme");
        char *copy = arena_strndup(u->arena, s.ptr, i);
        if (!copy) return fault(u, "out of memory");
        for (size_t k = 0; k < i; k++)
            if (copy[k] >= 'A' && copy[k] <= 'Z') copy[k] = (char)(copy[k] + 'a' - 'A');
        u->scheme = (struct str){copy, i};
        *rest = str_from(s, i + 1);
        return true;
    }
    return true;
}

static bool has_control(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if ((uint8_t)s.ptr[i] < ' ' || s.ptr[i] == 0x7f) return true;
    return false;
}

/* All but the fragment. */
static bool parse_reference(struct uri *u, struct str s) {
    struct str rest;
    if (has_control(s)) return fault(u, "net/url: invalid control character in URL");
    if (str_is(s, "*")) return u->path = u->raw_path = s, true;
    if (!take_scheme(u, s, &rest)) return false;
    size_t question = first_of(rest, '?');
    u->query = str_from(rest, question + 1);
    rest = str_head(rest, question);
    if (!str_starts(rest, STR("/"))) {
        if (u->scheme.len) return true; /* opaque: mailto:user@example.com */
        if (first_of(rest, ':') < first_of(rest, '/'))
            return fault(u, "first path segment in URL cannot contain colon");
    }
    bool no_authority = !u->scheme.len && str_starts(rest, STR("///"));
    if (!no_authority && str_starts(rest, STR("//"))) {
        struct str authority = str_from(rest, 2);
        size_t slash = first_of(authority, '/');
        if (!parse_authority(u, str_head(authority, slash))) return false;
        rest = str_from(authority, slash);
    }
    return set_path(u, rest);
}

static bool parse_uri(struct uri *u, struct str s, struct str *blamed) {
    size_t hash = first_of(s, '#');
    *blamed = str_head(s, hash);
    if (!parse_reference(u, *blamed)) return false;
    *blamed = s;
    return hash == s.len || unescape(u, str_from(s, hash + 1), PART_FRAGMENT, &u->fragment);
}

static bool add_part(struct arena *a, struct json *object, const char *key, struct str s) {
    return s.len == 0 || object_add(a, object, str_of(key), text_value(a, s.ptr, s.len));
}

enum err hb_uri_parse(struct builtin_call *c) {
    struct uri u = {.arena = c->arena};
    struct str s, blamed;
    if (!builtin_string(c, 0, &s)) return OK;
    if (!parse_uri(&u, s, &blamed)) {
        struct str quoted = go_quote(c->arena, blamed);
        return builtin_fail(c, "parse %.*s: %s", STR_FMT(quoted), u.error);
    }
    struct str name = u.host, port = {NULL, 0};
    size_t colon = last_of(u.host, ':');
    if (colon < u.host.len && valid_port(str_from(u.host, colon))) {
        name = str_head(u.host, colon);
        port = str_from(u.host, colon + 1);
    }
    if (str_starts(name, STR("[")) && str_ends(name, STR("]")))
        name = (struct str){name.ptr + 1, name.len - 2};
    struct json *o = json_object(c->arena);
    bool ok = o && add_part(c->arena, o, "scheme", u.scheme) &&
              add_part(c->arena, o, "hostname", name) && add_part(c->arena, o, "port", port) &&
              add_part(c->arena, o, "path", u.path) &&
              add_part(c->arena, o, "raw_path", u.path.len ? u.raw_path : u.path) &&
              add_part(c->arena, o, "raw_query", u.query) &&
              add_part(c->arena, o, "fragment", u.fragment);
    return ok ? builtin_return(c, o) : ERR_MEMORY;
}

enum err hb_uri_is_valid(struct builtin_call *c) {
    struct uri u = {.arena = c->arena};
    struct str blamed;
    const struct json *v = c->args[0];
    return builtin_return_bool(c, v->kind == JSON_STRING && v->text.len > 0 &&
                                      parse_uri(&u, v->text, &blamed));
}
