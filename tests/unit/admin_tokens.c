/* Files of tokens, whose token it is, and who guessed too often. in: texts. out: TAP. owns: an arena a test. */
#include "net/logins.h"
#include "edge/admin_tokens.h"
#include "edge/admin.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka needs those before it */
#include <cmocka.h>

#define HASH_OF_SECRET "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
#define ZEROES "0000000000000000000000000000000000000000000000000000000000000000"

struct problems {
    uint32_t n, row;
    const char *what;
};

static void note(void *ctx, uint32_t row, const char *what) {
    struct problems *p = ctx;
    p->n++;
    p->row = row;
    p->what = what;
}

static struct problems read_text(struct arena *a, const char *text, struct admin_tokens *out) {
    struct problems p = {0};
    *out = (struct admin_tokens){0};
    admin_tokens_read(a, str_of(text), out, note, &p);
    return p;
}

static void lines(void **state) {
    static const struct {
        const char *text;
        uint32_t tokens, problems, row;
    } rows[] = {
        {"", 0, 0, 0},
        {"\n\n  \n# ours\n", 0, 0, 0},
        {"ops sha256:" ZEROES, 1, 0, 0},
        {"ops sha256:" ZEROES "\r\n", 1, 0, 0},
        {"\tops\t sha256:" ZEROES "  read  pin ", 1, 0, 0},
        {"a sha256:" ZEROES "\nb sha256:" ZEROES " tenant:x tenant:free-* tenant:*-eu", 2, 0, 0},
        {"a sha256:" ZEROES "\na sha256:" ZEROES, 1, 1, 2},
        {"ops", 0, 1, 1},
        {"ops secret", 0, 1, 1},
        {"ops sha256:00", 0, 1, 1},
        {"ops sha256:" ZEROES "0", 0, 1, 1},
        {"ops sha1:" ZEROES, 0, 1, 1},
        {"ops sha256:x" ZEROES, 0, 1, 1},
        {"a:b sha256:" ZEROES, 0, 1, 1},
        {"\n\nops sha256:" ZEROES " write\nok sha256:" ZEROES, 1, 1, 3},
        {"ops sha256:" ZEROES " tenant:", 0, 1, 1},
        {"ops sha256:" ZEROES " tenant:a/b", 0, 1, 1},
        {"ops sha256:" ZEROES " tenant:a*b", 0, 1, 1},
        {"ops sha256:" ZEROES " tenant:.a", 0, 1, 1},
        {"sha256:" ZEROES, 0, 1, 1},
        {"\xff sha256:" ZEROES, 0, 1, 1},
    };
    struct arena a;
    (void)state;
    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct admin_tokens t;
        struct problems p = read_text(&a, rows[i].text, &t);
        if (t.n != rows[i].tokens || p.n != rows[i].problems || p.row != rows[i].row)
            fail_msg("row %zu: %u tokens, %u problems, the last in row %u (%s)", i, t.n, p.n, p.row, p.what);
    }
    arena_deinit(&a);
}

static void whose(void **state) {
    struct arena a;
    struct admin_tokens t;
    (void)state;
    arena_init(&a, 1 << 20);
    read_text(&a, "other sha256:" ZEROES "\nours sha256:" HASH_OF_SECRET " reload tenant:acme tenant:free-*\n", &t);
    const struct admin_token *found = admin_tokens_find(&t, STR("secret"));
    assert_non_null(found);
    assert_true(str_is(found->name, "ours"));
    assert_true(admin_token_may(found, ADMIN_RELOAD, STR("acme")));
    assert_true(admin_token_may(found, ADMIN_RELOAD, STR("free-7")));
    assert_true(admin_token_may(found, ADMIN_RELOAD, STR("")));
    assert_false(admin_token_may(found, ADMIN_RELOAD, STR("globex")));
    assert_false(admin_token_may(found, ADMIN_READ, STR("acme")));
    static const struct str none[] = {{"", 0}, {NULL, 0}, {"Secret", 6}, {"secret ", 7}, {"secret\0", 7},
                                      {HASH_OF_SECRET, 64}, {ZEROES, 64}};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) assert_null(admin_tokens_find(&t, none[i]));
    assert_null(admin_tokens_find(NULL, STR("secret")));
    read_text(&a, "all sha256:" HASH_OF_SECRET, &t);
    for (uint32_t i = 0; i < ADMIN_SCOPES; i++)
        assert_true(admin_token_may(admin_tokens_find(&t, STR("secret")), (enum admin_scope)(1u << i), STR("x")));
    arena_deinit(&a);
}

