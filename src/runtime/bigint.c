/* Integers of any size: sign and magnitude in 32-bit limbs, little end first.
 * in: integers. out: new integers; operands may be shared. owns: limbs, on the heap. */
#include "runtime/number.h"
#include "runtime/state.h"

enum { LIMBS_MAX = 1 << 22 }; /* 16 MiB: more is a mistake or an attack */

static struct bigint integer_new(uint32_t n) {
    if (n > LIMBS_MAX) rt_fail("guest_memory", "an integer has too many digits");
    return (struct bigint){rt_alloc(n * 4), n, false};
}

static struct bigint trimmed(struct bigint a) {
    while (a.n > 0 && a.limbs[a.n - 1] == 0) a.n--;
    if (a.n == 0) a.negative = false;
    return a;
}

struct bigint bigint_of_uint64(uint64_t u) {
    struct bigint a = integer_new(2);
    a.limbs[0] = (uint32_t)u;
    a.limbs[1] = (uint32_t)(u >> 32);
    return trimmed(a);
}

struct bigint bigint_of_int64(int64_t i) {
    struct bigint a = bigint_of_uint64(i < 0 ? 0 - (uint64_t)i : (uint64_t)i);
    a.negative = i < 0;
    return a;
}

bool bigint_int64(struct bigint a, int64_t *out) {
    if (a.n > 2) return false;
    uint64_t u = (a.n > 0 ? a.limbs[0] : 0) | (a.n > 1 ? (uint64_t)a.limbs[1] << 32 : 0);
    if (u > (uint64_t)INT64_MAX + a.negative) return false;
    *out = a.negative ? (int64_t)(0 - u) : (int64_t)u;
    return true;
}

struct bigint bigint_neg(struct bigint a) {
    a.negative = a.n > 0 && !a.negative;
    return a;
}

uint32_t bigint_bits(struct bigint a) {
    return a.n == 0 ? 0 : a.n * 32 - (uint32_t)__builtin_clz(a.limbs[a.n - 1]);
}

/* ---- magnitudes ---- */

static int compare_magnitude(struct bigint a, struct bigint b) {
    if (a.n != b.n) return a.n < b.n ? -1 : 1;
    for (uint32_t i = a.n; i-- > 0;)
        if (a.limbs[i] != b.limbs[i]) return a.limbs[i] < b.limbs[i] ? -1 : 1;
    return 0;
}

