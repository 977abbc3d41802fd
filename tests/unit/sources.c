/* What sources write and read: URLs, lists, changes, credentials, waiting times, ids that nobody has, who is due next. */
#include "edge/source_work.h"
#include "net/aws.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *url(const struct edge_source *s, const char *tenant, const char *version) {
    static char out[SOURCE_URL_BYTES];
    return source_url(s, str_of(tenant), str_of(version), "bundle.tar.gz", out) ? out : "too long";
}

static void urls(void **state) {
    (void)state;
    struct edge_source s = {.kind = SOURCE_HTTP, .url = "https://cdn.example.com/eu"};
    assert_string_equal(url(&s, "acme", ""), "https://cdn.example.com/eu/tenants/acme/bundle.tar.gz");
    assert_string_equal(url(&s, "a b/../?#", "v&1"), "https://cdn.example.com/eu/tenants/a%20b%2F..%2F%3F%23/versions/v%261/bundle.tar.gz");
    s = (struct edge_source){.kind = SOURCE_S3, .url = "https://s3.eu-central-1.amazonaws.com", .bucket = STR("b"), .prefix = STR("x y/z/")};
    assert_string_equal(url(&s, "ü", ""), "https://b.s3.eu-central-1.amazonaws.com/x%20y/z/tenants/%C3%BC/bundle.tar.gz");
    s.path_style = true;
    assert_string_equal(url(&s, "a", ""), "https://s3.eu-central-1.amazonaws.com/b/x%20y/z/tenants/a/bundle.tar.gz");
    s = (struct edge_source){.kind = SOURCE_OPA, .url = "http://x", .path = STR("b/{tenant}.tar.gz?x={y}")};
    assert_string_equal(url(&s, "a/b", "ignored"), "http://x/b/a%2Fb.tar.gz?x={y}");
    s = (struct edge_source){.kind = SOURCE_CONTROL, .url = "https://c"};
    assert_string_equal(url(&s, "a", "1"), "https://c/v1/edges/tenants/a?version=1");
    char long_id[SOURCE_URL_BYTES + 1];
    memset(long_id, 'a', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = 0;
    assert_string_equal(url(&s, long_id, ""), "too long");
}

static void list_urls(void **state) {
    (void)state;
    char out[SOURCE_URL_BYTES];
    struct edge_source s = {.kind = SOURCE_S3, .url = "http://127.0.0.1:9", .bucket = STR("b"), .prefix = STR("p/"), .path_style = true};
    assert_true(source_list_url(&s, STR("a+b/="), out));
    assert_string_equal(out, "http://127.0.0.1:9/b/?continuation-token=a%2Bb%2F%3D&delimiter=%2F&encoding-type=url&list-type=2&prefix=p%2Ftenants%2F");
    s = (struct edge_source){.kind = SOURCE_HTTP, .url = "https://x"};
    assert_true(source_list_url(&s, STR(""), out));
    assert_string_equal(out, "https://x/tenants/index.json");
}

static void servers(void **state) {
    (void)state;
    char host[64], out[SOURCE_URL_BYTES];
    struct edge_source s = {.kind = SOURCE_CONTROL, .url = "https://C.example.com:8443/base"};
    static const char *const hosts[][2] = {{"https://A.example.com:1/x", "a.example.com"}, {"http://[::1]:80/", "[::1]"}, {"file:///etc", ""},
                                           {"https://good.com@evil.com/", "evil.com"},     {"https://evil.com?@good.com", "evil.com"}, {"nothing", ""}};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        source_host(hosts[i][0], host, sizeof host);
        assert_string_equal(host, hosts[i][1]);
    }
    assert_true(source_same_server("https://a/x", "https://A/y?z"));
    assert_false(source_same_server("https://a/x", "http://a/x"));
    assert_false(source_same_server("https://a/x", "https://a:444/x"));
    assert_false(source_same_server("https://a/x", "https://a.evil/x"));
    assert_true(source_resolve(&s, STR("/blobs/1"), out));
    assert_string_equal(out, "https://C.example.com:8443/blobs/1");
    assert_true(source_resolve(&s, STR("https://cdn/1"), out));
    assert_false(source_resolve(&s, STR("//evil/1"), out));
    assert_false(source_resolve(&s, STR("file:///etc/passwd"), out));
    assert_false(source_resolve(&s, STR("blobs"), out));
    assert_false(source_resolve(&s, STR("/a\r\nb"), out));
}

