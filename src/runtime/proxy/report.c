/* Makes decisions known: a log line, filter state for access logs, a header for other filters.
 * in: the decision. out: calls of the proxy. owns: nothing. All three carry the same JSON object.
 */
#include "runtime/proxy/filter.h"

enum { DECISION_MAX_BYTES = 16384 }; /* longer ones are left out: logs and headers have limits */

static void field(struct builder *b, const char *name, struct text v) {
    builder_c(b, ",\"");
    builder_c(b, name);
    builder_c(b, "\":");
    json_write_string(b, request_clean(v));
}

static struct text path_without_query(void) {
    struct text path = filter.request.path;
    int64_t mark = text_find(path, TEXT("?"), 0);
    return mark < 0 ? path : text_slice(path, 0, (uint32_t)mark);
}

static struct text object(value decision, struct text reason) {
    struct builder b = builder_new(512), d = builder_new(256);
    builder_c(&b, filter.allowed ? "{\"allowed\":true" : "{\"allowed\":false");
    if (reason.len > 0) field(&b, "reason", reason);
    if (is_defined(decision)) {
        json_write(&d, decision, JSON_PLAIN);
        builder_c(&b, ",\"decision\":");
        if (d.len > DECISION_MAX_BYTES) builder_c(&b, "null,\"decision_bytes\":");
        if (d.len > DECISION_MAX_BYTES) builder_int(&b, d.len);
        if (d.len <= DECISION_MAX_BYTES) builder_text(&b, builder_view(&d));
    }
    if (filter.request.method.len > 0) field(&b, "method", filter.request.method);
    if (filter.request.host.len > 0) field(&b, "host", filter.request.host);
    if (filter.request.path.len > 0) field(&b, "path", path_without_query());
    builder_put(&b, '}');
    return builder_view(&b);
}

static bool covers(enum extent extent) {
    return extent == EXTENT_ALL || (extent == EXTENT_DENIALS && !filter.allowed);
}

static void set_header(struct text report) {
    const struct root *r = filter.root;
    if (r->decision_header_len == 0 || !filter.allowed) return; /* denied: reply_deny sends it */
    if (proxy_replace_header_map_value(MAP_REQUEST_HEADERS, addr(r->decision_header),
                                       r->decision_header_len, addr(report.ptr), report.len))
        rt_fail("decision", "the proxy refuses decision_header");
}

void report(value decision, struct text reason, bool failed) {
    const struct root *r = filter.root;
    struct text name = TEXT("regent.decision");
    filter.reported = (struct text){NULL, 0};
    if (!covers(r->log) && !covers(r->metadata) && r->decision_header_len == 0) return;
    struct text t = filter.reported = object(decision, reason);
    if (covers(r->log)) proxy_log(failed ? LEVEL_WARN : LEVEL_INFO, addr(t.ptr), t.len);
    if (covers(r->metadata)) proxy_set_property(addr(name.ptr), name.len, addr(t.ptr), t.len);
    set_header(t);
}

struct text report_header(void) {
    return filter.root->decision_header_len > 0 ? filter.reported : (struct text){NULL, 0};
}
