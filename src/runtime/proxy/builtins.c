/* The builtins that policies otherwise call in the native host, as far as a proxy has what they
 * need: the time, random bytes. in: ids that the compiler gives (src/compiler/wasm/proxy.c). out:
 * cells. owns: nothing. */
#include "runtime/builtins/builtin.h"
#include "runtime/proxy/filter.h"

enum { TIME_NOW_NS, RAND_INTN, UUID_RFC4122 };

static uint32_t cell_of(value v) {
    if (!is_defined(v)) return 0;
    value *cell = rt_alloc(sizeof *cell);
    *cell = v;
    return addr(cell);
}

static value of_cell(uint32_t cell) { return *(const value *)at(cell); }

static value number_of(uint64_t n) {
    struct builder b = builder_new(24);
    value v = VALUE_UNDEFINED;
    builder_int(&b, (int64_t)n);
    return json_read(builder_view(&b), false, &v, NULL) ? v : VALUE_UNDEFINED;
}

/* Once a decision: all its calls see one time. */
static value now(void) {
    uint64_t *ns = rt_alloc(sizeof *ns);
    if (is_defined(filter.now)) return filter.now;
    if (proxy_get_current_time_nanoseconds(addr(ns)) != HOST_OK)
        return bi_error("time.now_ns", "the proxy does not tell the time");
    return filter.now = number_of(*ns);
}

/* ---- random: the same operands give the same result within one decision ---- */

static value known(value key) {
    return is_defined(filter.random) ? object_get(filter.random, key) : VALUE_UNDEFINED;
}

static value keep(value key, value v) {
    if (!is_defined(filter.random)) filter.random = object_new(2);
    object_put(filter.random, key, v);
    return v;
}

static const uint8_t *random_bytes(uint32_t n) {
    uint8_t *bytes = rt_alloc(n);
    if (wasi_random_get(addr(bytes), n) != 0)
        rt_fail("eval_builtin_error", "the proxy gives no random bytes");
    return bytes;
}

static value key_of(value builtin, value a, value b) {
    value key = array_new(3);
    array_push(key, builtin);
    array_push(key, a);
    array_push(key, b);
    return key;
}

static value rand_intn(value seed, value limit) {
    int64_t n;
    NEED_STRING("rand.intn", 1, seed);
    if (!operand_int64("rand.intn", 2, limit, &n)) return VALUE_UNDEFINED;
    if (n == 0) return value_of_integer(0);
    uint64_t most = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    value key = key_of(STRING("rand.intn"), seed, limit), v = known(key);
    return is_defined(v) ? v : keep(key, number_of(layout_load64(random_bytes(8)) % most));
}

static void put_hex(struct builder *b, uint8_t byte) {
    static const char digits[] = "0123456789abcdef";
    builder_put(b, (uint8_t)digits[byte >> 4]);
    builder_put(b, (uint8_t)digits[byte & 15]);
}

/* Version 4: random, but for the bits that say so. */
static value uuid(value seed) {
    enum { BYTES = 16, VERSION_AT = 6, VARIANT_AT = 8 };
    value key = key_of(STRING("uuid.rfc4122"), seed, VALUE_NULL), v = known(key);
    if (is_defined(v)) return v;
    const uint8_t *bytes = random_bytes(BYTES);
    struct builder b = builder_new(40);
    for (uint32_t i = 0; i < BYTES; i++) {
        uint8_t byte = bytes[i];
        if (i == VERSION_AT) byte = (byte & 0x0f) | 0x40;
        if (i == VARIANT_AT) byte = (byte & 0x3f) | 0x80;
        if (i == 4 || i == 6 || i == 8 || i == 10) builder_put(&b, '-');
        put_hex(&b, byte);
    }
    return keep(key, builder_string(&b));
}

/* ---- what rt_builtin<n> calls ---- */

uint32_t opa_builtin0(uint32_t id, uint32_t ctx) {
    (void)ctx;
    return id == TIME_NOW_NS ? cell_of(now()) : 0;
}

uint32_t opa_builtin1(uint32_t id, uint32_t ctx, uint32_t a) {
    (void)ctx;
    return id == UUID_RFC4122 ? cell_of(uuid(of_cell(a))) : 0;
}

uint32_t opa_builtin2(uint32_t id, uint32_t ctx, uint32_t a, uint32_t b) {
    (void)ctx;
    return id == RAND_INTN ? cell_of(rand_intn(of_cell(a), of_cell(b))) : 0;
}

/* None of the filter's builtins has that many operands. */
uint32_t opa_builtin3(uint32_t id, uint32_t ctx, uint32_t a, uint32_t b, uint32_t c) {
    return id & ctx & a & b & c & 0;
}

uint32_t opa_builtin4(uint32_t id, uint32_t ctx, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return id & ctx & a & b & c & d & 0;
}
