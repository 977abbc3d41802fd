/* The parser's state: reading tokens, going back, errors with hints, the memo of terms.
 * in: the lexer's tokens
 * out: the token at hand, lists of errors and comments
 * owns: nothing; everything lies in the compile's arena */
#include "compiler/ast/parser_private.h"
#include "compiler/ast/print.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

static uint32_t keywords_of(enum rego_version v) {
    return v == REGO_V0 ? KW_BASE : v == REGO_V1 ? KW_BASE | KW_V1 : KW_BASE | KW_V1 | KW_V2;
}

bool keyword_in_version(struct str word, enum rego_version v) {
    return (keyword_bit(word) & keywords_of(v)) != 0;
}

void parser_init(struct parser *p, struct arena *a, struct str file, struct str source,
                 const struct parse_options *options) {
    *p = (struct parser){.arena = a, .file = file, .options = options};
    p->version = options->version;
    p->allowed_keywords = KW_FUTURE;
    bool all = options->all_future_keywords || options->experimental_keywords;
    uint32_t keywords = keywords_of(p->version) | (all ? (uint32_t)KW_FUTURE : 0);
    p->not_bodies = all || p->version == REGO_V2;
    p->memo = ARENA_ARRAY(a, struct parse_memo *, source.len + 1);
    lexer_init(&p->s.lexer, source, keywords);
    p->s.tok.kind = TOK_ILLEGAL;
    parser_scan(p);
}

struct loc parser_loc(const struct parser *p) {
    const struct token *t = &p->s.tok;
    return (struct loc){p->file, t->row, t->col, t->offset, t->end - t->offset};
}

struct loc parser_span(const struct parser *p, struct loc start) {
    start.len = p->s.last_end > start.offset ? p->s.last_end - start.offset : 0;
    return start;
}

struct str parser_text(const struct parser *p, uint32_t from, uint32_t to) {
    struct str source = p->s.lexer.source;
    if (from >= source.len || to > source.len || to < from) return STR("");
    return (struct str){source.ptr + from, to - from};
}

static const struct parse_note *note(struct parser *p, const struct parse_note *before,
                                     struct loc loc, struct str text) {
    struct parse_note *n = ARENA_NEW(p->arena, struct parse_note);
    *n = (struct parse_note){before, loc, text};
    return n;
}

static struct str format_text(struct parser *p, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = arena_alloc(p->arena, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, format, args);
    return (struct str){text, (size_t)len};
}

/* All hints in the order in which they were given, joined by ", ". */
static struct str join_hints(struct parser *p, const struct parse_note *h) {
    if (!h->before) return h->text;
    struct str first = join_hints(p, h->before);
    size_t len;
    char *s = arena_printf(p->arena, &len, "%.*s, %.*s", STR_FMT(first), STR_FMT(h->text));
    return (struct str){s, len};
}

static void add_error(struct parser *p, struct loc loc, struct str text) {
    if (p->s.hints) {
        struct str hints = join_hints(p, p->s.hints);
        const char *word = p->s.hints->before ? "hints" : "hint";
        text.ptr = arena_printf(p->arena, &text.len, "%.*s (%s: %.*s)", STR_FMT(text), word,
                                STR_FMT(hints));
        p->s.hints = NULL;
    }
    p->s.errors = note(p, p->s.errors, loc, text);
    p->s.n_errors++;
}

void parser_error(struct parser *p, struct loc loc, const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct str text = format_text(p, format, args);
    va_end(args);
    add_error(p, loc, text);
}

void parser_hint(struct parser *p, const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct str text = format_text(p, format, args);
    va_end(args);
    p->s.hints = note(p, p->s.hints, (struct loc){0}, text);
}

static bool is_keyword_token(enum token_kind k) {
    return (k >= TOK_PACKAGE && k <= TOK_FALSE) || k == TOK_IN || k >= TOK_EVERY;
}

void parser_illegal(struct parser *p, const char *format, ...) {
    if (p->s.tok.kind == TOK_ILLEGAL) {
        add_error(p, parser_loc(p), STR("illegal token"));
        return;
    }
    va_list args;
    va_start(args, format);
    struct str why = format_text(p, format, args);
    va_end(args);
    const char *word = token_word(p->s.tok.kind);
    const char *type = is_keyword_token(p->s.tok.kind) ? "keyword" : "token";
    parser_error(p, parser_loc(p), "unexpected %s %s%s%.*s", word, type, why.len ? ": " : "",
                 STR_FMT(why));
}

void parser_illegal_token(struct parser *p) { parser_illegal(p, "%s", ""); }

static void collect_comment(struct parser *p) {
    struct str text = str_from(p->s.tok.lit, 1);
    while (text.len && text.ptr[text.len - 1] == '\r') text.len--;
    p->s.comments = note(p, p->s.comments, parser_loc(p), text);
    p->s.n_comments++;
}

