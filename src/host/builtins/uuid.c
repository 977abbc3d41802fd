/* uuid.parse, uuid.rfc4122 and rand.intn.
 *
 * in:   text as google/uuid takes it; keys.
 * out:  the fields of a UUID; random values that are one evaluation's for a key.
 * owns: nothing.
 * Rules: RFC 4122 (layout, versions), RFC 7042 section 2.1 (bits of a MAC address). */
#include "host/builtins/support.h"
#include "host/builtins/table.h"
#include <stdio.h>
#include <strings.h>

/* 36 characters with dashes, the same in braces (any byte will do), behind "urn:uuid:", or 32
 * without dashes. */
static bool parse_uuid(struct str s, uint8_t out[16]) {
    bool dashes = s.len != 32;
    if (s.len == 36 + 9 && strncasecmp(s.ptr, "urn:uuid:", 9) == 0)
        s = str_from(s, 9);
    else if (s.len == 38)
        s = (struct str){s.ptr + 1, 36};
    if (s.len != (dashes ? 36u : 32u)) return false;
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if (dashes && (i == 4 || i == 6 || i == 8 || i == 10) && s.ptr[at++] != '-') return false;
        int high = char_hex(s.ptr[at]), low = char_hex(s.ptr[at + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    return true;
}

static const char *variant_name(const uint8_t u[16]) {
    if ((u[8] & 0xc0) == 0x80) return "RFC4122";
    if ((u[8] & 0xe0) == 0xc0) return "Microsoft";
    return (u[8] & 0xe0) == 0xe0 ? "Future" : "Reserved";
}

/* Nanoseconds since 1970 of a count of 100 ns since 1582-10-15. */
static int64_t uuid_ns(const uint8_t u[16]) {
    int64_t low = (int64_t)u[0] << 24 | u[1] << 16 | u[2] << 8 | u[3];
    int64_t ticks =
        low | (int64_t)(u[4] << 8 | u[5]) << 32 | (int64_t)((u[6] & 0x0f) << 8 | u[7]) << 48;
    return (int64_t)((uint64_t)(ticks - 122192928000000000) * 100);
}

static const char *domain_name(struct arena *a, uint8_t domain) {
    static const char *const names[] = {"Person", "Group", "Org"};
    return domain < 3 ? names[domain] : arena_printf(a, NULL, "Domain%u", domain);
}

static bool add_text(struct arena *a, struct json *o, const char *key, const char *text) {
    return text && object_add(a, o, str_of(key), text_value(a, text, strlen(text)));
}

static bool add_int(struct arena *a, struct json *o, const char *key, int64_t i) {
    return object_add(a, o, str_of(key), json_int(a, i));
}

/* What versions 1 and 2 tell beside. */
static bool add_time_and_node(struct arena *a, struct json *o, const uint8_t u[16]) {
    static const char *const mac[] = {"global:unicast", "global:multicast", "local:unicast",
                                      "local:multicast"};
    char node[18];
    snprintf(node, sizeof node, "%02x-%02x-%02x-%02x-%02x-%02x", u[10], u[11], u[12], u[13], u[14],
             u[15]);
    return add_int(a, o, "time", uuid_ns(u)) && add_text(a, o, "nodeid", node) &&
           add_text(a, o, "macvariables", mac[u[10] & 3]) &&
           add_int(a, o, "clocksequence", (u[8] & 0x3f) << 8 | u[9]);
}

enum err hb_uuid_parse(struct builtin_call *c) {
    struct arena *a = c->arena;
    struct str s;
    uint8_t u[16];
    if (!builtin_string(c, 0, &s) || !parse_uuid(s, u)) return OK;
    struct json *o = json_object(a);
    int version = u[6] >> 4;
    bool ok = o && add_int(a, o, "version", version) && add_text(a, o, "variant", variant_name(u));
    if (version == 1 || version == 2) ok = ok && add_time_and_node(a, o, u);
    if (version == 2) {
        int64_t id = (int64_t)u[0] << 24 | u[1] << 16 | u[2] << 8 | u[3];
        ok = ok && add_int(a, o, "id", id) && add_text(a, o, "domain", domain_name(a, u[9]));
    }
    return ok ? builtin_return(c, o) : ERR_MEMORY;
}

enum err hb_uuid_rfc4122(struct builtin_call *c) {
    uint8_t u[32];
    char text[37];
    size_t n = 0;
    struct buf key;
    buf_init(&key, 1 << 24);
    json_print(c->args[0], true, 0, &key);
    bool ok = key.err == OK && builtin_random(c, "uuid.rfc4122", buf_view(&key), u);
    buf_deinit(&key);
    if (!ok) return builtin_fail(c, "no randomness");
    u[6] = (u[6] & 0x0f) | 0x40;
    u[8] = (u[8] & 0x3f) | 0x80;
    for (size_t i = 0; i < 16; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%02x",
                              i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
    return builtin_return_string(c, (struct str){text, n});
}

/* An integer of the operand's size in [0, |n|); the bias of the remainder is below 2^-32. */
enum err hb_rand_intn(struct builtin_call *c) {
    struct str name;
    int64_t n;
    uint8_t r[32];
    uint64_t bits;
    if (!builtin_string(c, 0, &name)) return OK;
    if (!builtin_integer(c, 1, &n)) return OK;
    if (n < 0) n = -n;
    if (n == 0) return builtin_return(c, json_int(c->arena, 0));
    size_t len = 0;
    char *number = arena_printf(c->arena, &len, "%lld/", (long long)n);
    char *key = number ? arena_alloc(c->arena, len + name.len) : NULL;
    if (!key) return ERR_MEMORY;
    memcpy(key, number, len);
    if (name.len) memcpy(key + len, name.ptr, name.len);
    if (!builtin_random(c, "rand.intn", (struct str){key, len + name.len}, r))
        return builtin_fail(c, "no randomness");
    memcpy(&bits, r, sizeof bits);
    return builtin_return(c, json_int(c->arena, (int64_t)(bits % (uint64_t)n)));
}