static struct bigint add_magnitude(struct bigint a, struct bigint b) {
    if (a.n < b.n) return add_magnitude(b, a);
    struct bigint sum = integer_new(a.n + 1);
    uint64_t carry = 0;
    for (uint32_t i = 0; i < a.n; i++) {
        carry += (uint64_t)a.limbs[i] + (i < b.n ? b.limbs[i] : 0);
        sum.limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    sum.limbs[a.n] = (uint32_t)carry;
    return trimmed(sum);
}

/* |a| >= |b| */
static struct bigint sub_magnitude(struct bigint a, struct bigint b) {
    struct bigint rest = integer_new(a.n);
    int64_t borrow = 0;
    for (uint32_t i = 0; i < a.n; i++) {
        borrow += (int64_t)a.limbs[i] - (i < b.n ? b.limbs[i] : 0);
        rest.limbs[i] = (uint32_t)borrow;
        borrow >>= 32;
    }
    return trimmed(rest);
}

int bigint_compare(struct bigint a, struct bigint b) {
    if (a.negative != b.negative) return a.negative ? -1 : 1;
    int c = compare_magnitude(a, b);
    return a.negative ? -c : c;
}

struct bigint bigint_add(struct bigint a, struct bigint b) {
    struct bigint r;
    if (a.negative == b.negative) {
        r = add_magnitude(a, b);
        r.negative = a.negative && r.n > 0;
        return r;
    }
    bool a_larger = compare_magnitude(a, b) >= 0;
    r = a_larger ? sub_magnitude(a, b) : sub_magnitude(b, a);
    r.negative = r.n > 0 && (a_larger ? a.negative : b.negative);
    return r;
}

struct bigint bigint_sub(struct bigint a, struct bigint b) {
    return bigint_add(a, bigint_neg(b));
}

struct bigint bigint_mul(struct bigint a, struct bigint b) {
    struct bigint r = integer_new(a.n + b.n);
    if (r.n > 0) memset(r.limbs, 0, (size_t)r.n * 4);
    for (uint32_t i = 0; i < a.n; i++) {
        uint64_t carry = 0;
        for (uint32_t j = 0; j < b.n; j++) {
            carry += (uint64_t)a.limbs[i] * b.limbs[j] + r.limbs[i + j];
            r.limbs[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        r.limbs[i + b.n] = (uint32_t)carry;
    }
    r.negative = a.negative != b.negative;
    return trimmed(r);
}

/* ---- shifts ---- */

static struct bigint shl_magnitude(struct bigint a, uint32_t bits) {
    uint32_t whole = bits / 32, part = bits % 32;
    if (a.n == 0) return a;
    struct bigint r = integer_new(a.n + whole + 1);
    memset(r.limbs, 0, (size_t)r.n * 4);
    for (uint32_t i = 0; i < a.n; i++) {
        uint64_t w = (uint64_t)a.limbs[i] << part;
        r.limbs[i + whole] |= (uint32_t)w;
        r.limbs[i + whole + 1] = (uint32_t)(w >> 32);
    }
    return trimmed(r);
}

/* *lost: whether a one was shifted out. */
static struct bigint shr_magnitude(struct bigint a, uint32_t bits, bool *lost) {
    uint32_t whole = bits / 32, part = bits % 32;
    *lost = false;
    for (uint32_t i = 0; i < whole && i < a.n; i++) *lost |= a.limbs[i] != 0;
    if (whole >= a.n) return (struct bigint){a.limbs, 0, false};
    *lost |= (a.limbs[whole] & (((uint32_t)1 << part) - 1)) != 0;
    struct bigint r = integer_new(a.n - whole);
    for (uint32_t i = 0; i < r.n; i++) {
        uint64_t w = a.limbs[i + whole];
        if (i + whole + 1 < a.n) w |= (uint64_t)a.limbs[i + whole + 1] << 32;
        r.limbs[i] = (uint32_t)(w >> part);
    }
    return trimmed(r);
}

struct bigint bigint_shl(struct bigint a, uint32_t bits) {
    if (bits / 32 >= LIMBS_MAX && a.n > 0)
        rt_fail("guest_memory", "an integer has too many digits");
    struct bigint r = shl_magnitude(a, bits);
    r.negative = a.negative;
    return r;
}

struct bigint bigint_shr(struct bigint a, uint32_t bits) {
    bool lost;
    struct bigint r = shr_magnitude(a, bits, &lost);
    if (a.negative && lost) r = add_magnitude(r, bigint_of_uint64(1));
    r.negative = a.negative && r.n > 0;
    return r;
}

/* ---- division: Knuth's algorithm D ---- */

static uint32_t divide_small(struct bigint a, uint32_t by, uint32_t *quotient) {
    uint64_t rest = 0;
    for (uint32_t i = a.n; i-- > 0;) {
        rest = rest << 32 | a.limbs[i];
        quotient[i] = (uint32_t)(rest / by);
        rest %= by;
    }
    return (uint32_t)rest;
}

/* u[0..n] -= digit × v[0..n); true when it went below zero. */
static bool subtract_product(uint32_t *u, const uint32_t *v, uint32_t n, uint64_t digit) {
    uint64_t carry = 0;
    int64_t borrow = 0;
    for (uint32_t i = 0; i < n; i++) {
        carry += digit * v[i];
        borrow += (int64_t)u[i] - (int64_t)(uint32_t)carry;
        u[i] = (uint32_t)borrow;
        borrow >>= 32;
        carry >>= 32;
    }
    borrow += (int64_t)u[n] - (int64_t)carry;
    u[n] = (uint32_t)borrow;
    return borrow < 0;
}

static void add_back(uint32_t *u, const uint32_t *v, uint32_t n) {
    uint64_t carry = 0;
    for (uint32_t i = 0; i < n; i++) {
        carry += (uint64_t)u[i] + v[i];
        u[i] = (uint32_t)carry;
        carry >>= 32;
    }
    u[n] += (uint32_t)carry;
}

static uint64_t guess_digit(const uint32_t *u, const uint32_t *v, uint32_t n) {
    uint64_t top = (uint64_t)u[n] << 32 | u[n - 1], q = top / v[n - 1], rest = top % v[n - 1];
    while (q > UINT32_MAX || q * v[n - 2] > (rest << 32 | u[n - 2])) {
        q--;
        rest += v[n - 1];
        if (rest > UINT32_MAX) break;
    }
    return q;
}

/* |a| >= |b|, b.n >= 2. */
static void divide_long(struct bigint a, struct bigint b, struct bigint *quotient,
                        struct bigint *rest) {
    uint32_t shift = (uint32_t)__builtin_clz(b.limbs[b.n - 1]), n = b.n;
    bool lost;
    struct bigint v = shl_magnitude(b, shift), u = integer_new(a.n + 1),
                  q = integer_new(a.n - n + 1);
    struct bigint shifted = shl_magnitude(a, shift);
    memset(u.limbs, 0, (size_t)u.n * 4);
    memcpy(u.limbs, shifted.limbs, (size_t)shifted.n * 4);
    for (uint32_t j = a.n - n + 1; j-- > 0;) {
        uint64_t digit = guess_digit(u.limbs + j, v.limbs, n);
        if (subtract_product(u.limbs + j, v.limbs, n, digit)) {
            digit--;
            add_back(u.limbs + j, v.limbs, n);
        }
        q.limbs[j] = (uint32_t)digit;
    }
    *quotient = trimmed(q);
    *rest = shr_magnitude(trimmed(u), shift, &lost);
}

void bigint_div(struct bigint a, struct bigint b, struct bigint *quotient,
                struct bigint *remainder) {
    struct bigint q = {a.limbs, 0, false}, r = a;
    if (b.n == 1 && a.n > 0) {
        q = integer_new(a.n);
        r = bigint_of_uint64(divide_small(a, b.limbs[0], q.limbs));
        q = trimmed(q);
    } else if (compare_magnitude(a, b) >= 0 && b.n > 1) {
        divide_long(a, b, &q, &r);
    }
    q.negative = q.n > 0 && a.negative != b.negative;
    r.negative = r.n > 0 && a.negative;
    if (quotient != NULL) *quotient = q;
    if (remainder != NULL) *remainder = r;
}

/* ---- bits, in two's complement of one limb more than needed ---- */

static struct bigint twos_complement(struct bigint a, uint32_t n) {
    struct bigint r = integer_new(n);
    uint64_t carry = a.negative;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t limb = i < a.n ? a.limbs[i] : 0;
        carry += a.negative ? (uint32_t)~limb : limb;
        r.limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return r;
}

static struct bigint of_twos_complement(struct bigint r) {
    bool negative = r.n > 0 && r.limbs[r.n - 1] >> 31 != 0;
    if (negative) {
        r.negative = true;
        r = twos_complement(r, r.n);
    }
    r.negative = negative;
    return trimmed(r);
}

enum bit_operation { BITS_AND, BITS_OR, BITS_XOR };

static struct bigint combine(struct bigint a, struct bigint b, enum bit_operation operation) {
    uint32_t n = (a.n > b.n ? a.n : b.n) + 1;
    struct bigint x = twos_complement(a, n), y = twos_complement(b, n);
    for (uint32_t i = 0; i < n; i++) {
        switch (operation) {
        case BITS_AND: x.limbs[i] &= y.limbs[i]; break;
        case BITS_OR: x.limbs[i] |= y.limbs[i]; break;
        case BITS_XOR: x.limbs[i] ^= y.limbs[i]; break;
        }
    }
    return of_twos_complement(x);
}

struct bigint bigint_and(struct bigint a, struct bigint b) {
    return combine(a, b, BITS_AND);
}
struct bigint bigint_or(struct bigint a, struct bigint b) {
    return combine(a, b, BITS_OR);
}
struct bigint bigint_xor(struct bigint a, struct bigint b) {
    return combine(a, b, BITS_XOR);
}
struct bigint bigint_not(struct bigint a) {
    return bigint_sub(bigint_neg(a), bigint_of_uint64(1));
}

/* ---- text ---- */

/* The largest power of base that fits a limb, and its exponent. */
static uint32_t chunk_of(uint32_t base, uint32_t *n_digits) {
    uint64_t power = base;
    *n_digits = 1;
    while (power * base <= UINT32_MAX) {
        power *= base;
        *n_digits += 1;
    }
    return (uint32_t)power;
}

static uint32_t digit_value(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'z' ? c - 'a' + 10u : 99;
}

/* r = r × by + add, in place; r has room for one limb more. */
static void multiply_add(struct bigint *r, uint32_t by, uint32_t add) {
    uint64_t carry = add;
    for (uint32_t i = 0; i < r->n; i++) {
        carry += (uint64_t)r->limbs[i] * by;
        r->limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry > 0) r->limbs[r->n++] = (uint32_t)carry;
}

bool bigint_of_text(struct text t, uint32_t base, struct bigint *out) {
    bool sign = t.len > 0 && (t.ptr[0] == '-' || t.ptr[0] == '+');
    uint32_t n_digits, chunk = chunk_of(base, &n_digits);
    if (t.len == sign) return false;
    struct bigint r = integer_new(t.len / n_digits + 2);
    r.n = 0;
    uint32_t word = 0, power = 1;
    for (uint32_t i = sign; i < t.len; i++) {
        uint32_t digit = digit_value(t.ptr[i]);
        if (digit >= base) return false;
        word = word * base + digit;
        power *= base;
        if (power == chunk || i + 1 == t.len) {
            multiply_add(&r, power, word);
            word = 0;
            power = 1;
        }
    }
    r = trimmed(r);
    r.negative = r.n > 0 && sign && t.ptr[0] == '-';
    *out = r;
    return true;
}

void builder_bigint(struct builder *b, struct bigint a, uint32_t base) {
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    uint32_t n_digits, chunk = chunk_of(base, &n_digits);
    /* A limb has at most 32 digits (base 2), and n_digits of them come out of at most one limb. */
    uint32_t bits = base >= 8   ? 3
                    : base >= 4 ? 2
                                : 1,
             room = bigint_bits(a) / bits + 1 + n_digits, i = room;
    uint8_t *text = rt_alloc(room);
    struct bigint rest = integer_new(a.n);
    bytes_copy((uint8_t *)rest.limbs, (const uint8_t *)a.limbs, a.n * 4);
    while (rest.n > 0) {
        uint32_t word = divide_small(rest, chunk, rest.limbs);
        rest = trimmed(rest);
        for (uint32_t k = 0; k < n_digits && (word > 0 || rest.n > 0); k++, word /= base)
            text[--i] = (uint8_t)digits[word % base];
    }
    if (i == room) text[--i] = '0';
    if (a.negative) builder_put(b, '-');
    builder_text(b, (struct text){text + i, room - i});
}
