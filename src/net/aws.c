/* AWS credentials: environment, files, profiles.
 *
 * in:   AWS_ variables, shared credentials files.
 * out:  keys for fetch's aws_keys.
 * owns: nothing. */
#include "net/aws.h"
#include "base/buf.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS_FILE_BYTES = 1 << 20 };

static struct str trimmed(struct str s) {
    while (s.len && strchr(" \t\r", s.ptr[0])) s = str_from(s, 1);
    while (s.len && strchr(" \t\r", s.ptr[s.len - 1])) s.len--;
    return s;
}

bool aws_profile(struct str text, struct str profile, struct aws_keys *out) {
    struct str id = STR(""), secret = STR(""), session = STR("");
    bool inside = false;
    for (struct str rest = text; rest.len;) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        struct str line = trimmed(str_head(rest, end ? (size_t)(end - rest.ptr) : rest.len));
        rest = str_from(rest, end ? (size_t)(end - rest.ptr) + 1 : rest.len);
        if (line.len > 1 && line.ptr[0] == '[' && line.ptr[line.len - 1] == ']')
            inside = str_eq(trimmed((struct str){line.ptr + 1, line.len - 2}), profile);
        const char *equals = inside && line.len ? memchr(line.ptr, '=', line.len) : NULL;
        if (!equals || *line.ptr == '#' || *line.ptr == ';') continue;
        struct str key = trimmed(str_head(line, (size_t)(equals - line.ptr)));
        struct str value = trimmed(str_from(line, (size_t)(equals - line.ptr) + 1));
        if (str_is(key, "aws_access_key_id")) id = value;
        if (str_is(key, "aws_secret_access_key")) secret = value;
        if (str_is(key, "aws_session_token")) session = value;
    }
    int n = snprintf(out->pair, sizeof out->pair, "%.*s:%.*s", STR_FMT(id), STR_FMT(secret));
    int m = snprintf(out->session, sizeof out->session, "%.*s", STR_FMT(session));
    return id.len && secret.len && (size_t)n < sizeof out->pair && (size_t)m < sizeof out->session;
}

static enum err read_keys_file(const char *path, struct aws_keys *out, char *why,
                               size_t why_bytes) {
    const char *profile = getenv("AWS_PROFILE");
    struct buf text;
    buf_init(&text, KEYS_FILE_BYTES);
    enum err e = buf_read_file(&text, path);
    if (!profile || !*profile) profile = "default";
    bool found = !e && aws_profile(buf_view(&text), str_of(profile), out);
    if (text.ptr) explicit_bzero(text.ptr, text.len);
    buf_deinit(&text);
    if (found) return OK;
    snprintf(why, why_bytes,
             e ? "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write %s"
               : "no AWS credentials: %s has none for the profile \"%s\"",
             path, profile);
    return ERR_NOT_FOUND;
}

enum err aws_keys_read(const char *file, struct aws_keys *out, char *why, size_t why_bytes) {
    const char *id = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");
    const char *session = getenv("AWS_SESSION_TOKEN"),
               *path = getenv("AWS_SHARED_CREDENTIALS_FILE");
    const char *home = getenv("HOME");
    char standard[4096];
    if (file) return read_keys_file(file, out, why, why_bytes);
    if (id && *id && secret && *secret) {
        int n = snprintf(out->pair, sizeof out->pair, "%s:%s", id, secret);
        int m = snprintf(out->session, sizeof out->session, "%s", session ? session : "");
        if ((size_t)n < sizeof out->pair && (size_t)m < sizeof out->session) return OK;
    }
    snprintf(standard, sizeof standard, "%s/.aws/credentials", home ? home : "");
    return read_keys_file(path && *path ? path : standard, out, why, why_bytes);
}
