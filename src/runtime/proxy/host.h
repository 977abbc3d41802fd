/* What a filter imports from a proxy: functions of proxy-wasm 0.2.1 (its spec has their meaning)
 * and of WASI, and those that the compiler puts into the module itself (src/compiler/wasm/proxy.c).
 */
#ifndef REGENT_RUNTIME_PROXY_HOST_H
#define REGENT_RUNTIME_PROXY_HOST_H
#include <stdint.h>

#define HOST_IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

enum host_status { HOST_OK = 0, HOST_NOT_FOUND = 1 };
enum host_action { HOST_CONTINUE = 0, HOST_PAUSE = 1 };
enum host_buffer { BUFFER_REQUEST_BODY = 0, BUFFER_PLUGIN_CONFIGURATION = 7 };
enum host_map { MAP_REQUEST_HEADERS = 0, MAP_RESPONSE_HEADERS = 2 };
enum host_level { LEVEL_DEBUG = 1, LEVEL_INFO = 2, LEVEL_WARN = 3, LEVEL_ERROR = 4 };

/* Returned bytes are allocated by proxy_on_memory_allocate; *_out are addresses of words. */
HOST_IMPORT("env", "proxy_log")
uint32_t proxy_log(uint32_t level, uint32_t text, uint32_t len);
HOST_IMPORT("env", "proxy_get_current_time_nanoseconds")
uint32_t proxy_get_current_time_nanoseconds(uint32_t ns_out);
HOST_IMPORT("env", "proxy_get_buffer_bytes")
uint32_t proxy_get_buffer_bytes(uint32_t buffer, uint32_t from, uint32_t max, uint32_t data_out,
                                uint32_t len_out);
HOST_IMPORT("env", "proxy_get_header_map_pairs")
uint32_t proxy_get_header_map_pairs(uint32_t map, uint32_t data_out, uint32_t len_out);
HOST_IMPORT("env", "proxy_get_header_map_value")
uint32_t proxy_get_header_map_value(uint32_t map, uint32_t key, uint32_t key_len, uint32_t data_out,
                                    uint32_t len_out);
HOST_IMPORT("env", "proxy_add_header_map_value")
uint32_t proxy_add_header_map_value(uint32_t map, uint32_t key, uint32_t key_len, uint32_t text,
                                    uint32_t len);
HOST_IMPORT("env", "proxy_replace_header_map_value")
uint32_t proxy_replace_header_map_value(uint32_t map, uint32_t key, uint32_t key_len, uint32_t text,
                                        uint32_t len);
HOST_IMPORT("env", "proxy_remove_header_map_value")
uint32_t proxy_remove_header_map_value(uint32_t map, uint32_t key, uint32_t key_len);
HOST_IMPORT("env", "proxy_get_property")
uint32_t proxy_get_property(uint32_t path, uint32_t path_len, uint32_t data_out, uint32_t len_out);
HOST_IMPORT("env", "proxy_set_property")
uint32_t proxy_set_property(uint32_t path, uint32_t path_len, uint32_t data, uint32_t len);
HOST_IMPORT("env", "proxy_send_local_response")
uint32_t proxy_send_local_response(uint32_t status, uint32_t details, uint32_t details_len,
                                   uint32_t body, uint32_t body_len, uint32_t headers,
                                   uint32_t headers_len, uint32_t grpc_status);
HOST_IMPORT("wasi_snapshot_preview1", "random_get")
uint32_t wasi_random_get(uint32_t to, uint32_t len);

/* filter_guarded(task), whose failure comes back as the address of its message; 0: it went well. */
HOST_IMPORT("regent", "guard") uint32_t filter_guard(uint32_t task);
/* Ends the guarded task. */
HOST_IMPORT("regent", "throw") void filter_throw(uint32_t message);
/* Runs the entrypoint with this id: its result is in rt_state.result. */
HOST_IMPORT("regent", "dispatch") void filter_dispatch(uint32_t entrypoint);

#endif
