/* The peer of a filter with a policy: one that reads all request headers and continues, and no more.
 * in: the proxy's calls. out: CONTINUE. owns: a buffer that each request writes over. */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))
__attribute__((import_module("env"), import_name("proxy_get_header_map_pairs"))) extern uint32_t
proxy_get_header_map_pairs(uint32_t map, const uint8_t **data, uint32_t *len);

enum { BUFFER_BYTES = 1 << 17, CONTINUE = 0, PAUSE = 1 };
static uint8_t buffer[BUFFER_BYTES];

EXPORT(proxy_abi_version_0_2_1) void abi_version(void) {}
EXPORT(_initialize) void initialize(void) {}
EXPORT(proxy_on_memory_allocate) uint8_t *allocate(uint32_t n) { return n <= BUFFER_BYTES ? buffer : 0; }
EXPORT(proxy_on_context_create) void create(uint32_t id, uint32_t parent) {
    (void)id;
    (void)parent;
}
EXPORT(proxy_on_vm_start) uint32_t vm_start(uint32_t id, uint32_t len) { return (id | len | 1) != 0; }
EXPORT(proxy_on_configure) uint32_t configure(uint32_t id, uint32_t len) { return (id | len | 1) != 0; }
EXPORT(proxy_on_request_headers) uint32_t headers(uint32_t id, uint32_t n, uint32_t end) {
    const uint8_t *data;
    uint32_t len;
    (void)id;
    (void)n;
    (void)end;
    return proxy_get_header_map_pairs(0, &data, &len) == 0 && data[0] > 0 ? CONTINUE : PAUSE;
}
EXPORT(proxy_on_done) uint32_t done(uint32_t id) { return (id | 1) != 0; }
EXPORT(proxy_on_delete) void delete_context(uint32_t id) { (void)id; }
