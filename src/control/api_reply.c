/* Answers of the REST API: JSON, errors, headers, pages, times.
 * in: what a handler found. out: the reply's status, headers and body. owns: nothing; texts lie in
 * the call's arena. */
#include "base/clock.h"
#include "control/api_private.h"
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

void api_unanswer(struct api_call *c) {
    struct buf *body = c->r->body;
    buf_clear(body);
    http_reply_init(c->r, body);
}

void api_json(struct api_call *c, int status, const struct json *body) {
    buf_clear(c->r->body);
    c->r->status = status;
    c->r->content_type = body ? "application/json" : NULL;
    if (!body) return;
    json_print(body, false, 0, c->r->body);
    buf_byte(c->r->body, '\n');
}

void api_error_list(struct api_call *c, int status, const char *code, const char *message,
                    const struct json *errors) {
    struct buf *b = c->r->body;
    buf_clear(b);
    c->r->n_extra = 0;
    c->r->status = status;
    c->r->content_type = "application/json";
    buf_cstr(b, "{\"code\":");
    json_print_string(str_of(code), b);
    buf_cstr(b, ",\"message\":");
    json_print_string(str_of(message), b);
    buf_cstr(b, ",\"errors\":");
    if (errors)
        json_print(errors, false, 0, b);
    else
        buf_cstr(b, "[]");
    buf_cstr(b, "}\n");
}

void api_error(struct api_call *c, int status, const char *code, const char *format, ...) {
    char message[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    api_error_list(c, status, code, message, NULL);
}

void api_retry_after(struct api_call *c, uint32_t seconds) {
    char *text = arena_printf(c->arena, NULL, "%u", seconds);
    if (text) api_header(c, STR("Retry-After"), str_of(text));
}

void api_store_error(struct api_call *c, enum err e) {
    const char *why = c->db ? db_why(c->db) : "";
    if (e == ERR_EXISTS) {
        api_error(c, 409, "conflict",
                  "somebody else has just made one of that name: read it again");
        return;
    }
    log_line(c->control->log, LOG_ERROR, "the store failed", "error", err_word(e), "reason", why,
             NULL);
    if (e == ERR_OVERLOAD || e == ERR_IO) {
        api_error(c, 503, "store_unavailable",
                  "the store cannot be reached, or is too busy: try again");
        api_retry_after(c, 1);
    } else if (e == ERR_LIMIT || e == ERR_MEMORY) {
        api_error(c, 413, "too_large", "this needs more memory than a call may have");
    } else {
        api_error(c, 500, "internal_error",
                  "the control plane could not do this: its log says why");
    }
}

struct json *api_diags(struct arena *a, const struct diag_list *diags) {
    struct json *out = json_array(a);
    for (uint32_t i = 0; i < diags->n; i++) {
        const struct diag *d = &diags->items[i];
        struct json *item = json_object(a), *place = json_object(a);
        json_set(a, item, STR("code"), json_string(a, str_of(diag_code_word(d->code))));
        json_set(a, item, STR("message"), json_string(a, d->message));
        json_set(a, place, STR("file"), json_string(a, d->loc.file));
        if (d->loc.row) {
            json_set(a, place, STR("row"), json_int(a, d->loc.row));
            json_set(a, place, STR("col"), json_int(a, d->loc.col));
        }
        if (d->loc.file.len || d->loc.row) json_set(a, item, STR("location"), place);
        json_push(a, out, item);
    }
    return out;
}

void api_header(struct api_call *c, struct str name, struct str value) {
    if (c->r->n_extra < HTTP_MAX_REPLY_HEADERS)
        c->r->extra[c->r->n_extra++] = (struct http_header){name, value};
}

void api_etag(struct api_call *c, int64_t rev) {
    char *text = arena_printf(c->arena, NULL, "\"%lld\"", (long long)rev);
    if (text) api_header(c, STR("ETag"), str_of(text));
}

void api_page(struct api_call *c, struct json *items, struct str next) {
    struct json *page = json_object(c->arena);
    json_set(c->arena, page, STR("items"), items);
    if (next.len) json_set(c->arena, page, STR("next"), json_string(c->arena, next));
    if (page)
        api_json(c, 200, page);
    else
        api_store_error(c, ERR_MEMORY);
}

bool api_page_read(struct api_call *c, struct api_page_request *out) {
    out->limit = API_PAGE;
    if (!api_param_number(c, "limit", API_PAGE_MOST, &out->limit)) return false;
    if (out->limit < 1) {
        api_error(c, 400, "invalid_parameter", "limit is a number from 1 to %d", API_PAGE_MOST);
        return false;
    }
    out->after = api_param(c, "after");
    if (!out->after.ptr) out->after = STR("");
    return true;
}

struct json *api_time(struct arena *a, int64_t ms) {
    struct tm t;
    time_t seconds = (time_t)(ms / 1000);
    char text[32];
    if (ms <= 0 || !gmtime_r(&seconds, &t)) return json_null(a);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &t), len;
    char *copy = arena_printf(a, &len, "%.*s.%03dZ", (int)n, text, (int)(ms % 1000));
    return copy ? json_string(a, (struct str){copy, len}) : NULL;
}
