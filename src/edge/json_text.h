/* JSON as text: written and checked without trees, for what is on every request's way. */
#ifndef REGENT_EDGE_JSON_TEXT_H
#define REGENT_EDGE_JSON_TEXT_H
#include "base/buf.h"

enum { JSON_TEXT_MAX_DEPTH = 10000 }; /* Go's decoder has the same */

/* `s` quoted and escaped. Bytes that are no UTF-8 become U+FFFD each, as Go's encoder does. */
void json_text_string(struct buf *out, struct str s);
/* `bytes` in base64, quoted. */
void json_text_base64(struct buf *out, struct str bytes);
/* The shortest decimal text that reads back as d; NaN and the infinities as the strings "NaN", "Infinity" and
 * "-Infinity", as Go's structpb gives them. */
void json_text_double(struct buf *out, double d);
/* Is it one JSON value with nothing but white space around it? UTF-8 within strings is not looked at: readers replace
 * what is none. */
bool json_text_valid(struct str text);

#endif
