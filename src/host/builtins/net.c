/* net.cidr_*: addresses and networks of IPv4 and IPv6.
 *
 * in:   text as Go's net.ParseCIDR and net.ParseIP take it.
 * out:  booleans, sets of addresses.
 * owns: nothing. */
#include "host/builtins/table.h"
#include <arpa/inet.h>

enum { EXPAND_MAX_BITS = 16, ADDRESS_MAX_CHARS = 64 };

struct address {
    uint8_t bytes[16];
    uint32_t n; /* 4 or 16 */
};
struct network {
    struct address first;
    uint32_t prefix;
};

/* Go refuses octets with leading zeros, as glibc's inet_pton does. IPv4 in IPv6 becomes IPv4 for an
 * address. */
static bool parse_address(struct str text, struct address *out) {
    char copy[ADDRESS_MAX_CHARS];
    if (text.len >= sizeof copy || (text.len && memchr(text.ptr, 0, text.len))) return false;
    memcpy(copy, text.ptr ? text.ptr : "", text.len);
    copy[text.len] = 0;
    out->n = memchr(copy, ':', text.len) ? 16 : 4;
    return inet_pton(out->n == 16 ? AF_INET6 : AF_INET, copy, out->bytes) == 1;
}

static bool is_mapped(const struct address *a) {
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return a->n == 16 && memcmp(a->bytes, prefix, sizeof prefix) == 0;
}

static void unmap(struct address *a) {
    if (!is_mapped(a)) return;
    memmove(a->bytes, a->bytes + 12, 4);
    a->n = 4;
}

static void mask(struct address *a, uint32_t prefix) {
    for (uint32_t i = 0; i < a->n; i++) {
        uint32_t bits = prefix > 8 * i ? prefix - 8 * i : 0;
        if (bits < 8) a->bytes[i] &= (uint8_t)(0xff00u >> bits);
    }
}

/* "address/prefix", the address masked. */
static bool parse_cidr(struct str text, struct network *out) {
    const char *slash = text.len ? memchr(text.ptr, '/', text.len) : NULL;
    if (!slash || !parse_address((struct str){text.ptr, (size_t)(slash - text.ptr)}, &out->first))
        return false;
    struct str digits = str_from(text, (size_t)(slash - text.ptr) + 1);
    if (digits.len == 0 || digits.len > 3) return false;
    out->prefix = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9') return false;
        out->prefix = 10 * out->prefix + (uint32_t)(digits.ptr[i] - '0');
    }
    if (out->prefix > 8 * out->first.n) return false;
    mask(&out->first, out->prefix);
    return true;
}

/* Go's IPNet.Contains: an IPv4-mapped address counts as IPv4, a network only when it is written so.
 */
static bool contains(const struct network *n, struct address a) {
    struct network net = *n;
    unmap(&a);
    if (is_mapped(&net.first)) {
        unmap(&net.first);
        if (net.prefix < 96) return false;
        net.prefix -= 96;
    }
    if (net.first.n != a.n) return false;
    mask(&a, net.prefix);
    return memcmp(a.bytes, net.first.bytes, a.n) == 0;
}

static struct address last_address(const struct network *n) {
    struct address a = n->first;
    for (uint32_t i = 0; i < a.n; i++) {
        uint32_t bits = n->prefix > 8 * i ? n->prefix - 8 * i : 0;
        if (bits < 8) a.bytes[i] |= (uint8_t)(0xffu >> bits);
    }
    return a;
}

static bool network_operand(struct builtin_call *c, uint32_t i, struct network *out) {
    struct str s;
    if (!builtin_string(c, i, &s)) return false;
    if (parse_cidr(s, out)) return true;
    if (builtin_fail(c, "invalid CIDR address: %.*s", STR_FMT(s)) != OK) c->error = "out of memory";
    return false;
}

static bool plain_v6(const struct network *n) { return n->first.n == 16 && !is_mapped(&n->first); }

static bool contains_network(const struct network *a, const struct network *b) {
    if (plain_v6(a) && plain_v6(b)) {
        struct address first = b->first;
        mask(&first, a->prefix);
        return a->prefix <= b->prefix && memcmp(first.bytes, a->first.bytes, 16) == 0;
    }
    return contains(a, b->first) && contains(a, last_address(b));
}

enum err hb_net_cidr_contains(struct builtin_call *c) {
    struct network a, b;
    struct address address;
    struct str text;
    if (!network_operand(c, 0, &a) || !builtin_string(c, 1, &text)) return OK;
    if (parse_address(text, &address)) return builtin_return_bool(c, contains(&a, address));
    if (!parse_cidr(text, &b))
        return builtin_fail(c, "not a valid textual representation of an IP address or CIDR: %.*s",
                            STR_FMT(text));
    return builtin_return_bool(c, contains_network(&a, &b));
}

enum err hb_net_cidr_overlap(struct builtin_call *c) { return hb_net_cidr_contains(c); }

enum err hb_net_cidr_intersects(struct builtin_call *c) {
    struct network a, b;
    if (!network_operand(c, 0, &a) || !network_operand(c, 1, &b)) return OK;
    return builtin_return_bool(c, contains(&a, b.first) || contains(&b, a.first));
}

enum err hb_net_cidr_is_valid(struct builtin_call *c) {
    struct network n;
    return builtin_return_bool(c,
                               c->args[0]->kind == JSON_STRING && parse_cidr(c->args[0]->text, &n));
}

static void next_address(struct address *a) {
    for (uint32_t i = a->n; i-- > 0;)
        if (++a->bytes[i]) return;
}

/* Go prints an IPv4-mapped address as IPv4. */
static struct json *address_text(struct arena *arena, struct address a) {
    char text[ADDRESS_MAX_CHARS];
    unmap(&a);
    if (!inet_ntop(a.n == 16 ? AF_INET6 : AF_INET, a.bytes, text, sizeof text)) return NULL;
    struct str s = {arena_strndup(arena, text, strlen(text)), strlen(text)};
    return s.ptr ? json_string(arena, s) : NULL;
}

/* A network of more addresses than 2^16 would not fit an evaluation's memory: an error, never a
 * part. */
enum err hb_net_cidr_expand(struct builtin_call *c) {
    struct network n;
    if (!network_operand(c, 0, &n)) return OK;
    uint32_t bits = 8 * n.first.n - n.prefix;
    if (bits > EXPAND_MAX_BITS)
        return builtin_fail(c, "network has more than %d addresses", 1 << EXPAND_MAX_BITS);
    struct json *list = json_array(c->arena);
    if (!list) return ERR_MEMORY;
    for (uint32_t i = 0; i < (uint32_t)1 << bits; i++) {
        struct json *text = address_text(c->arena, n.first);
        if (!text) return ERR_MEMORY;
        json_push(c->arena, list, text);
        next_address(&n.first);
    }
    c->result_is_set = true;
    return builtin_return(c, list);
}
