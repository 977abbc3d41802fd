/* json.patch: the operations of RFC 6902 on any value, sets included.
 * in:  a value, an array of operations
 * out: the patched value
 * owns: the copies it makes of collections that it changes */
#include "runtime/builtins/json_paths.h"

static const char name[] = "json.patch";

/* The document in work. Collections made after `mark` (the heap only grows) are its own and are
 * changed in place; older ones are copied first. So many operations on one big collection copy it
 * once. */
struct patch {
    value root; /* VALUE_UNDEFINED once removed */
    uint32_t mark;
};
enum edit_kind { EDIT_INSERT, EDIT_REMOVE };
struct edit {
    enum edit_kind kind;
    value path, item; /* item: what is inserted */
};

static uint32_t heap_mark(void) { return addr(rt_alloc(8)); }

static value own(const struct patch *p, value v) {
    if (value_pointer(v) >= p->mark) return v;
    if (is_array(v)) return array_of(array_items(v), array_len(v));
    return is_object(v) ? object_copy(v) : set_copy(v);
}

/* Keys of arrays: integers, or their text; "-" is the end. NULL, or why it is no index. */
static const char *index_of(value key, uint32_t len, int64_t *out) {
    if (is_number(key)) return plain_int64(key, out) ? NULL : "invalid number type for indexing";
    if (!is_string(key)) return "invalid type for indexing";
    struct text t = text_of(key);
    *out = len;
    if (text_equal(t, TEXT("-"))) return NULL;
    if (t.len > 1 && t.ptr[0] == '0') return "leading zeros are not allowed in JSON paths";
    if (t.len > 1 && t.ptr[0] == '+') t = text_slice(t, 1, t.len);
    value number = number_of_text(t);
    return is_defined(number) && plain_int64(number, out) ? NULL : "invalid string for indexing";
}
/* The index among 0..len-1, or -1. */
static int64_t item_index(value key, uint32_t len) {
    int64_t i;
    return !index_of(key, len, &i) && i >= 0 && i < len ? i : -1;
}

static value child_of(value v, value key) {
    if (is_set(v)) return set_has(v, key) ? key : VALUE_UNDEFINED;
    if (is_object(v)) return object_get(v, key);
    int64_t i = is_array(v) ? item_index(key, array_len(v)) : -1;
    return i < 0 ? VALUE_UNDEFINED : array_items(v)[i];
}
static value find(value v, value path) {
    for (uint32_t i = 0, n = array_len(path); i < n && is_defined(v); i++)
        v = child_of(v, array_items(path)[i]);
    return v;
}

static value insert(const struct patch *p, value v, value key, value item) {
    int64_t i;
    if (is_object(v)) {
        v = own(p, v);
        object_put(v, key, item);
    } else if (is_array(v)) {
        const char *why = index_of(key, array_len(v), &i);
        if (why) return bi_error(name, why);
        if (i < 0 || i > array_len(v))
            return bi_error(name, "index for array insertion out of bounds");
        v = own(p, v);
        array_push(v, item);
        value *items = array_items(v);
        memmove(items + i + 1, items + i, (array_len(v) - 1 - (uint32_t)i) * sizeof *items);
        items[i] = item;
    } else if (is_set(v)) {
        if (!value_equal(key, item))
            return bi_error(name, "set key does not equal value to be inserted");
        v = own(p, v);
        set_put(v, item);
    } else {
        return bi_error(name, "expected composite type");
    }
    return v;
}

static value object_without(value v, value key) {
    value out = object_new(object_len(v));
    for (uint32_t i = 0, n = object_len(v); i < n; i++) {
        struct pair p = object_pairs(v)[i];
        if (!value_equal(p.key, key)) object_put(out, p.key, p.value);
    }
    return out;
}
static value set_without(value v, value item) {
    value out = set_new(set_len(v));
    for (uint32_t i = 0, n = set_len(v); i < n; i++)
        if (!value_equal(set_items(v)[i], item)) set_put(out, set_items(v)[i]);
    return out;
}
static value not_removable(value v, value key) {
    int64_t i;
    const char *why = is_array(v) ? index_of(key, array_len(v), &i) : NULL;
    if (why || is_array(v))
        return bi_error(name, why ? why : "index for array delete out of bounds");
    struct builder b = builder_new(16);
    term_write(&b, key);
    return error_with_text(name, "cannot delete child key ", builder_view(&b),
                           " that does not exist");
}
static value removed(const struct patch *p, value v, value key) {
    if (!is_array(v) && !is_object(v) && !is_set(v))
        return bi_error(name, "expected composite type");
    if (!is_defined(child_of(v, key))) return not_removable(v, key);
    if (is_object(v)) return object_without(v, key);
    if (is_set(v)) return set_without(v, key);
    uint32_t i = (uint32_t)item_index(key, array_len(v));
    v = own(p, v);
    struct array *a = at(value_pointer(v));
    value *items = array_items(v);
    memmove(items + i, items + i + 1, (--a->n - i) * sizeof *items);
    return v;
}

