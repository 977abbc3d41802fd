// RE2 behind a C interface.
//
// in:   patterns in Go's syntax, texts (UTF-8).
// out:  offsets of matches.
// owns: struct regex.
#include "host/builtins/re2_shim.h"
#include <cstdio>
#include <new>
#include <re2/re2.h>
#include <string>
#include <vector>

struct regex {
    re2::RE2 re;
    explicit regex(const std::string &pattern, const re2::RE2::Options &options)
        : re(pattern, options) {}
};

// Go knows (?<name>…) too, this RE2 may know (?P<name>…) only.
static std::string with_named_groups(struct str p) {
    std::string out;
    bool in_class = false;
    for (size_t i = 0; i < p.len; i++) {
        char c = p.ptr[i];
        out += c;
        if (c == '\\' && i + 1 < p.len)
            out += p.ptr[++i];
        else if (in_class)
            in_class = c != ']';
        else if (c == '[') {
            in_class = true;
            if (i + 1 < p.len && p.ptr[i + 1] == '^') out += p.ptr[++i];
            if (i + 1 < p.len && p.ptr[i + 1] == ']') out += p.ptr[++i];
        } else if (c == '(' && i + 3 < p.len && p.ptr[i + 1] == '?' && p.ptr[i + 2] == '<' &&
                   p.ptr[i + 3] != '=' && p.ptr[i + 3] != '!') {
            out += "?P<";
            i += 2;
        }
    }
    return out;
}

/* Go's words for what is wrong with a pattern (regexp/syntax), which OPA's messages carry. */
static const char *problem(RE2::ErrorCode code) {
    switch (code) {
    case RE2::ErrorBadEscape: return "invalid escape sequence";
    case RE2::ErrorBadCharClass: return "invalid character class";
    case RE2::ErrorBadCharRange: return "invalid character class range";
    case RE2::ErrorMissingBracket: return "missing closing ]";
    case RE2::ErrorMissingParen: return "missing closing )";
    case RE2::ErrorUnexpectedParen: return "unexpected )";
    case RE2::ErrorTrailingBackslash: return "trailing backslash at end of expression";
    case RE2::ErrorRepeatArgument: return "missing argument to repetition operator";
    case RE2::ErrorRepeatSize: return "invalid repeat count";
    case RE2::ErrorRepeatOp: return "invalid nested repetition operator";
    case RE2::ErrorBadPerlOp: return "invalid or unsupported Perl syntax";
    case RE2::ErrorBadUTF8: return "invalid UTF-8";
    case RE2::ErrorBadNamedCapture: return "invalid named capture";
    case RE2::ErrorPatternTooLarge: return "expression is too large";
    case RE2::NoError:
    case RE2::ErrorInternal: break;
    }
    return "internal error";
}


struct regex *regex_new(struct str pattern, char *error, size_t error_bytes) {
    re2::RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(8 << 20);
    try {
        regex *r = new regex(with_named_groups(pattern), options);
        if (r->re.ok()) return r;
        std::snprintf(error, error_bytes, "error parsing regexp: %s: `%s`", problem(r->re.error_code()),
                      r->re.error_arg().c_str());
        delete r;
    } catch (const std::bad_alloc &) {
        std::snprintf(error, error_bytes, "out of memory");
    }
    return nullptr;
}

void regex_free(struct regex *r) { delete r; }

uint32_t regex_groups(const struct regex *r) {
    return static_cast<uint32_t>(r->re.NumberOfCapturingGroups());
}

int regex_group(const struct regex *r, struct str name) {
    const auto &groups = r->re.NamedCapturingGroups();
    auto it = groups.find(std::string(name.ptr, name.len));
    return it == groups.end() ? -1 : it->second;
}

bool regex_find(const struct regex *r, struct str text, size_t from, struct regex_span *spans,
                uint32_t n_spans) {
    try {
        std::vector<re2::StringPiece> groups(n_spans);
        re2::StringPiece whole(text.ptr ? text.ptr : "", text.len);
        if (!r->re.Match(whole, from, text.len, re2::RE2::UNANCHORED, groups.data(),
                         static_cast<int>(n_spans)))
            return false;
        for (uint32_t i = 0; i < n_spans; i++) {
            bool took_part = groups[i].data() != nullptr;
            spans[i].start = took_part ? groups[i].data() - whole.data() : -1;
            spans[i].end = took_part ? spans[i].start + static_cast<int64_t>(groups[i].size()) : -1;
        }
        return true;
    } catch (const std::bad_alloc &) {
        return false;
    }
}