static void certificate_names(void **state) {
    struct str names[] = {STR("spiffe://example.com/ops"), STR("dns:ops.example.com"), STR("CN=ops,O=Example")}, got;
    struct name_list list = {.items = names, .n = 3, .cap = 3};
    struct http_peer p = {.tls = true, .verified = true};
    (void)state;
    assert_false(admin_certificate(&list, &p, &got));
    p.uris[p.n_uris++] = STR("spiffe://example.com/ops");
    assert_true(admin_certificate(&list, &p, &got));
    p.verified = false;
    assert_false(admin_certificate(&list, &p, &got));
    p = (struct http_peer){.tls = true, .verified = true, .subject = STR("CN=ops,O=Example")};
    assert_true(admin_certificate(&list, &p, &got) && str_is(got, "CN=ops,O=Example"));
    p = (struct http_peer){.tls = true, .verified = true, .dns_names = {STR("ops.example.com")}, .n_dns_names = 1};
    assert_true(admin_certificate(&list, &p, &got));
    p.dns_names[0] = STR("dns:ops.example.com");
    assert_false(admin_certificate(&list, &p, &got));
    p = (struct http_peer){.tls = true, .verified = true, .subject = STR("CN=ops,O=Example2")};
    assert_false(admin_certificate(&list, &p, &got));
    assert_false(admin_certificate(&list, NULL, &got));
}

static struct http_peer at(uint8_t last) {
    return (struct http_peer){.ip = {[10] = 0xff, [11] = 0xff, 10, 0, 0, last}};
}

static void guesses(void **state) {
    static struct logins l;
    struct http_peer mine = at(1), other = at(2);
    uint64_t now = 1000000000000u, second = 1000000000u;
    (void)state;
    l = (struct logins){.key = 12345};
    for (int i = 0; i < 10; i++) {
        assert_int_equal(logins_wait(&l, &mine, now), 0);
        logins_failed(&l, &mine, now);
    }
    uint32_t wait = logins_wait(&l, &mine, now);
    assert_in_range(wait, 1, 6);
    assert_int_equal(logins_wait(&l, &other, now), 0);
    assert_int_equal(logins_wait(&l, &mine, now + wait * second), 0);
    for (int i = 0; i < 1000; i++) logins_failed(&l, &mine, now);
    assert_in_range(logins_wait(&l, &mine, now), 1, 7); /* no longer than that, however often */
    assert_int_equal(logins_wait(&l, &mine, now + 3600 * second), 0);
}

static void bodies(void **state) {
    static const struct {
        const char *text;
        bool tenant, fine;
    } rows[] = {
        {"", false, true},
        {"", true, false},
        {"{}", false, true},
        {"{}", true, false},
        {"{\"version\":\"v1\"}", false, true},
        {"{\"version\":\"v1\",\"tenant_id\":\"a\"}", false, false},
        {"{\"version\":\"v1\",\"tenant_id\":\"a\",\"at_once\":true,\"allow_older\":false}", true, true},
        {"{\"tenant_id\":\"a\\u0000\"}", true, false},
        {"{\"tenant_id\":\"..\"}", true, false},
        {"{\"tenant_id\":\"a\",\"version\":\"\\n\"}", true, false},
        {"{\"tenant_id\":\"\xc3\xa4\"}", true, true},
        {"{\"tenant_id\":\"a\",\"tenant\":\"b\"}", true, false},
    };
    struct arena a;
    struct admin_body b;
    (void)state;
    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *wrong = admin_body_read(&a, str_of(rows[i].text), rows[i].tenant, &b);
        if (!wrong != rows[i].fine) fail_msg("row %zu: %s", i, wrong ? wrong : "accepted");
    }
    arena_deinit(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines), cmocka_unit_test(whose), cmocka_unit_test(certificate_names),
        cmocka_unit_test(guesses), cmocka_unit_test(bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
