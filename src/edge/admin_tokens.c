/* Bearer tokens of administrators, by their hashes.
 * in: a file of hashes, tokens as clients send them. out: who it is. owns: nothing. */
#include "edge/admin_tokens.h"
#include <openssl/crypto.h>
#include <stdio.h>

const char *const admin_scopes[] = {"read", "reload", "rollback", "pin", "distribute"};

/* ---- the file ---- */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static struct str next_word(struct str *rest) {
    size_t n = 0;
    while (rest->len && is_blank(*rest->ptr)) *rest = str_from(*rest, 1);
    while (n < rest->len && !is_blank(rest->ptr[n])) n++;
    struct str word = str_head(*rest, n);
    *rest = str_from(*rest, n);
    return word;
}

bool admin_name_valid(struct str s) {
    if (!s.len || s.len > ADMIN_NAME_BYTES || *s.ptr == '#') return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || s.ptr[i] == ':') return false;
    return true;
}

static bool read_hash(struct str word, uint8_t out[32]) {
    if (!str_starts(word, STR("sha256:")) || word.len != 7 + 64) return false;
    for (size_t i = 0; i < 32; i++) {
        int high = char_hex(word.ptr[7 + 2 * i]), low = char_hex(word.ptr[8 + 2 * i]);
        if (high < 0 || low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool valid_pattern(struct str s) {
    struct str fixed = s;
    if (fixed.len && fixed.ptr[fixed.len - 1] == '*')
        fixed.len--;
    else if (fixed.len && *fixed.ptr == '*')
        fixed = str_from(fixed, 1);
    return s.len && s.len < 128 && *s.ptr != '.' && !(fixed.len && memchr(fixed.ptr, '*', fixed.len)) &&
           !memchr(s.ptr, '/', s.len);
}

/* NULL, or what is wrong with a word behind the hash. */
static const char *read_right(struct arena *a, struct str word, struct admin_token *t) {
    for (uint32_t i = 0; i < ADMIN_SCOPES; i++)
        if (str_is(word, admin_scopes[i])) return t->scopes |= 1u << i, NULL;
    if (!str_starts(word, STR("tenant:")))
        return "no such scope: there are read, reload, rollback, pin, distribute and tenant:PATTERN";
    if (!valid_pattern(str_from(word, 7))) return "tenant: wants a tenant's id, with one * at its start or end at most";
    ARENA_PUSH(a, &t->tenants, str_from(word, 7));
    return NULL;
}

static const char *read_line(struct arena *a, struct str line, struct admin_tokens *out) {
    struct admin_token t = {.name = next_word(&line)};
    const char *wrong = NULL;
    if (!admin_name_valid(t.name)) return "a line is NAME sha256:HEX [scope...]; the name is printable, without colon";
    if (!read_hash(next_word(&line), t.hash))
        return "a line is NAME sha256:HEX [scope...], with 64 hexadecimal digits: `regent token NAME` makes one";
    for (struct str word; !wrong && (word = next_word(&line)).len;) wrong = read_right(a, word, &t);
    if (wrong) return wrong;
    for (uint32_t i = 0; i < out->n; i++)
        if (str_eq(out->items[i].name, t.name)) return "a name that stands above already";
    if (out->n == ADMIN_TOKENS) return "more than 1000 tokens";
    if (!t.scopes) t.scopes = (1u << ADMIN_SCOPES) - 1;
    ARENA_PUSH(a, out, t);
    return NULL;
}

void admin_tokens_read(struct arena *a, struct str text, struct admin_tokens *out,
                       void (*problem)(void *ctx, uint32_t row, const char *what), void *ctx) {
    for (uint32_t row = 1; text.len; row++) {
        const char *end = memchr(text.ptr, '\n', text.len);
        struct str line = end ? str_head(text, (size_t)(end - text.ptr)) : text;
        struct str rest = line, first = next_word(&rest);
        text = str_from(text, line.len + (end != NULL));
        const char *wrong = first.len && *first.ptr != '#' ? read_line(a, line, out) : NULL;
        if (wrong) problem(ctx, row, wrong);
    }
}

/* ---- who it is ---- */

const struct admin_token *admin_tokens_find(const struct admin_tokens *t, struct str token) {
    const struct admin_token *found = NULL;
    uint8_t hash[32];
    if (!t) return NULL;
    sha256(token.ptr ? token.ptr : "", token.len, hash);
    for (uint32_t i = 0; i < t->n; i++)
        if (CRYPTO_memcmp(t->items[i].hash, hash, sizeof hash) == 0) found = &t->items[i];
    return found;
}

bool admin_token_may(const struct admin_token *t, enum admin_scope scope, struct str tenant) {
    return (t->scopes & scope) && (!tenant.len || name_list_has(&t->tenants, tenant));
}

static bool has_name(const struct http_peer *p, struct str name) {
    for (uint32_t i = 0; i < p->n_uris; i++)
        if (str_eq(p->uris[i], name)) return true;
    for (uint32_t i = 0; i < p->n_dns_names && str_starts(name, STR("dns:")); i++)
        if (str_eq(p->dns_names[i], str_from(name, 4))) return true;
    return p->subject.len && str_eq(p->subject, name);
}

bool admin_certificate(const struct name_list *names, const struct http_peer *peer, struct str *name) {
    if (!peer || !peer->tls || !peer->verified) return false;
    for (uint32_t i = 0; i < names->n; i++)
        if (has_name(peer, names->items[i])) return *name = names->items[i], true;
    return false;
}
