/* Fuzzes what servers of policies send: lists of tenants, S3's pages, the control plane's feed, credentials files, where redirects lead.
 * in: libFuzzer's bytes; the first chooses what the rest is. out: crashes only. owns: an arena an input. Laws: what names a tenant is a valid id;
 * a URL made of any id stays below its source; two URLs of one server have one host. Build: tests/fuzz/run.sh. */
#include "edge/source_text.h"
#include "net/aws.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void law(bool holds) {
    if (!holds) abort();
}

static void check_ids(const struct source_ids *l) {
    for (uint32_t i = 0; i < l->n; i++) law(source_tenant_valid(l->items[i]));
}

static void check_urls(struct str text) {
    static const struct edge_source of[] = {{.kind = SOURCE_HTTP, .url = "https://x/base"},
                                            {.kind = SOURCE_OPA, .url = "https://x/base", .path = STR("{tenant}")},
                                            {.kind = SOURCE_S3, .url = "https://x", .bucket = STR("base"), .path_style = true},
                                            {.kind = SOURCE_CONTROL, .url = "https://x/base"}};
    char url[SOURCE_URL_BYTES];
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        if (!source_url(&of[i], text, STR(""), "f", url)) continue;
        law(strncmp(url, "https://x/base/", 15) == 0 && source_same_server(url, of[i].url));
        law(!strpbrk(url, " \r\n#?") && strlen(url) < sizeof url);
    }
}

static void check_hosts(struct str text) {
    static const struct edge_source s = {.kind = SOURCE_CONTROL, .url = "https://x:1/base"};
    char url[SOURCE_URL_BYTES], host[256], other[256];
    if (!source_resolve(&s, text, url)) return;
    source_host(url, host, sizeof host);
    source_host(s.url, other, sizeof other);
    if (source_same_server(url, s.url)) law(strcmp(host, other) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena a;
    struct source_ids ids = {0};
    struct source_feed feed = {0};
    struct aws_keys keys;
    char why[256];
    if (!size) return 0;
    char *copy = malloc(size); /* so that reading past its end is seen */
    if (!copy) return 0;
    memcpy(copy, data + 1, size - 1);
    struct str text = {copy, size - 1};
    arena_init(&a, 16 << 20);
    switch (data[0] % 6) {
    case 0:
        if (source_read_index(&a, text, &ids, why, sizeof why) == OK) check_ids(&ids);
        break;
    case 1:
        if (source_read_s3_list(&a, text, STR("p/"), &ids, why, sizeof why) == OK) check_ids(&ids);
        break;
    case 2:
        if (source_read_feed(&a, text, &feed, why, sizeof why) == OK)
            for (uint32_t i = 0; i < feed.n; i++) law(source_tenant_valid(feed.items[i].tenant));
        break;
    case 3:
        if (aws_profile(text, STR("default"), &keys)) law(strchr(keys.pair, ':') != NULL);
        break;
    case 4: check_urls(text); break;
    case 5: check_hosts(text); break;
    }
    arena_deinit(&a);
    free(copy);
    return 0;
}
