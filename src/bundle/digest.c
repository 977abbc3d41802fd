/* The digests of a bundle's files, as OPA's signatures list them.
 *
 * in:   a file of a bundle.
 * out:  its listed name, its digest.
 * owns: nothing that outlives a call. */
#include "bundle/digest.h"
#include <stdio.h>

static struct str base_name(struct str path) {
    size_t i = path.len;
    while (i > 0 && path.ptr[i - 1] != '/') i--;
    return str_from(path, i);
}

bool bundle_is_signatures(struct str path) { return str_is(base_name(path), ".signatures.json"); }

struct str bundle_listed_name(struct str path) {
    while (path.len && *path.ptr == '/') path = str_from(path, 1);
    return path;
}

/* Documents that OPA hashes without regard to white space and the order of members. */
static bool is_structured(struct str path) {
    static const char *const names[] = {"data.json", "data.yaml", "data.yml", ".manifest"};
    struct str name = base_name(path);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_is(name, names[i])) return true;
    return false;
}

/* As OPA reads such a file, whatever it is called: JSON if it is JSON, else YAML. */
static enum err canonical(struct arena *a, struct str text, struct buf *out,
                          char why[BUNDLE_DIGEST_WHY_BYTES]) {
    struct json_error error = {0};
    struct json *v = NULL;
    if (str_starts(text, STR("\xef\xbb\xbf"))) text = str_from(text, 3);
    enum err e = json_parse(a, text, &v, &error);
    if (e == ERR_SYNTAX) e = yaml_parse(a, text, &v, &error);
    if (e && e != ERR_MEMORY) /* the message may lie in the arena */
        snprintf(why, BUNDLE_DIGEST_WHY_BYTES, "%u:%u: %s", error.row, error.col,
                 error.message ? error.message : err_meaning(e));
    if (e) return e;
    json_print(v, true, 0, out);
    return out->err ? ERR_MEMORY : OK;
}

enum err bundle_file_digest(const struct bundle_file *f, const EVP_MD *md, size_t max_bytes,
                            uint8_t digest[EVP_MAX_MD_SIZE], char why[BUNDLE_DIGEST_WHY_BYTES]) {
    struct arena own; /* so that many files take no more memory than the largest */
    struct buf text;
    struct str bytes = f->bytes;
    arena_init(&own, max_bytes);
    buf_init(&text, max_bytes);
    enum err e = is_structured(f->path) ? canonical(&own, bytes, &text, why) : OK;
    if (is_structured(f->path)) bytes = buf_view(&text);
    if (!e && EVP_Digest(bytes.ptr ? bytes.ptr : "", bytes.len, digest, NULL, md, NULL) != 1)
        e = ERR_MEMORY;
    buf_deinit(&text);
    arena_deinit(&own);
    return e;
}
