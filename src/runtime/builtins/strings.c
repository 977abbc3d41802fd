/* String builtins: searching, cutting, joining, case, integers in a base.
 * in:  strings; positions and lengths count code points
 * out: strings (views of the argument where possible), numbers, booleans, arrays
 * owns: nothing */
#include "runtime/builtins/builtin.h"
#include "runtime/builtins/unicode.h"

RT_EXPORT value bi_contains(value a, value part) {
    NEED_STRING("contains", 1, a);
    NEED_STRING("contains", 2, part);
    return value_of_boolean(text_find(text_of(a), text_of(part), 0) >= 0);
}
RT_EXPORT value bi_startswith(value a, value prefix) {
    NEED_STRING("startswith", 1, a);
    NEED_STRING("startswith", 2, prefix);
    return value_of_boolean(text_starts_with(text_of(a), text_of(prefix)));
}
RT_EXPORT value bi_endswith(value a, value suffix) {
    NEED_STRING("endswith", 1, a);
    NEED_STRING("endswith", 2, suffix);
    return value_of_boolean(text_ends_with(text_of(a), text_of(suffix)));
}

RT_EXPORT value bi_indexof(value a, value part) {
    NEED_STRING("indexof", 1, a);
    NEED_STRING("indexof", 2, part);
    if (value_length(part) == 0) return bi_error("indexof", "empty search character");
    struct text t = text_of(a);
    int64_t found = text_find(t, text_of(part), 0);
    if (found < 0) return value_of_integer(-1);
    return value_of_integer(utf8_count(text_slice(t, 0, (uint32_t)found)));
}

/* All places, overlapping ones too. */
RT_EXPORT value bi_indexof_n(value a, value part) {
    NEED_STRING("indexof_n", 1, a);
    NEED_STRING("indexof_n", 2, part);
    if (value_length(part) == 0) return bi_error("indexof_n", "empty search character");
    struct text t = text_of(a);
    value out = array_new(0);
    uint32_t from = 0, index = 0;
    for (int64_t found; (found = text_find(t, text_of(part), from)) >= 0;) {
        index += utf8_count(text_slice(t, from, (uint32_t)found));
        array_push(out, value_of_integer(index));
        from = (uint32_t)found;
        utf8_decode(t, &from);
        index++;
    }
    return out;
}

RT_EXPORT value bi_strings_count(value a, value part) {
    NEED_STRING("strings.count", 1, a);
    NEED_STRING("strings.count", 2, part);
    struct text t = text_of(a), p = text_of(part);
    if (p.len == 0) return value_of_integer((int64_t)utf8_count(t) + 1);
    int64_t count = 0;
    for (int64_t found = 0; (found = text_find(t, p, (uint32_t)found)) >= 0; found += p.len)
        count++;
    return value_of_integer(count);
}

/* A negative length means the rest. */
RT_EXPORT value bi_substring(value a, value from, value length) {
    int64_t start, n;
    NEED_STRING("substring", 1, a);
    if (!operand_int64("substring", 2, from, &start)) return VALUE_UNDEFINED;
    if (!operand_int64("substring", 3, length, &n)) return VALUE_UNDEFINED;
    if (start < 0) return bi_error("substring", "negative offset");
    struct text t = text_of(a);
    uint32_t begin = start > t.len ? t.len : utf8_offset(t, (uint32_t)start);
    t = text_slice(t, begin, t.len);
    return string_view(text_slice(t, 0, n < 0 || n > t.len ? t.len : utf8_offset(t, (uint32_t)n)));
}

/* Maps every code point to lower or upper case; the argument itself when nothing changes. */
static value map_case(value a, bool upper) {
    struct text t = text_of(a);
    uint32_t i = 0, start = 0, cp, mapped = 0;
    for (; i < t.len; start = i) {
        cp = utf8_decode(t, &i);
        mapped = upper ? rune_upper(cp) : rune_lower(cp);
        if (mapped != cp) break;
    }
    if (start == t.len) return a;
    struct builder b = builder_new(t.len);
    builder_text(&b, text_slice(t, 0, start));
    builder_code_point(&b, mapped);
    while (i < t.len) {
        cp = utf8_decode(t, &i);
        builder_code_point(&b, upper ? rune_upper(cp) : rune_lower(cp));
    }
    return builder_string(&b);
}
RT_EXPORT value bi_lower(value a) {
    NEED_STRING("lower", 1, a);
    return map_case(a, false);
}
RT_EXPORT value bi_upper(value a) {
    NEED_STRING("upper", 1, a);
    return map_case(a, true);
}