static void ids(void **state) {
    (void)state;
    static const char *const bad[] = {"", ".", "..", ".x", "a/b", "a\nb", "\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(source_tenant_valid(str_of(bad[i])));
    char id[129];
    memset(id, 'a', sizeof id);
    assert_true(source_tenant_valid((struct str){id, 127}));
    assert_false(source_tenant_valid((struct str){id, 128}));
}

static void lists(void **state) {
    (void)state;
    struct arena a;
    char why[256] = "";
    arena_init(&a, 1 << 20);
    struct source_ids l = {0};
    assert_int_equal(source_read_index(&a, STR("[\"a\", \"../b\", 7, \"c d\"]"), &l, why, sizeof why), OK);
    assert_int_equal(l.n, 2);
    assert_int_equal(l.refused, 2);
    assert_true(str_is(l.items[1], "c d"));
    l = (struct source_ids){0};
    assert_int_equal(source_read_index(&a, STR("{\"tenants\": [\"a\"]}"), &l, why, sizeof why), OK);
    assert_int_equal(l.n, 1);
    assert_int_equal(source_read_index(&a, STR("{\"a\": 1}"), &l, why, sizeof why), ERR_SYNTAX);
    assert_int_equal(source_read_index(&a, STR("[\"a\""), &l, why, sizeof why), ERR_SYNTAX);
    arena_deinit(&a);
}

#define S3_PAGE(more)                                                                                                                  \
    "<?xml version=\"1.0\"?><ListBucketResult><Prefix>p%2Ftenants%2F</Prefix>" more                                                       \
    "<CommonPrefixes><Prefix>p%2Ftenants%2Fa%20b%2F</Prefix></CommonPrefixes><CommonPrefixes><Prefix>p%2Fother%2F</Prefix></CommonPrefixes>" \
    "<CommonPrefixes><Prefix>p/tenants/x&amp;y/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>p%2Ftenants%2F..%2F</Prefix></CommonPrefixes>" \
    "<CommonPrefixes><Prefix>p%2Ftenants%2"

static void s3_lists(void **state) {
    (void)state;
    struct arena a;
    char why[256] = "";
    arena_init(&a, 1 << 20);
    struct source_ids l = {0};
    assert_int_equal(source_read_s3_list(&a, STR(S3_PAGE("<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b%</NextContinuationToken>")),
                                         STR("p/"), &l, why, sizeof why), OK);
    assert_int_equal(l.n, 2);
    assert_true(str_is(l.items[0], "a b"));
    assert_true(str_is(l.items[1], "x&y"));
    assert_int_equal(l.refused, 1);
    assert_true(str_is(l.more, "a&b%"));
    l = (struct source_ids){0};
    assert_int_equal(source_read_s3_list(&a, STR(S3_PAGE("<IsTruncated>false</IsTruncated>")), STR("p/"), &l, why, sizeof why), OK);
    assert_int_equal(l.more.len, 0);
    assert_int_equal(source_read_s3_list(&a, STR(S3_PAGE("<IsTruncated>true</IsTruncated>")), STR("p/"), &l, why, sizeof why), ERR_SYNTAX);
    assert_int_equal(source_read_s3_list(&a, STR("<html/>"), STR("p/"), &l, why, sizeof why), ERR_SYNTAX);
    assert_int_equal(source_read_s3_list(&a, STR(""), STR("p/"), &l, why, sizeof why), ERR_SYNTAX);
    arena_deinit(&a);
}

#define SUM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static enum err feed(const char *text, struct source_feed *out) {
    static struct arena a;
    static char why[256];
    arena_deinit(&a);
    arena_init(&a, 1 << 20);
    *out = (struct source_feed){0};
    return source_read_feed(&a, str_of(text), out, why, sizeof why);
}