/* v with its child at key replaced. */
static value with_child(const struct patch *p, value v, value key, value child) {
    if (is_set(v)) {
        value out = set_without(v, key);
        set_put(out, child);
        return out;
    }
    v = own(p, v);
    if (is_object(v))
        object_put(v, key, child);
    else
        array_items(v)[item_index(key, array_len(v))] = child;
    return v;
}

static value no_path(value v, value key) {
    struct builder b = builder_new(64);
    if (!is_array(v) && !is_object(v) && !is_set(v))
        return bi_error(name, "expected composite type");
    term_write(&b, key);
    builder_c(&b, " does not exist in ");
    builder_c(&b, value_type_name(v));
    builder_c(&b, " term ");
    term_write(&b, v);
    return error_with_text(name, "path ", builder_view(&b), "");
}
/* v edited at the path's keys from the i-th on; VALUE_UNDEFINED after an error. */
static value edited(const struct patch *p, value v, const struct edit *e, uint32_t i) {
    check_depth(i);
    value key = array_items(e->path)[i];
    if (i + 1 == array_len(e->path))
        return e->kind == EDIT_INSERT ? insert(p, v, key, e->item) : removed(p, v, key);
    value child = child_of(v, key);
    if (!is_defined(child)) return no_path(v, key);
    value now = edited(p, child, e, i + 1);
    if (!is_defined(now) || now == child) return is_defined(now) ? v : now;
    return with_child(p, v, key, now);
}

static bool edit(struct patch *p, enum edit_kind kind, value path, value item) {
    struct edit e = {kind, path, item};
    if (array_len(path) == 0) {
        if (kind == EDIT_REMOVE && !is_defined(p->root)) {
            bi_error(name, "deleted node encountered during delete operation");
            return false;
        }
        p->root = kind == EDIT_INSERT ? item : VALUE_UNDEFINED;
        return true;
    }
    value root =
        is_defined(p->root) ? edited(p, p->root, &e, 0) : bi_error(name, "nil value encountered");
    if (is_defined(root)) p->root = root;
    return is_defined(root);
}

/* From here on nothing is the patch's own: a part may be in two places, or sorted for good. */
static value share(struct patch *p, value path) {
    value found = is_defined(p->root) ? find(p->root, path) : VALUE_UNDEFINED;
    p->mark = heap_mark();
    if (!is_defined(found)) bi_error(name, "path does not exist");
    return found;
}

static value required(value operation, struct text attribute) {
    value v = object_get_text(operation, attribute);
    if (!is_defined(v)) error_with_text(name, "missing required attribute '", attribute, "'");
    return v;
}

/* move and copy: both read at "from" first. */
static bool transfer(struct patch *p, value operation, value path, bool move) {
    value from = required(operation, TEXT("from"));
    if (is_defined(from)) from = json_path_of(name, from);
    if (!is_defined(from)) return false;
    value part = share(p, from);
    if (!is_defined(part)) return false;
    if (move && !edit(p, EDIT_REMOVE, from, VALUE_UNDEFINED)) return false;
    return edit(p, EDIT_INSERT, path, part);
}
static bool test(struct patch *p, value path, value expected) {
    value found = share(p, path);
    if (!is_defined(found)) return false;
    if (value_equal(found, expected)) return true;
    bi_error(name, "value from EditTree != patch value.");
    return false;
}

static bool apply(struct patch *p, value operation) {
    value path = required(operation, TEXT("path")), op, item;
    if (!is_defined(path)) return false;
    if (!is_defined(op = required(operation, TEXT("op")))) return false;
    if (!is_string(op)) {
        error_with_text(name, "attribute 'op' must be a string but found: ",
                        text_of(string_of_c(value_type_name(op))), "");
        return false;
    }
    if (!is_defined(path = json_path_of(name, path))) return false;
    struct text t = text_of(op);
    if (text_equal(t, TEXT("remove"))) return edit(p, EDIT_REMOVE, path, VALUE_UNDEFINED);
    if (text_equal(t, TEXT("move"))) return transfer(p, operation, path, true);
    if (text_equal(t, TEXT("copy"))) return transfer(p, operation, path, false);
    bool add = text_equal(t, TEXT("add")), replace = text_equal(t, TEXT("replace"));
    if (!add && !replace && !text_equal(t, TEXT("test"))) {
        error_with_text(name, "unrecognized op: '", t, "'");
        return false;
    }
    if (!is_defined(item = required(operation, TEXT("value")))) return false;
    if (!add && !replace) return test(p, path, item);
    if (replace && !edit(p, EDIT_REMOVE, path, VALUE_UNDEFINED)) return false;
    return edit(p, EDIT_INSERT, path, item);
}

RT_EXPORT value bi_json_patch(value a, value operations) {
    NEED_ARRAY(name, 2, operations);
    struct patch p = {a, heap_mark()};
    for (uint32_t i = 0, n = array_len(operations); i < n; i++) {
        value operation = array_items(operations)[i];
        if (!is_object(operation))
            return bi_error(name, "must be an array of JSON-Patch objects, but at least one "
                                  "element is not an object");
        if (!apply(&p, operation)) return VALUE_UNDEFINED;
    }
    return is_defined(p.root) ? p.root : bi_error(name, "nothing is left of the document");
}
