/* The regent program: finds the command and runs it. The only place, with the commands, that exits or prints for
 * a person.
 * in: argv. out: exit code. owns: the process arena. */
#include "cli/cli.h"
#include <signal.h>
#include <stdio.h>

static const struct command {
    const char *name;
    int (*run)(struct arena *a, int argc, char **argv);
    const char *help; /* NULL: not for people, so not listed */
} commands[] = {
    {"activate", cmd_activate, "Serve a suspended tenant again"},
    {"apply", cmd_apply, "Make a folder the state of a control plane"},
    {"audit", cmd_audit, "Check that a control plane's audit log is whole"},
    {"bench", cmd_bench, "Benchmark a query, bundle or module"},
    {"build", cmd_build, "Compile policies into a bundle or WebAssembly module"},
    {"check", cmd_check, "Check policies for errors"},
    {"control", cmd_control, "Keep tenants' policies, build and publish them"},
    {"edge", cmd_edge, "Serve tenants' decisions over REST and Envoy ext_authz"},
    {"edge-worker", cmd_edge_worker, NULL},
    {"eval", cmd_eval, "Evaluate a query"},
    {"export", cmd_export, "Write a control plane's state to a folder"},
    {"get", cmd_get, "Show what a control plane keeps"},
    {"import", cmd_import, "Take the list of tenants from an SQL database"},
    {"inspect", cmd_inspect, "Show what a bundle holds"},
    {"login", cmd_login, "Keep a control plane's address and token"},
    {"logout", cmd_logout, "Forget them"},
    {"parse", cmd_parse, "Print the syntax tree of a policy"},
    {"release", cmd_release, "Make a version of a tenant current"},
    {"replay", cmd_replay, "Evaluate the decisions of a log again"},
    {"suspend", cmd_suspend, "Stop serving a tenant"},
    {"test", cmd_test, "Run policy tests"},
    {"top", cmd_top, "Show live what an edge node's tenants do"},
    {"token", cmd_token, "Make a token for an edge node's administrators, or of a control plane"},
    {"version", cmd_version, "Print versions"},
};

enum { PROCESS_ARENA_BYTES = 1 << 30 };

static int usage(FILE *out, int code) {
    fprintf(out, "Regent compiles OPA's Rego to WebAssembly and answers for many tenants.\n\nUsage:\n"
                 "  regent <command> [flags]\n\nCommands:\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (commands[i].help) fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\n`regent <command> --help` lists a command's flags.\n");
    return code;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) return usage(stdout, EXIT_OK);
    struct str name = str_of(argv[1]);
    if (str_is(name, "help") || str_is(name, "--help") || str_is(name, "-h")) return usage(stdout, EXIT_OK);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (!str_is(name, commands[i].name)) continue;
        struct arena a;
        arena_init(&a, PROCESS_ARENA_BYTES);
        int code = commands[i].run(&a, argc - 2, argv + 2);
        arena_deinit(&a);
        return code;
    }
    fprintf(stderr, "error: unknown command \"%s\" for \"regent\"\nRun 'regent --help' for usage.\n", argv[1]);
    return EXIT_FAILED;
}
