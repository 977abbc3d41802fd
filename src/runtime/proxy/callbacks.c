/* The filter's exports: what a proxy calls, by proxy-wasm 0.2.1.
 * in: context ids, sizes. out: actions. owns: nothing. Every path that does not end with an allowed
 * decision pauses the request or answers it. */
#include "runtime/proxy/filter.h"

RT_EXPORT void proxy_abi_version_0_2_1(void);
RT_EXPORT void _initialize(void);
RT_EXPORT uint32_t proxy_on_memory_allocate(uint32_t n);
RT_EXPORT void proxy_on_context_create(uint32_t id, uint32_t parent);
RT_EXPORT uint32_t proxy_on_vm_start(uint32_t id, uint32_t len);
RT_EXPORT uint32_t proxy_on_configure(uint32_t id, uint32_t len);
RT_EXPORT uint32_t proxy_on_request_headers(uint32_t id, uint32_t n, uint32_t end);
RT_EXPORT uint32_t proxy_on_request_body(uint32_t id, uint32_t len, uint32_t end);
RT_EXPORT uint32_t proxy_on_request_trailers(uint32_t id, uint32_t n);
RT_EXPORT uint32_t proxy_on_response_headers(uint32_t id, uint32_t n, uint32_t end);
RT_EXPORT void proxy_on_delete(uint32_t id);

void proxy_abi_version_0_2_1(void) {}
void _initialize(void) {}

/* The host fills it in before it returns to the call that asked: on the heap of the running task.
 */
uint32_t proxy_on_memory_allocate(uint32_t n) { return addr(heap_try(n)); }

/* What the runtime calls when an evaluation ends early. */
void opa_abort(uint32_t message) { filter_throw(message); }

RT_EXPORT void filter_guarded(enum task task) {
    switch (task) {
    case TASK_CONFIGURE: config_read(); return;
    case TASK_DECIDE: decide(); return;
    case TASK_FAIL: decide_failed(filter.failure); return;
    case TASK_RESPOND: reply_response_headers(); return;
    }
}

static void log_error(const char *text) {
    proxy_log(LEVEL_ERROR, addr(text), (uint32_t)strlen(text));
}

/* ---- roots ---- */

uint32_t proxy_on_vm_start(uint32_t id, uint32_t len) {
    (void)id;
    (void)len;
    document_mark();
    rt_state.json_depth = JSON_LEVELS_MAX;
    return 1;
}

/* A configuration that is replaced in place stays what it was when the new one is wrong. */
uint32_t proxy_on_configure(uint32_t id, uint32_t len) {
    struct root *known = root_find(id), *root = known != NULL ? known : root_new(id);
    (void)len;
    if (root == NULL) {
        log_error("config: too many configurations in one sandbox: give them vm_ids of their own");
        return 0;
    }
    struct root before = *root;
    filter.root = root;
    filter_heap_reset();
    uint32_t message = filter_guard(TASK_CONFIGURE);
    if (message == 0) return 1;
    log_error(at(message));
    *root = before;
    if (known == NULL) root->id = 0;
    return 0;
}

/* ---- streams ---- */

void proxy_on_context_create(uint32_t id, uint32_t parent) {
    struct root *root = root_find(parent);
    if (root != NULL) stream_new(id, root);
}

void proxy_on_delete(uint32_t id) {
    struct root *root = root_find(id);
    if (root != NULL)
        root->id = 0;
    else
        stream_delete(id);
}

static void failed(const char *message) {
    static const char why[] = "regent: no decision";
    filter.allowed = false;
    filter.failure = (struct text){(const uint8_t *)message, (uint32_t)strlen(message)};
    if (filter.request_mark != 0) {
        heap_release(filter.request_mark);
    } else {
        request_clear();
        filter_heap_reset();
    }
    if (filter_guard(TASK_FAIL) == 0) return;
    log_error(why);
    proxy_send_local_response(403, addr(why), sizeof why - 1, 0, 0, 0, 0, UINT32_MAX);
}

static uint32_t decided(struct stream *s) {
    filter.stream = s;
    filter.root = stream_root(s);
    filter.allowed = false;
    filter.request_mark = 0;
    filter_heap_reset();
    uint32_t message = filter_guard(TASK_DECIDE);
    if (message != 0) failed(at(message));
    s->phase = filter.allowed ? PHASE_ALLOWED : PHASE_DENIED;
    return filter.allowed ? HOST_CONTINUE : HOST_PAUSE;
}

/* A request of which nothing is known: no memory for it, or its configuration is gone. */
static uint32_t refused(void) {
    static const char why[] = "regent: the request belongs to no configuration";
    log_error(why);
    proxy_send_local_response(503, addr(why), sizeof why - 1, 0, 0, 0, 0, UINT32_MAX);
    return HOST_PAUSE;
}

uint32_t proxy_on_request_headers(uint32_t id, uint32_t n, uint32_t end) {
    struct stream *s = stream_find(id);
    (void)n;
    const struct root *root = stream_root(s);
    if (root == NULL) return refused();
    filter.request.has_body = filter.request.is_upgrade = false;
    if (!end && root->body_max > 0) {
        filter_heap_reset();
        filter.request.is_upgrade = request_is_upgrade();
    }
    if (!end && root->body_max > 0 && !filter.request.is_upgrade) {
        s->phase = PHASE_BODY;
        return HOST_PAUSE;
    }
    return decided(s);
}

uint32_t proxy_on_request_body(uint32_t id, uint32_t len, uint32_t end) {
    struct stream *s = stream_find(id);
    const struct root *root = stream_root(s);
    if (root == NULL) return refused();
    if (s->phase != PHASE_BODY) return s->phase == PHASE_ALLOWED ? HOST_CONTINUE : HOST_PAUSE;
    if (!end && len <= root->body_max) return HOST_PAUSE;
    filter.request.has_body = true;
    filter.request.is_upgrade = false;
    filter.body_complete = end;
    filter.body_bytes = len;
    return decided(s);
}

/* Trailers end a request whose body did not: without this they would carry it past the policy. */
uint32_t proxy_on_request_trailers(uint32_t id, uint32_t n) {
    struct stream *s = stream_find(id);
    (void)n;
    if (stream_root(s) == NULL) return refused();
    if (s->phase != PHASE_BODY) return s->phase == PHASE_ALLOWED ? HOST_CONTINUE : HOST_PAUSE;
    filter.request.has_body = true;
    filter.request.is_upgrade = false;
    filter.body_complete = true;
    filter.body_bytes = UINT32_MAX; /* all that the proxy has */
    return decided(s);
}

uint32_t proxy_on_response_headers(uint32_t id, uint32_t n, uint32_t end) {
    struct stream *s = stream_find(id);
    (void)n;
    (void)end;
    if (s == NULL || !s->response) return HOST_CONTINUE;
    filter.stream = s;
    filter_heap_reset();
    uint32_t message = filter_guard(TASK_RESPOND);
    if (message != 0) log_error(at(message));
    return HOST_CONTINUE;
}
