/* regent suspend, regent activate: stop serving a tenant, and serve it again.
 * in: a tenant. out: its status. owns: nothing. */
#include "cli/client.h"

static int set_status(struct arena *a, int argc, char **argv, const char *usage,
                      const char *status) {
    struct client_options where = {0};
    struct str_list words;
    struct client c;
    int code;
    const struct option_spec specs[] = {CLIENT_FLAGS(where), {0}};
    if (!command_options(a, usage, specs, argc, argv, &words, &code)) return code;
    if (words.n != 1) return fail("which tenant? regent %s", usage);
    struct json *body = json_object(a);
    json_set(a, body, STR("status"), json_string(a, str_of(status)));
    if (!client_open(a, &where, &c)) return EXIT_FAILED;
    struct client_call q = {.method = "PATCH", .body = body};
    q.path = arena_printf(a, NULL, "/v1/tenants/%s", client_escape(a, words.items[0]));
    code = client_ask(&c, &q);
    if (!code) {
        client_print(stdout, words.items[0]);
        printf(": %s\n", status);
    }
    client_close(&c);
    return code;
}

int cmd_suspend(struct arena *a, int argc, char **argv) {
    return set_status(a, argc, argv, "suspend TENANT [flags]", "suspended");
}

int cmd_activate(struct arena *a, int argc, char **argv) {
    return set_status(a, argc, argv, "activate TENANT [flags]", "active");
}