static void scan(struct parser *p, bool skip_space, enum lexer_mode mode) {
    struct parse_state *s = &p->s;
    if (s->tok.kind != TOK_WHITESPACE) {
        s->last_end = s->tok.end;
        s->skipped_newline = false;
    }
    for (;;) {
        lexer_next(&s->lexer, mode, &s->tok);
        for (uint32_t i = 0; i < s->tok.n_errors; i++) {
            add_error(p, parser_loc(p), str_of(s->tok.errors[i]));
        }
        if (s->tok.kind == TOK_WHITESPACE) {
            if (s->tok.lit.ptr[0] == '\n') s->skipped_newline = true;
            if (skip_space) continue;
        }
        if (s->tok.kind != TOK_COMMENT) return;
        collect_comment(p);
    }
}

void parser_scan(struct parser *p) { scan(p, true, LEX_NORMAL); }
void parser_scan_ws(struct parser *p) { scan(p, false, LEX_NORMAL); }
void parser_scan_template(struct parser *p, bool raw) {
    scan(p, false, raw ? LEX_RAW_TEMPLATE : LEX_TEMPLATE);
}

enum token_kind parser_peek(struct parser *p) {
    struct parse_state saved = p->s;
    parser_scan_ws(p);
    enum token_kind kind = p->s.tok.kind;
    p->s = saved;
    return kind;
}

bool parser_enter(struct parser *p) {
    if (++p->depth <= PARSER_MAX_DEPTH) return true;
    add_error(p, parser_loc(p), STR("max parsing recursion depth exceeded"));
    p->depth--;
    return false;
}

void parser_leave(struct parser *p) { p->depth--; }

void parser_add_keywords(struct parser *p, uint32_t keywords) {
    if (keywords & KW_EVERY) keywords |= KW_IN;
    p->s.lexer.keywords |= keywords;
}

bool parser_is_ref_keyword(const struct parser *p, enum token_kind kind) {
    if (!is_keyword_token(kind)) return false;
    struct str word = str_of(token_word(kind));
    return keyword_in_version(word, p->version) || (keyword_bit(word) & p->s.lexer.keywords);
}

bool parser_keyword_as_ref(struct parser *p) {
    if (!parser_is_ref_keyword(p, p->s.tok.kind)) return false;
    enum token_kind next = parser_peek(p);
    if (next != TOK_DOT && next != TOK_LBRACK) return false;
    p->s.tok.kind = TOK_IDENT;
    return true;
}

struct term *parser_wildcard(struct parser *p, struct loc loc) {
    size_t len;
    char *name = arena_printf(p->arena, &len, "$%u", p->s.wildcard++);
    return term_var(p->arena, (struct str){name, len}, loc);
}

/* A memo counts only where the parser stands exactly as it stood then. */
struct parse_memo *parser_memo_find(const struct parser *p) {
    struct parse_memo *m = p->memo[p->s.tok.offset];
    bool same = m && m->offset == p->s.tok.offset && m->kind == p->s.tok.kind &&
                m->wildcard == p->s.wildcard && m->keywords == p->s.lexer.keywords &&
                m->errors == p->s.errors && m->hints == p->s.hints &&
                m->n_comments == p->s.n_comments && m->not_bodies == p->not_bodies;
    return same ? m : NULL;
}

void parser_memo_put(struct parser *p, const struct parse_state *before, struct term *term) {
    if (!p->chunk || p->chunk_used == MEMO_CHUNK) {
        struct memo_chunk *next = p->chunk ? p->chunk->next : p->chunks;
        if (!next) {
            next = ARENA_NEW(p->arena, struct memo_chunk);
            if (p->chunk)
                p->chunk->next = next;
            else
                p->chunks = next;
        }
        p->chunk = next;
        p->chunk_used = 0;
    }
    struct parse_memo *m = &p->chunk->items[p->chunk_used++];
    *m = (struct parse_memo){.offset = before->tok.offset,
                             .kind = before->tok.kind,
                             .wildcard = before->wildcard,
                             .keywords = before->lexer.keywords,
                             .n_comments = before->n_comments,
                             .not_bodies = p->not_bodies,
                             .errors = before->errors,
                             .hints = before->hints,
                             .term = term,
                             .after = p->s};
    p->memo[before->tok.offset] = m;
}

void parser_memo_forget(struct parser *p) {
    p->chunk = NULL;
    p->chunk_used = 0;
}

struct str term_text(struct arena *a, const struct term *t) {
    enum { MAX_MESSAGE_BYTES = 1 << 16 };
    struct buf b;
    jmp_buf *exhausted = a->exhausted;
    buf_init(&b, MAX_MESSAGE_BYTES);
    print_term(t, &b);
    a->exhausted = NULL; /* the buffer is freed before an exhausted arena may jump */
    char *text = b.err == OK ? arena_strndup(a, (const char *)b.ptr, b.len) : NULL;
    size_t len = b.len;
    buf_deinit(&b);
    a->exhausted = exhausted;
    return text ? (struct str){text, len} : STR("…");
}
