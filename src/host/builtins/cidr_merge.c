/* net.cidr_merge: the smallest list of networks that covers the same addresses.
 *
 * in:   addresses and networks as text.
 * out:  a set of networks as text.
 * owns: nothing.
 * Rules: OPA's v1/topdown/cidr.go; IPv4 lies at ::ffff:0:0/96 while ranges are reckoned. */
#include "host/builtins/support.h"
#include "host/builtins/table.h"
#include <arpa/inet.h>
#include <stdlib.h>

enum { MERGE_MAX = 65536 };

typedef unsigned __int128 address; /* as a number */

struct range {
    address first, last;
    bool v4;
    struct str text; /* as Go prints the one network that it still is; NULL: merged */
};

static bool parse_ip(struct str s, bool *v4, address *out) {
    char text[64];
    uint8_t bytes[16] = {[10] = 0xff, [11] = 0xff};
    if (s.len >= sizeof text || (s.len && memchr(s.ptr, 0, s.len))) return false;
    memcpy(text, s.ptr ? s.ptr : "", s.len);
    text[s.len] = 0;
    *v4 = !strchr(text, ':');
    if (inet_pton(*v4 ? AF_INET : AF_INET6, text, *v4 ? bytes + 12 : bytes) != 1) return false;
    *out = 0;
    for (int i = 0; i < 16; i++) *out = *out << 8 | bytes[i];
    return true;
}

static struct str network_text(struct arena *a, address first, uint32_t prefix, bool v4) {
    uint8_t bytes[16];
    char text[64];
    size_t len = 0;
    for (int i = 15; i >= 0; i--, first >>= 8) bytes[i] = (uint8_t)first;
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? bytes + 12 : bytes, text, sizeof text))
        return (struct str){NULL, 0};
    char *copy = arena_printf(a, &len, "%s/%u", text, v4 ? prefix - 96 : prefix);
    return (struct str){copy, len};
}

/* Bits of the host part below a prefix of 0 to 128. */
static address host_mask(uint32_t prefix) { return prefix >= 128 ? 0 : ~(address)0 >> prefix; }

/* The prefix of a lone IPv4 address's class, as Go's DefaultMask. */
static uint32_t default_prefix(address a) {
    uint8_t top = (uint8_t)(a >> 24);
    return 96 + (top < 0x80 ? 8u : top < 0xc0 ? 16u : 24u);
}

static bool read_prefix(struct str s, uint32_t max, uint32_t *out) {
    if (!s.len || s.len > 3) return false;
    *out = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
        *out = 10 * *out + (uint32_t)(s.ptr[i] - '0');
    }
    return *out <= max;
}

static bool read_range(struct builtin_call *c, const struct json *v, struct range *out) {
    address a;
    uint32_t prefix;
    if (v->kind != JSON_STRING) return builtin_refuse(c, "element must be string");
    struct str s = v->text;
    const char *slash = s.len ? memchr(s.ptr, '/', s.len) : NULL;
    bool lone = !slash,
         ok = parse_ip(lone ? s : str_head(s, (size_t)(slash - s.ptr)), &out->v4, &a);
    bool mapped = ok && (a >> 32) == 0xffff;
    if (ok && lone && !mapped) return builtin_refuse(c, "IPv6 invalid: needs prefix length");
    if (ok && lone)
        prefix = default_prefix(a), out->v4 = true;
    else if (ok &&
             read_prefix(str_from(s, (size_t)(slash - s.ptr) + 1), out->v4 ? 32 : 128, &prefix))
        prefix += out->v4 ? 96 : 0;
    else
        return builtin_refuse(c, "invalid CIDR address: %.*s", STR_FMT(s));
    out->first = a & ~host_mask(prefix);
    out->last = a | host_mask(prefix);
    out->text = network_text(c->arena, lone ? a : out->first, prefix, out->v4);
    return out->text.ptr || builtin_no_memory(c);
}

static int by_last(const void *x, const void *y) {
    const struct range *a = x, *b = y;
    if (a->v4 != b->v4) return a->v4 ? -1 : 1; /* families never join */
    if (a->last != b->last) return a->last < b->last ? -1 : 1;
    return (a->first > b->first) - (a->first < b->first);
}

/* Joins what overlaps or touches, from the end: the ranges that are left stand at the front. */
static uint32_t join(struct range *r, uint32_t n) {
    uint32_t kept = n;
    for (uint32_t i = n; i-- > 1;) {
        struct range *low = &r[i - 1];
        const struct range *high = &r[i];
        bool touch = low->v4 == high->v4 && (high->first == 0 || high->first - 1 <= low->last);
        if (!touch) {
            r[--kept] = r[i];
            continue;
        }
        if (high->first < low->first) low->first = high->first;
        low->last = high->last;
        low->text.ptr = NULL;
    }
    if (n) r[--kept] = r[0];
    memmove(r, r + kept, (n - kept) * sizeof *r);
    return n - kept;
}