/* Pieces between delimiters; code points when the delimiter is empty. */
static value split(struct text t, struct text delimiter, int64_t max) {
    value out = array_new(0);
    uint32_t from = 0, to;
    while (delimiter.len == 0 && from < t.len && array_len(out) < max) {
        to = from;
        utf8_decode(t, &to);
        array_push(out, string_view(text_slice(t, from, to)));
        from = to;
    }
    while (delimiter.len > 0 && array_len(out) < max) {
        int64_t found = text_find(t, delimiter, from);
        array_push(out, string_view(text_slice(t, from, found < 0 ? t.len : (uint32_t)found)));
        if (found < 0) break;
        from = (uint32_t)found + delimiter.len;
    }
    return out;
}
RT_EXPORT value bi_split(value a, value delimiter) {
    NEED_STRING("split", 1, a);
    NEED_STRING("split", 2, delimiter);
    return split(text_of(a), text_of(delimiter), INT64_MAX);
}
/* The first n pieces, or the last -n. */
RT_EXPORT value bi_strings_split_n(value a, value delimiter, value count) {
    int64_t n;
    NEED_STRING("strings.split_n", 1, a);
    NEED_STRING("strings.split_n", 2, delimiter);
    if (!operand_int64("strings.split_n", 3, count, &n)) return VALUE_UNDEFINED;
    value all = split(text_of(a), text_of(delimiter), n < 0 ? INT64_MAX : n);
    int64_t skipped = array_len(all) + n;
    if (n >= 0 || skipped <= 0) return all;
    return array_of(array_items(all) + skipped, (uint32_t)-n);
}

RT_EXPORT value bi_concat(value delimiter, value a) {
    NEED_STRING("concat", 1, delimiter);
    if (!is_list(a)) return bi_error_operand_one_of("concat", 2, "set, array", a);
    uint32_t n = collection_len(a);
    uint64_t bytes = 0;
    const value *items = list_items(a);
    for (uint32_t i = 0; i < n; i++) {
        if (!is_string(items[i])) return bi_error_element("concat", 2, a, "string", items[i]);
        bytes += (uint64_t)value_length(items[i]) + value_length(delimiter);
    }
    if (n == 1) return items[0];
    struct builder b = builder_new(bytes < STRING_MAX_BYTES ? (uint32_t)bytes : 0);
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0) builder_text(&b, text_of(delimiter));
        builder_text(&b, text_of(items[i]));
    }
    return builder_string(&b);
}

/* Bytes that are no UTF-8 stay as they are. */
RT_EXPORT value bi_strings_reverse(value a) {
    NEED_STRING("strings.reverse", 1, a);
    struct text t = text_of(a);
    struct builder b = builder_new(t.len);
    for (uint32_t to = t.len, from = t.len; to > 0; to = from) {
        utf8_decode_back(t, &from);
        builder_text(&b, text_slice(t, from, to));
    }
    return builder_string(&b);
}

/* A fraction is cut off; the base is written as one of these numbers, so 10.0 is none of them. */
RT_EXPORT value bi_format_int(value a, value base) {
    NEED_NUMBER("format_int", 1, a);
    NEED_NUMBER("format_int", 2, base);
    int64_t radix = value_tag(base) == TAG_INTEGER ? value_integer(base) : 0;
    if (radix != 2 && radix != 8 && radix != 10 && radix != 16)
        return bi_error("format_int", "operand 2 must be one of {2, 8, 10, 16}");
    struct bigint i;
    if (!number_is_plain_integer(a))
        i = bigfloat_trunc(bigfloat_of_number(a));
    else if (!bigint_of_number(a, &i))
        return VALUE_UNDEFINED;
    struct builder b = builder_new(32);
    builder_bigint(&b, i, (uint32_t)radix);
    return builder_string(&b);
}
