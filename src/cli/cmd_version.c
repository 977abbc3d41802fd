/* regent version. in: nothing. out: versions as OPA prints them. owns: nothing. */
#include "cli/cli.h"
#include "compiler/wasm/wasm.h"
#include <stdio.h>
#include <sys/utsname.h>

int cmd_version(struct arena *a, int argc, char **argv) {
    bool check = false;
    struct str_list rest;
    int code;
    const struct option_spec specs[] = {
        {"check", 'c', OPTION_BOOL, &check, NULL, "accepted for OPA's sake: Regent asks no server"}, {0}};
    if (!command_options(a, "version [flags]", specs, argc, argv, &rest, &code)) return code;
    struct utsname os;
    if (uname(&os) != 0) return fail("uname failed");
    printf("Version: %s\nPlatform: %s/%s\nRego Version: v1\nOPA compatibility: 1.22\nWebAssembly: available\n"
           "Runtime: sha256:%s\n",
           REGENT_VERSION, "linux", os.machine, runtime_hash());
    return EXIT_OK;
}
