/* Graph builtins: reachable, reachable_paths, walk.
 * in:  a graph as an object of node: neighbours; any value to walk
 * out: sets of nodes or paths; an array of [path, value] pairs
 * owns: nothing */
#include "runtime/builtins/builtin.h"

/* Neighbours as items; 0 for what is no list. */
static const value *neighbours(value edges, uint32_t *n) {
    *n = is_list(edges) ? collection_len(edges) : 0;
    return *n ? list_items(edges) : NULL;
}

RT_EXPORT value bi_graph_reachable(value graph, value initial) {
    NEED_OBJECT("graph.reachable", 1, graph);
    if (!is_list(initial)) return bi_error_operand("graph.reachable", 2, "{array, set}", initial);
    value queue = array_of(list_items(initial), collection_len(initial)), reached = set_new(0);
    for (uint32_t i = 0, n; i < array_len(queue); i++) {
        value node = array_items(queue)[i], edges = object_get(graph, node);
        if (!is_defined(edges) || set_has(reached, node)) continue;
        set_put(reached, node);
        const value *items = neighbours(edges, &n);
        for (uint32_t k = 0; k < n; k++)
            if (!set_has(reached, items[k])) array_push(queue, items[k]);
    }
    return reached;
}

/* ---- graph.reachable_paths: depth first with a stack of its own, however long a path is ---- */

struct step {
    const value *items; /* neighbours of the path's last node */
    uint32_t n, next;
};
struct search {
    value graph, out;
    value on_path; /* object: node → true while it is on the path */
    value *path;
    struct step *steps;
    uint32_t depth, cap;
};

static void emit_path(struct search *s) { set_put(s->out, array_of(s->path, s->depth)); }

static void enter(struct search *s, value node, value edges) {
    if (s->depth == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 16;
        s->path = rt_realloc(s->path, s->cap * (uint32_t)sizeof *s->path,
                             cap * (uint32_t)sizeof *s->path);
        s->steps = rt_realloc(s->steps, s->cap * (uint32_t)sizeof *s->steps,
                              cap * (uint32_t)sizeof *s->steps);
        s->cap = cap;
    }
    struct step *step = &s->steps[s->depth];
    step->items = neighbours(edges, &step->n);
    step->next = 0;
    s->path[s->depth++] = node;
    object_put(s->on_path, node, VALUE_TRUE);
    if (step->n == 0) emit_path(s);
}

/* A path ends at a node that is not in the graph (which is left out), has no neighbours, or has one
 * that is on the path already. OPA looks for the start node among its own neighbours only a step
 * later. */
static void search_paths(struct search *s, value start, value edges) {
    enter(s, start, edges);
    while (s->depth > 0) {
        struct step *step = &s->steps[s->depth - 1];
        if (step->next == step->n) {
            s->depth--;
            bool again = s->depth == 1 && value_equal(s->path[0], s->path[1]);
            if (!again) object_put(s->on_path, s->path[s->depth], VALUE_FALSE);
            continue;
        }
        value node = step->items[step->next++], below = object_get(s->graph, node);
        bool cycle = s->depth > 1 && object_get(s->on_path, node) == VALUE_TRUE;
        if (cycle || !is_defined(below))
            emit_path(s);
        else
            enter(s, node, below);
    }
}

RT_EXPORT value bi_graph_reachable_paths(value graph, value initial) {
    NEED_OBJECT("graph.reachable_paths", 1, graph);
    if (!is_list(initial))
        return bi_error_operand("graph.reachable_paths", 2, "{array, set}", initial);
    struct search s = {.graph = graph, .out = set_new(0)};
    for (uint32_t i = 0, n = collection_len(initial); i < n; i++) {
        value start = list_items(initial)[i], edges = object_get(graph, start);
        s.on_path = object_new(0);
        if (is_defined(edges)) search_paths(&s, start, edges);
    }
    return s.out;
}

/* ---- walk ---- */

static void walk(value v, value path, value out, uint32_t depth) {
    check_depth(++depth);
    value pair = array_new(2);
    array_push(pair, path);
    array_push(pair, v);
    array_push(out, pair);
    for (uint32_t i = 0, n = is_string(v) ? 0 : collection_len(v); i < n; i++) {
        value key = is_array(v)    ? value_of_integer(i)
                    : is_object(v) ? object_sorted(v)[i].key
                                   : set_sorted(v)[i];
        value below = array_new(array_len(path) + 1);
        for (uint32_t k = 0; k < array_len(path); k++) array_push(below, array_items(path)[k]);
        array_push(below, key);
        walk(is_object(v)  ? object_sorted(v)[i].value
             : is_array(v) ? array_items(v)[i]
                           : key,
             below, out, depth);
    }
}
/* All [path, value] pairs, parents first: the planner scans them. */
RT_EXPORT value bi_walk(value a) {
    value out = array_new(0);
    walk(a, array_new(0), out, 0);
    return out;
}
