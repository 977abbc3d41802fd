/* Looks builtins up by name or operator in the table that builtins.def gives.
 * in: names and infix operators of Rego.
 * out: rows with the facts that their type strings imply (arity, variadic, void).
 * owns: the one table, filled in once before its first reader and constant from then on. */
#include "compiler/builtin.h"
#include <pthread.h>
#include <stdlib.h>

enum {
    N_BUILTINS = 0
#define BUILTIN(identifier, name, infix, place, flags, category, type) +1
#include "builtins.def"
#undef BUILTIN
};

/* The preprocessor cannot count the arguments in a type string nor sort, so this happens at run
 * time, under `once`. */
struct builtin_table {
    struct builtin rows[N_BUILTINS];
    const struct builtin *by_name[N_BUILTINS];
};

static struct builtin_table table = {.rows = {
#define BUILTIN(identifier, name, infix, place, flags, category, type)                             \
    {#identifier, name, infix, category, type, BUILTIN_##place, flags, 0, false, false},
#include "builtins.def"
#undef BUILTIN
                                     }};
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Number of arguments in "(T,T,…)->T": commas outside inner brackets, plus one. */
static uint32_t count_arguments(const char *type) {
    uint32_t commas = 0;
    int depth = 0;
    const char *at = type + 1;
    for (; !(depth == 0 && *at == ')'); at++) {
        if (strchr("[{<(", *at)) depth++;
        if (strchr("]}>)", *at)) depth--;
        if (depth == 0 && *at == ',') commas++;
    }
    return at == type + 1 ? 0 : commas + 1;
}

static int compare_rows(const void *a, const void *b) {
    const struct builtin *const *left = a, *const *right = b;
    return str_cmp(str_of((*left)->name), str_of((*right)->name));
}

static void fill_table(void) {
    for (uint32_t i = 0; i < N_BUILTINS; i++) {
        struct builtin *row = &table.rows[i];
        struct str type = str_of(row->type);
        row->variadic = strstr(row->type, "...") != NULL;
        row->is_void = str_ends(type, STR("->void"));
        row->arity = row->variadic ? 0 : count_arguments(row->type);
        table.by_name[i] = row;
    }
    qsort(table.by_name, N_BUILTINS, sizeof(table.by_name[0]), compare_rows);
}

static const struct builtin_table *table_ready(void) {
    pthread_once(&once, fill_table);
    return &table;
}

const struct builtin *builtin_find(struct str name) {
    const struct builtin_table *t = table_ready();
    uint32_t low = 0, high = N_BUILTINS;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = str_cmp(name, str_of(t->by_name[middle]->name));
        if (order == 0) return t->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct builtin *builtin_find_infix(struct str op) {
    const struct builtin_table *t = table_ready();
    if (op.len == 0) return NULL;
    for (uint32_t i = 0; i < N_BUILTINS; i++)
        if (str_is(op, t->rows[i].infix)) return &t->rows[i];
    return NULL;
}

const struct builtin *builtin_at(uint32_t i) {
    return i < N_BUILTINS ? &table_ready()->rows[i] : NULL;
}
