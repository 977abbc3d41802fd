/* json.filter and json.remove: objects cut down by paths.
 * in:  an object; paths as "a/b" or arrays of keys
 * out: a new object
 * owns: nothing */
#include "runtime/builtins/json_paths.h"

/* One key of a path: "~1" is "/", "~0" is "~". */
static value unescape(struct text t) {
    if (text_find(t, TEXT("~"), 0) < 0) return string_view(t);
    struct builder slashes = builder_new(t.len), b = builder_new(t.len);
    for (uint32_t i = 0; i < t.len; i++) {
        bool slash = t.ptr[i] == '~' && i + 1 < t.len && t.ptr[i + 1] == '1';
        builder_put(&slashes, slash ? '/' : t.ptr[i]);
        i += slash;
    }
    t = builder_view(&slashes); /* in two passes, as OPA: "~~10" is "~/0" */
    for (uint32_t i = 0; i < t.len; i++) {
        builder_put(&b, t.ptr[i]);
        if (t.ptr[i] == '~' && i + 1 < t.len && t.ptr[i + 1] == '0') i++;
    }
    return builder_string(&b);
}

value json_path_of(const char *builtin, value path) {
    if (is_array(path)) return path;
    if (!is_string(path))
        return error_with_text(builtin,
                               "operand 2 must be one of {set, array} containing string paths or "
                               "array of path segments but got ",
                               text_of(string_of_c(value_type_name(path))), "");
    struct text t = text_of(path);
    value out = array_new(0);
    uint32_t from = 0, to;
    if (t.len == 0) return out;
    while (from < t.len && t.ptr[from] == '/') from++;
    do {
        int64_t slash = text_find(t, TEXT("/"), from);
        to = slash < 0 ? t.len : (uint32_t)slash;
        array_push(out, unescape(text_slice(t, from, to)));
        from = to + 1;
    } while (to < t.len);
    return out;
}

/* Adds a path to a tree of objects whose leaves are null. A leaf stands for all below it. */
static void add_path(value tree, value path) {
    uint32_t n = array_len(path);
    for (uint32_t i = 0; i + 1 < n; i++) {
        value key = array_items(path)[i], child = object_get(tree, key);
        if (is_null(child)) return;
        if (!is_defined(child)) object_put(tree, key, child = object_new(0));
        tree = child;
    }
    if (n > 0) object_put(tree, array_items(path)[n - 1], VALUE_NULL);
}
/* VALUE_UNDEFINED after an error. */
static value tree_of_paths(const char *builtin, value paths) {
    if (!is_list(paths)) return bi_error_operand_one_of(builtin, 2, "set, array", paths);
    value tree = object_new(0);
    for (uint32_t i = 0, n = collection_len(paths); i < n; i++) {
        value path = json_path_of(builtin, list_items(paths)[i]);
        if (!is_defined(path)) return VALUE_UNDEFINED;
        add_path(tree, path);
    }
    return tree;
}

/* What the tree says about array item i: its keys are strings there. */
static value tree_item(value tree, uint32_t i) {
    struct builder b = builder_new(12);
    builder_int(&b, i);
    return object_get_text(tree, builder_view(&b));
}

static value filter(value v, value tree, uint32_t depth);
static value filter_object(value v, value tree, uint32_t depth) {
    value out = object_new(0);
    for (uint32_t i = 0, n = object_len(tree); i < n; i++) {
        struct pair p = object_pairs(tree)[i];
        value member = object_get(v, p.key);
        if (is_defined(member)) object_put(out, p.key, filter(member, p.value, depth));
    }
    return out;
}
/* What of v the tree names; a value that has no members is kept whatever the tree says. */
static value filter(value v, value tree, uint32_t depth) {
    check_depth(++depth);
    if (is_null(tree)) return v;
    if (is_object(v)) return filter_object(v, tree, depth);
    if (!is_list(v)) return v;
    value out = is_set(v) ? set_new(0) : array_new(0);
    for (uint32_t i = 0, n = collection_len(v); i < n; i++) {
        value item = list_items(v)[i];
        value below = is_set(v) ? object_get(tree, item) : tree_item(tree, i);
        if (!is_defined(below)) continue;
        item = filter(item, below, depth);
        if (is_set(v))
            set_put(out, item);
        else
            array_push(out, item);
    }
    return out;
}

RT_EXPORT value bi_json_filter(value a, value paths) {
    NEED_OBJECT("json.filter", 1, a);
    value tree = tree_of_paths("json.filter", paths);
    return is_defined(tree) ? filter(a, tree, 0) : VALUE_UNDEFINED;
}

/* v without what the tree names; VALUE_UNDEFINED when that is all of it. tree may be
 * VALUE_UNDEFINED. */
static value without(value v, value tree, uint32_t depth) {
    check_depth(++depth);
    if (is_null(tree)) return VALUE_UNDEFINED;
    if (!is_object(tree) || !(is_list(v) || is_object(v))) return v;
    value out = is_object(v) ? object_new(object_len(v)) : is_set(v) ? set_new(0) : array_new(0);
    for (uint32_t i = 0, n = collection_len(v); i < n; i++) {
        if (is_object(v)) {
            struct pair p = object_pairs(v)[i];
            value kept = without(p.value, object_get(tree, p.key), depth);
            if (is_defined(kept)) object_put(out, p.key, kept);
            continue;
        }
        value item = list_items(v)[i];
        item = without(item, is_set(v) ? object_get(tree, item) : tree_item(tree, i), depth);
        if (!is_defined(item)) continue;
        if (is_set(v))
            set_put(out, item);
        else
            array_push(out, item);
    }
    return out;
}

RT_EXPORT value bi_json_remove(value a, value paths) {
    NEED_OBJECT("json.remove", 1, a);
    value tree = tree_of_paths("json.remove", paths);
    return is_defined(tree) ? without(a, tree, 0) : VALUE_UNDEFINED;
}