/* Largest aligned blocks from the first address on. */
static bool add_blocks(struct arena *a, const struct range *r, struct json *list) {
    address at = r->first;
    for (;;) {
        uint32_t prefix = 128, least = r->v4 ? 96 : 0;
        while (prefix > least && !(at & host_mask(prefix - 1)) &&
               (at | host_mask(prefix - 1)) <= r->last)
            prefix--;
        struct str text = network_text(a, at, prefix, r->v4);
        if (!text.ptr || !list_add(a, list, json_string(a, text))) return false;
        if ((at | host_mask(prefix)) >= r->last) return true;
        at = (at | host_mask(prefix)) + 1;
    }
}

enum err hb_net_cidr_merge(struct builtin_call *c) {
    const struct json *v = c->args[0];
    if (v->kind != JSON_ARRAY) return builtin_fail(c, "operand must be an array");
    if (v->n > MERGE_MAX) return builtin_fail(c, "more than %d networks", MERGE_MAX);
    struct range *ranges = ARENA_ARRAY(c->arena, struct range, v->n);
    struct json *list = json_array(c->arena);
    if (!ranges || !list) return ERR_MEMORY;
    for (uint32_t i = 0; i < v->n; i++)
        if (!read_range(c, v->items[i], &ranges[i])) return OK;
    if (v->n) qsort(ranges, v->n, sizeof *ranges, by_last);
    uint32_t n = join(ranges, v->n);
    for (uint32_t i = 0; i < n; i++) {
        bool ok = ranges[i].text.ptr
                      ? list_add(c->arena, list, json_string(c->arena, ranges[i].text))
                      : add_blocks(c->arena, &ranges[i], list);
        if (!ok) return ERR_MEMORY;
    }
    c->result_is_set = true;
    return builtin_return(c, list);
}

/* ---- net.cidr_contains_matches ---- */

enum { MATCHES_MAX = 1 << 18 };

/* Item k of an operand: its network or address, and what stands for it in the result. */
static bool match_item(struct builtin_call *c, uint32_t operand, uint32_t k, struct json **cidr,
                       struct json **index) {
    struct json *v = c->args[operand];
    struct arena *a = c->arena;
    *cidr = *index = v;
    if (v->kind == JSON_ARRAY || v->kind == JSON_OBJECT) {
        *cidr = v->items[k];
        *index = v->kind == JSON_OBJECT         ? json_string(a, v->keys[k])
                 : (c->set_args >> operand & 1) ? *cidr
                                                : json_int(a, k);
        if (!*index) return builtin_no_memory(c);
    }
    if ((*cidr)->kind == JSON_ARRAY && (*cidr)->n)
        *cidr = (*cidr)->items[0];
    else if ((*cidr)->kind != JSON_STRING)
        return builtin_refuse(c, "operand %u: element must be string or non-empty array",
                              operand + 1);
    return true;
}

static uint32_t match_count(const struct json *v) {
    return v->kind == JSON_ARRAY || v->kind == JSON_OBJECT ? v->n : v->kind == JSON_STRING;
}

static bool add_pair(struct arena *a, struct json *list, struct json *x, struct json *y) {
    struct json *pair = json_array(a);
    return list_add(a, pair, x) && list_add(a, pair, y) && list_add(a, list, pair);
}

enum err hb_net_cidr_contains_matches(struct builtin_call *c) {
    uint32_t n = match_count(c->args[0]), m = match_count(c->args[1]);
    struct json *list = json_array(c->arena), *operands[2], *x, *y;
    if ((uint64_t)n * m > MATCHES_MAX) return builtin_fail(c, "too many pairs of networks");
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < m; k++) {
            struct builtin_call one = {.arena = c->arena, .args = operands, .n_args = 2};
            if (!match_item(c, 0, i, &operands[0], &x) || !match_item(c, 1, k, &operands[1], &y))
                return OK;
            enum err err = hb_net_cidr_contains(&one);
            if (err) return err;
            if (!one.result) {
                c->error = one.error;
                c->type_error = one.type_error;
                return OK;
            }
            if (one.result->boolean && !add_pair(c->arena, list, x, y)) return ERR_MEMORY;
        }
    c->result_is_set = true;
    return builtin_return(c, list);
}
