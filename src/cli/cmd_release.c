/* regent release: makes a version of a tenant current, or goes back to the one before.
 * in: a tenant, a version. out: what is current now. owns: nothing. */
#include "cli/client.h"

int cmd_release(struct arena *a, int argc, char **argv) {
    struct client_options where = {0};
    struct str_list words;
    struct client c;
    bool rollback = false;
    int code;
    const struct option_spec specs[] = {
        {"rollback", 0, OPTION_BOOL, &rollback, NULL, "the version that was current before"},
        CLIENT_FLAGS(where),
        {0}};
    if (!command_options(a, "release TENANT VERSION [flags]", specs, argc, argv, &words, &code))
        return code;
    if (words.n != (rollback ? 1 : 2))
        return fail("regent release TENANT VERSION, or regent release TENANT --rollback");
    struct json *body = json_object(a);
    json_set(a, body, STR("tenant"), json_string(a, words.items[0]));
    if (rollback)
        json_set(a, body, STR("rollback"), json_bool(a, true));
    else
        json_set(a, body, STR("version"), json_string(a, words.items[1]));
    if (!client_open(a, &where, &c)) return EXIT_FAILED;
    struct client_call q = {.method = "POST", .path = "/v1/releases", .body = body};
    code = client_ask(&c, &q);
    if (!code) {
        const struct json *changed = json_get_c(q.reply, "changed");
        bool same = changed && changed->kind == JSON_BOOL && !changed->boolean;
        client_print(stdout, client_text(q.reply, "tenant"));
        fputs(": ", stdout);
        client_print(stdout, client_text(q.reply, "version"));
        puts(same ? " was current already" : " is current now");
    }
    client_close(&c);
    return code;
}
