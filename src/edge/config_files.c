/* Files that the configuration names. in: paths. out: problems and warnings. owns: descriptors while it looks. */
#include "edge/config_keys.h"
#include "host/token.h"
#include "net/tls.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

bool config_file_check(struct config_reader *r, const char *path, bool secret, struct loc loc) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        config_problem(r, loc, "cannot read %.256s: %s", path, strerror(errno));
        return false;
    }
    int bad = fstat(fd, &st);
    close(fd);
    if (bad || !S_ISREG(st.st_mode) || st.st_size == 0) {
        config_problem(r, loc, "%.256s is %s", path, bad || S_ISREG(st.st_mode) ? "an empty file" : "no file");
        return false;
    }
    if (secret && (st.st_mode & S_IRWXO))
        config_warning(r, loc, "every user of this machine may read %.256s, which holds a secret: chmod o= it", path);
    return true;
}

void config_token_keys_check(struct config_reader *r, const struct tenant_rule *rule, bool secrets, struct loc loc) {
    struct token_keys *keys;
    struct buf text;
    char why[256] = "";
    if (!config_file_check(r, rule->keys_file, secrets, loc)) return;
    buf_init(&text, TOKEN_KEYS_BYTES);
    enum err e = buf_read_file(&text, rule->keys_file);
    if (!e && (e = token_keys_new(buf_view(&text), secrets, &keys, why, sizeof why)) == OK) token_keys_release(keys);
    if (text.ptr) explicit_bzero(text.ptr, text.len);
    buf_deinit(&text);
    if (e) config_problem(r, loc, "%.256s: %s", rule->keys_file, *why ? why : err_meaning(e));
}

void config_signature_check(struct config_reader *r, const struct verify_rules *rules, const struct json *given) {
    char why[512] = "";
    struct verify_rules copy = *rules;
    if (!given || given->kind != JSON_OBJECT) return;
    if (!rules->keys_file) {
        bool wanted = rules->required || rules->algorithms || rules->scope.len || rules->exclude.n;
        if (wanted && !json_get_c(given, "keys_file"))
            config_problem(r, yaml_key_place(given),
                           "signature wants `keys_file`: the keys that signatures are checked with");
        return;
    }
    struct loc loc = yaml_place(json_get_c(given, "keys_file"));
    if (!config_file_check(r, rules->keys_file, (rules->algorithms & TOKEN_SHARED_SECRET) != 0, loc)) return;
    copy.keys = NULL;
    enum err e = verify_keys_load(&copy, why, sizeof why);
    verify_keys_free(&copy);
    if (e) config_problem(r, loc, "%s", why[0] ? why : err_meaning(e));
}

void config_tls_check(struct config_reader *r, const struct edge_listener *l, const struct json *tls) {
    const struct {
        const char *path, *key;
        bool secret;
    } files[] = {{l->certificate, "certificate", false}, {l->key, "key", true}, {l->client_ca, "client_ca", false}};
    bool readable = true;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i].path &&
            !config_file_check(r, files[i].path, files[i].secret, yaml_place(json_get_c(tls, files[i].key))))
            readable = false;
    if (!readable) return;
    struct tls_options options = {l->certificate, l->key, l->client_ca, l->require_client};
    struct tls_context *context;
    char why[512] = "";
    if (tls_context_new(&options, &context, why, sizeof why) == OK)
        tls_context_release(context);
    else
        config_problem(r, yaml_key_place(tls), "%s", why);
}

void config_folder_check(struct config_reader *r, const char *path, struct loc loc) {
    struct stat st;
    if (stat(path, &st) != 0)
        config_warning(r, loc, "there is no folder %.256s yet: %s", path, strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        config_problem(r, loc, "%.256s is no folder", path);
}
