/* Decimal numbers: exact comparison, hashes, texts, integers; no floating point here.
 * in: number words. out: order, hashes, words. owns: nothing but texts on the heap. */
#include "runtime/decimal.h"
#include "runtime/json_scan.h"

static bool is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

enum { EXPONENT_LIMIT_DIGITS = 15 };

static int64_t exponent_of(struct text t, uint32_t i) {
    bool negative = i < t.len && t.ptr[i] == '-';
    int64_t e = 0, limit = 1;
    for (int k = 0; k < EXPONENT_LIMIT_DIGITS; k++) limit *= 10;
    if (i < t.len && !is_digit(t.ptr[i])) i++;
    for (; i < t.len; i++)
        if (e < limit) e = e * 10 + (t.ptr[i] - '0');
    return negative ? -e : e;
}

struct decimal decimal_of_text(struct text t) {
    struct decimal d = {0};
    uint32_t zeros = 0, fraction = 0, i = 0;
    bool point = false;
    if (t.len > 0 && (t.ptr[0] == '-' || t.ptr[0] == '+')) d.negative = t.ptr[i++] == '-';
    for (; i < t.len && (is_digit(t.ptr[i]) || t.ptr[i] == '.'); i++) {
        if (t.ptr[i] == '.') {
            point = true;
            continue;
        }
        fraction += point;
        if (t.ptr[i] == '0') {
            zeros += d.n > 0;
            continue;
        }
        if (d.n == 0) d.digits = t.ptr + i;
        d.n += zeros + 1;
        zeros = 0;
    }
    if (d.n == 0) return (struct decimal){.negative = d.negative};
    d.exponent = (i < t.len ? exponent_of(t, i + 1) : 0) - fraction + zeros;
    return d;
}

/* The next significant digit; '0' behind the last. */
static uint8_t next_digit(struct decimal *d) {
    if (d->n == 0) return '0';
    if (*d->digits == '.') d->digits++;
    d->n--;
    return *d->digits++;
}

struct text decimal_digits(struct decimal d) {
    bool contiguous = true;
    for (uint32_t i = 0; i < d.n && contiguous; i++) contiguous = d.digits[i] != '.';
    if (contiguous) return (struct text){d.digits, d.n};
    struct text t = {rt_alloc(d.n), d.n};
    uint8_t *to = at(addr(t.ptr));
    for (uint32_t i = 0; i < t.len; i++) to[i] = next_digit(&d);
    return t;
}

static int compare_magnitude(struct decimal a, struct decimal b) {
    int64_t top_a = a.exponent + a.n, top_b = b.exponent + b.n;
    if (top_a != top_b) return top_a < top_b ? -1 : 1;
    while (a.n > 0 || b.n > 0) {
        uint8_t x = next_digit(&a), y = next_digit(&b);
        if (x != y) return x < y ? -1 : 1;
    }
    return 0;
}

static int decimal_sign(struct decimal d) { return d.n == 0 ? 0 : d.negative ? -1 : 1; }

static int decimal_compare(struct decimal a, struct decimal b) {
    int x = decimal_sign(a), y = decimal_sign(b);
    if (x != y) return x < y ? -1 : 1;
    return x * (x == 0 ? 0 : compare_magnitude(a, b));
}

/* ---- words ---- */

struct text number_text(value n, uint8_t room[NUMBER_ROOM]) {
    if (value_tag(n) != TAG_INTEGER) return text_of(n);
    int64_t i = value_integer(n);
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    uint32_t begin = NUMBER_ROOM;
    do room[--begin] = (uint8_t)('0' + u % 10);
    while ((u /= 10) > 0);
    if (i < 0) room[--begin] = '-';
    return (struct text){room + begin, NUMBER_ROOM - begin};
}

void builder_number(struct builder *b, value n) {
    if (value_tag(n) == TAG_INTEGER)
        builder_int(b, value_integer(n));
    else
        builder_text(b, text_of(n));
}

static value view_of_number(struct text t) { return value_of_view(TAG_NUMBER, addr(t.ptr), t.len); }

value number_of_int64(int64_t i) {
    if (i >= INTEGER_MIN && i <= INTEGER_MAX) return value_of_integer(i);
    struct builder b = builder_new(NUMBER_ROOM);
    builder_int(&b, i);
    return view_of_number(builder_view(&b));
}

value number_of_uint64(uint64_t i) {
    return i <= INT64_MAX ? number_of_int64((int64_t)i) : number_of_bigint(bigint_of_uint64(i));
}

value number_of_text(struct text t) {
    if (t.len == 0 || t.len > STRING_MAX_BYTES || (t.ptr[0] != '-' && !is_digit(t.ptr[0])))
        return VALUE_UNDEFINED;
    uint8_t *copy = rt_alloc(t.len);
    bytes_copy(copy, t.ptr, t.len);
    value v;
    json_begin((struct text){copy, t.len});
    return json_number(copy, &v) == copy + t.len ? v : VALUE_UNDEFINED;
}

value number_keep(uint32_t mark, const struct builder *b) {
    uint8_t *to = at(mark);
    memmove(to, b->ptr, b->len);
    heap_release(mark + ((b->len + 7) & ~7u));
    if (b->len > STRING_MAX_BYTES) rt_fail("guest_memory", "a number has too many digits");
    bool negative = b->len > 0 && to[0] == '-';
    uint32_t n_digits = b->len - negative;
    int64_t i = 0;
    for (uint32_t k = negative; k < b->len; k++) {
        if (!is_digit(to[k]) || n_digits > 18) return view_of_number((struct text){to, b->len});
        i = i * 10 + (to[k] - '0');
    }
    if (i > INTEGER_MAX + negative || (negative && i == 0))
        return view_of_number((struct text){to, b->len});
    heap_release(mark);
    return value_of_integer(negative ? -i : i);
}

