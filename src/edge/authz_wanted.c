/* Which parts of an authorization input a module reads, from the paths that it names.
 * in: the list in a module, hostile. out: bits. owns: nothing. */
#include "edge/authz.h"

struct part {
    const char *name;
    uint32_t bit;
};
static const struct part members[] = {
    {"parsed_path", AUTHZ_PARSED_PATH},           {"parsed_query", AUTHZ_PARSED_QUERY},
    {"parsed_body", AUTHZ_PARSED_BODY},           {"truncated_body", AUTHZ_TRUNCATED_BODY},
    {"source_principal", AUTHZ_SOURCE_PRINCIPAL}, {0}};
static const struct part attributes[] = {{"source", 1 << 1},
                                         {"destination", 1 << 2},
                                         {"contextExtensions", 1 << 10},
                                         {"metadataContext", 1 << 11},
                                         {"tlsSession", 1 << 12},
                                         {"routeMetadataContext", 1 << 13},
                                         {0}};
static const struct part http[] = {{"id", 1 << 1},         {"method", 1 << 2},
                                   {"headers", 1 << 3},    {"path", 1 << 4},
                                   {"host", 1 << 5},       {"scheme", 1 << 6},
                                   {"query", 1 << 7},      {"fragment", 1 << 8},
                                   {"size", 1 << 9},       {"protocol", 1 << 10},
                                   {"body", 1 << 11},      {"rawBody", 1 << 12},
                                   {"headerMap", 1 << 13}, {0}};
enum { REQUEST = 1 << 4, TIME = 1 << 1, HTTP = 1 << 2, ALL_OF_ATTRIBUTES = 0xffff, ALL_OF_REQUEST = 0xff };
static const uint64_t ALL_OF_HTTP = 0xffffff;

static uint64_t bit_of(const struct part *parts, struct str name) {
    while (parts->name && !str_is(name, parts->name)) parts++;
    return parts->bit;
}

static uint64_t in_attributes(const struct json *path) {
    uint64_t request = (uint64_t)REQUEST << AUTHZ_ATTRIBUTES_SHIFT;
    uint64_t all_http = ALL_OF_HTTP << AUTHZ_HTTP_SHIFT,
             all_request = (uint64_t)ALL_OF_REQUEST << AUTHZ_REQUEST_SHIFT;
    if (path->n == 1) return (uint64_t)ALL_OF_ATTRIBUTES << AUTHZ_ATTRIBUTES_SHIFT | all_request | all_http;
    if (!str_is(path->items[1]->text, "request"))
        return bit_of(attributes, path->items[1]->text) << AUTHZ_ATTRIBUTES_SHIFT;
    if (path->n == 2) return request | all_request | all_http;
    if (str_is(path->items[2]->text, "time")) return request | (uint64_t)TIME << AUTHZ_REQUEST_SHIFT;
    if (!str_is(path->items[2]->text, "http")) return 0;
    request |= (uint64_t)HTTP << AUTHZ_REQUEST_SHIFT;
    return request | (path->n == 3 ? all_http : bit_of(http, path->items[3]->text) << AUTHZ_HTTP_SHIFT);
}

static bool are_strings(const struct json *path) {
    if (path->kind != JSON_ARRAY) return false;
    for (uint32_t i = 0; i < path->n; i++)
        if (path->items[i]->kind != JSON_STRING) return false;
    return true;
}

uint64_t authz_wanted(const struct json *paths) {
    uint64_t wanted = 0;
    if (paths->kind != JSON_ARRAY) return AUTHZ_ALL;
    for (uint32_t i = 0; i < paths->n; i++) {
        const struct json *path = paths->items[i];
        if (!are_strings(path) || path->n == 0) return AUTHZ_ALL;
        wanted |= str_is(path->items[0]->text, "attributes")
                      ? in_attributes(path)
                      : bit_of(members, path->items[0]->text) << AUTHZ_MEMBERS_SHIFT;
    }
    return wanted;
}