static void feeds(void **state) {
    (void)state;
    struct source_feed f;
    assert_int_equal(feed("{\"cursor\":\"7\",\"snapshot\":true,\"more\":true,\"changes\":[{\"tenant\":\"a\",\"version\":\"1\",\"serial\":3,"
                          "\"sha256\":\"" SUM "\",\"url\":\"/x\",\"later\":{}},{\"tenant\":\"b\",\"deleted\":true}]}", &f), OK);
    assert_true(f.whole && f.more && f.n == 2 && f.items[0].serial == 3 && f.items[1].deleted);
    static const char *const bad[] = {
        "", "[]", "{}", "{\"cursor\":\"1\"}", "{\"cursor\":\"\",\"changes\":[]}", "{\"cursor\":7,\"changes\":[]}",
        "{\"cursor\":\"1\",\"changes\":[{\"tenant\":\"../a\",\"deleted\":true}]}",
        "{\"cursor\":\"1\",\"changes\":[{\"tenant\":\"a\",\"sha256\":\"12\",\"url\":\"/x\"}]}",
        "{\"cursor\":\"1\",\"changes\":[{\"tenant\":\"a\",\"sha256\":\"" SUM "\"}]}",
        "{\"cursor\":\"1\",\"changes\":[{\"tenant\":\"a\",\"sha256\":\"" SUM "\",\"url\":\"/x\",\"serial\":-1}]}",
        "{\"cursor\":\"1\",\"changes\":[{\"tenant\":\"a\",\"sha256\":\"" SUM "\",\"url\":\"/x\",\"version\":\"../1\"}]}",
        "{\"cursor\":\"1\",\"changes\":[7]}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(feed(bad[i], &f), ERR_SYNTAX);
}

static void profiles(void **state) {
    (void)state;
    struct aws_keys k;
    struct str text = STR("aws_access_key_id = outside\n[default]\r\n# aws_access_key_id = no\naws_access_key_id=ID\r\n aws_secret_access_key = S=/+C \n"
                          "[ other ]\naws_access_key_id = ID2\naws_secret_access_key = S2\naws_session_token = T\n[half]\naws_access_key_id = x\n[default");
    assert_true(aws_profile(text, STR("default"), &k));
    assert_string_equal(k.pair, "ID:S=/+C");
    assert_string_equal(k.session, "");
    assert_true(aws_profile(text, STR("other"), &k));
    assert_string_equal(k.pair, "ID2:S2");
    assert_string_equal(k.session, "T");
    assert_false(aws_profile(text, STR("half"), &k));
    assert_false(aws_profile(text, STR("none"), &k));
}

static void backoff(void **state) {
    (void)state;
    const uint64_t minute = 60000000, most = UINT64_MAX / 2;
    for (uint32_t n = 1; n < 100; n++)
        for (uint64_t random = 0; random < most; random = random * 7 + 13) {
            uint64_t whole = n > 6 ? 60000 : 1000ull << (n - 1), ms = source_backoff_ms(n, minute, random);
            assert_in_range(ms, whole / 2, whole);
        }
    assert_in_range(source_backoff_ms(1, 100000, 7), 50, 100);          /* never slower than polling when that is fast */
    assert_in_range(source_backoff_ms(50, 600000000, 1), 300000, 600000); /* nor much faster when that is slow */
    for (uint64_t random = 0; random < most; random = random * 5 + 3) assert_in_range(source_pause_ms(minute, random), 54000, 66000);
}

static void unknown_ids(void **state) {
    (void)state;
    struct negative *n = calloc(1, sizeof *n);
    char id[32];
    negative_put(n, STR("a"), 1000, 2000);
    assert_true(negative_has(n, STR("a"), 1999));
    assert_false(negative_has(n, STR("a"), 2000));
    assert_false(negative_has(n, STR("b"), 1000));
    for (int i = 0; i < 100000; i++) {
        snprintf(id, sizeof id, "x%d", i);
        negative_put(n, str_of(id), 1000, 5000 + i);
    }
    int known = 0;
    for (int i = 0; i < 100000; i++) {
        snprintf(id, sizeof id, "x%d", i);
        known += negative_has(n, str_of(id), 1000);
    }
    assert_int_equal(known, NEGATIVE_SETS * NEGATIVE_WAYS); /* as many as it holds, and no more */
    n->key[0] = 1;
    assert_false(negative_has(n, STR("x99999"), 1000)); /* another key, other places */
    free(n);
}

/* Tenants come out in the order in which they are due, whatever was changed meanwhile. */
static void due(void **state) {
    (void)state;
    struct sources *s = calloc(1, sizeof *s);
    struct origin o = {.config = NULL};
    struct supply *t[500];
    char id[16];
    s->random[0] = 1;
    for (int i = 0; i < 500; i++) {
        snprintf(id, sizeof id, "t%d", i);
        assert_int_equal(supply_add(s, str_of(id), &o, &t[i]), OK);
        supply_due(s, t[i], (int64_t)(source_random(s) % 1000));
    }
    for (int i = 0; i < 500; i += 3) supply_due(s, t[i], i % 2 ? SOURCE_NEVER : (int64_t)(source_random(s) % 1000));
    for (int i = 1; i < 500; i += 5) supply_forget(s, t[i]);
    assert_null(supply_find(s, STR("t1")));
    assert_ptr_equal(supply_find(s, STR("t2")), t[2]);
    int64_t last = 0;
    uint32_t n = 0, waiting = s->heap_n;
    for (struct supply *next; (next = supply_next(s, 1000)); n++) {
        assert_true(next->due_ms >= last);
        last = next->due_ms;
    }
    assert_int_equal(n, waiting);
    assert_true(supply_first_due(s) == SOURCE_NEVER);
    assert_int_equal(o.tenants, 400);
    origins_free(s);
    free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),     cmocka_unit_test(list_urls), cmocka_unit_test(servers),  cmocka_unit_test(ids),
        cmocka_unit_test(lists),    cmocka_unit_test(s3_lists),  cmocka_unit_test(feeds),    cmocka_unit_test(profiles),
        cmocka_unit_test(backoff),  cmocka_unit_test(unknown_ids), cmocka_unit_test(due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