/* ---- comparison and hashing ---- */

int number_compare(value a, value b) {
    uint8_t room_a[NUMBER_ROOM], room_b[NUMBER_ROOM];
    if (value_tag(a) == TAG_INTEGER && value_tag(b) == TAG_INTEGER) {
        int64_t x = value_integer(a), y = value_integer(b);
        return x < y ? -1 : x > y;
    }
    return decimal_compare(decimal_of_text(number_text(a, room_a)),
                           decimal_of_text(number_text(b, room_b)));
}

bool number_equal(value a, value b) {
    if (value_tag(a) == TAG_INTEGER && value_tag(b) == TAG_INTEGER) return a == b;
    return number_compare(a, b) == 0;
}

int number_sign(value n) {
    if (value_tag(n) == TAG_INTEGER) return value_integer(n) < 0 ? -1 : value_integer(n) > 0;
    return decimal_sign(decimal_of_text(text_of(n)));
}

/* The value as an int64, when it is an integer with at most 18 digits. */
static bool decimal_int64(struct decimal d, int64_t *out) {
    if (d.n == 0) return *out = 0, true;
    if (d.exponent < 0 || d.n > 18 || d.n + d.exponent > 18) return false;
    int64_t i = 0;
    for (int64_t n = d.n + d.exponent; n > 0; n--) i = i * 10 + (next_digit(&d) - '0');
    *out = d.negative ? -i : i;
    return true;
}

/* layout.h: as the equal integer, else over the canonical form. */
uint32_t number_hash(value n) {
    int64_t i;
    if (value_tag(n) == TAG_INTEGER) return layout_mix(n);
    struct decimal d = decimal_of_text(text_of(n));
    if (decimal_int64(d, &i) && i >= INTEGER_MIN && i <= INTEGER_MAX)
        return layout_mix(value_of_integer(i));
    uint32_t mark = heap_mark();
    struct builder b = builder_new(d.n + NUMBER_ROOM + 2);
    if (d.negative) builder_put(&b, '-');
    int64_t exponent = d.exponent;
    while (d.n > 0) builder_put(&b, next_digit(&d));
    builder_put(&b, 'e');
    builder_int(&b, exponent);
    uint32_t hash = layout_hash_bytes(b.ptr, b.len);
    heap_release(mark);
    return hash;
}

/* ---- integers ---- */

bool number_is_plain_integer(value n) {
    if (value_tag(n) == TAG_INTEGER) return true;
    struct text t = text_of(n);
    for (uint32_t i = t.ptr[0] == '-'; i < t.len; i++)
        if (!is_digit(t.ptr[i])) return false;
    return true;
}

bool number_is_integral(value n) {
    return value_tag(n) == TAG_INTEGER || decimal_of_text(text_of(n)).exponent >= 0;
}

static bool plain_int64(struct text t, int64_t *out) {
    bool negative = t.ptr[0] == '-';
    uint64_t u = 0;
    if (t.len - negative > 19) return false;
    for (uint32_t i = negative; i < t.len; i++) {
        if (!is_digit(t.ptr[i])) return false;
        u = u * 10 + (t.ptr[i] - '0'); /* 19 digits fit 64 bits */
    }
    if (u > (uint64_t)INT64_MAX + negative) return false;
    *out = negative ? (int64_t)(0 - u) : (int64_t)u;
    return true;
}

bool number_int64(value n, int64_t *out) {
    if (value_tag(n) != TAG_INTEGER) return plain_int64(text_of(n), out);
    *out = value_integer(n);
    return true;
}

bool number_integral_int64(value n, int64_t *out) {
    struct bigint b;
    if (number_int64(n, out)) return true;
    struct decimal d = decimal_of_text(text_of(n));
    if (d.exponent < 0 || d.n + d.exponent > 19) return false;
    return bigint_of_number(n, &b) && bigint_int64(b, out);
}

struct bigint bigint_power(uint32_t base, uint32_t exponent) {
    struct bigint power = bigint_of_uint64(1), square = bigint_of_uint64(base);
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1) power = bigint_mul(power, square);
        if (exponent > 1) square = bigint_mul(square, square);
    }
    return power;
}

bool bigint_of_number(value n, struct bigint *out) {
    if (value_tag(n) == TAG_INTEGER) return *out = bigint_of_int64(value_integer(n)), true;
    struct decimal d = decimal_of_text(text_of(n));
    if (d.exponent < 0) return false;
    if (d.n == 0) return *out = bigint_of_uint64(0), true;
    if (d.exponent > STRING_MAX_BYTES) rt_fail("guest_memory", "a number has too many digits");
    struct bigint r;
    if (!bigint_of_text(decimal_digits(d), 10, &r)) return false;
    if (d.exponent > 0) r = bigint_mul(r, bigint_power(10, (uint32_t)d.exponent));
    r.negative = d.negative;
    *out = r;
    return true;
}

value number_of_bigint(struct bigint a) {
    struct builder b = builder_new(0);
    int64_t i;
    if (bigint_int64(a, &i)) return number_of_int64(i);
    builder_bigint(&b, a, 10);
    return view_of_number(builder_view(&b));
}
