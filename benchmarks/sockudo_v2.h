/* What the load generator has to know of Sockudo's protocol V2 beside JSON text: how an event is written in the
 * binary formats, and how a delta is applied. Deliveries are recognised by their data alone, in every format. */
#ifndef SOCKUDO_V2_H
#define SOCKUDO_V2_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON, MSGPACK, PROTOBUF };

static int format_named(const char *query) {
  const char *f = strstr(query, "format=");
  return !f ? JSON : !strncmp(f + 7, "m", 1) ? MSGPACK : !strncmp(f + 7, "p", 1) ? PROTOBUF : JSON;
}

static size_t put_str16(unsigned char *to, const char *text, size_t n) { to[0] = 0xda; to[1] = n >> 8; to[2] = n; memcpy(to + 3, text, n); return n + 3; }
static size_t put_varint(unsigned char *to, size_t v) { size_t n = 0; for (; v > 127; v >>= 7) to[n++] = 0x80 | (v & 127); to[n++] = v; return n; }
static size_t put_field(unsigned char *to, int field, const void *bytes, size_t n) { size_t at = 0; to[at++] = field << 3 | 2; at += put_varint(to + at, n); memcpy(to + at, bytes, n); return at + n; }

/* An event with JSON data, as a payload of the format; returns its length. Room: both texts and 64 bytes more. */
static size_t encode_event(int format, const char *event, const char *json, unsigned char *to) {
  size_t n = 0, length = strlen(json);
  if (format == JSON) return sprintf((char *)to, "{\"event\":\"%s\",\"data\":%s}", event, json);
  if (format == MSGPACK) { /* an array of 15: event, channel, data = [kind, value], and nothing else */
    to[n++] = 0x9f; n += put_str16(to + n, event, strlen(event)); to[n++] = 0xc0;
    to[n++] = 0x92; n += put_str16(to + n, "json", 4); n += put_str16(to + n, json, length);
    memset(to + n, 0xc0, 12); return n + 12;
  }
  unsigned char *data = malloc(length + 8); size_t m = put_field(data, 3, json, length);
  n = put_field(to, 1, event, strlen(event)); n += put_field(to + n, 3, data, m);
  free(data); return n;
}

/* ---- deltas in Fossil's format ---- */

static int base64_value(unsigned char c) { return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1; }
static size_t base64_decode(const unsigned char *in, size_t n, unsigned char *out) {
  size_t m = 0; uint32_t bits = 0; int have = 0;
  for (size_t i = 0; i < n; i++) { int v = base64_value(in[i]); if (v < 0) break; bits = bits << 6 | v; if ((have += 6) >= 8) { have -= 8; out[m++] = bits >> have; } }
  return m;
}

static int fossil_digit(unsigned char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'Z' ? c - 'A' + 10 : c == '_' ? 36 : c >= 'a' && c <= 'z' ? c - 'a' + 37 : c == '~' ? 63 : -1; }
static size_t fossil_number(const unsigned char **p, const unsigned char *end) { size_t v = 0; for (int d; *p < end && (d = fossil_digit(**p)) >= 0; ++*p) v = v << 6 | d; return v; }

/* The text that a delta makes of its base, in memory of its own; NULL for a delta that does not fit. */
static unsigned char *fossil_apply(const unsigned char *base, size_t base_n, const unsigned char *p, size_t n, size_t *out_n) {
  const unsigned char *end = p + n; size_t size = fossil_number(&p, end), at = 0;
  if (p == end || *p++ != '\n') return NULL;
  unsigned char *out = malloc(size + 1);
  while (p < end) {
    size_t count = fossil_number(&p, end); if (p == end) break;
    unsigned char what = *p++;
    if (what == ';') { if (at != size) break; *out_n = size; return out; }
    if (at + count > size) break;
    if (what == '@') { size_t from = fossil_number(&p, end); if (p == end || *p++ != ',' || from + count > base_n) break; memcpy(out + at, base + from, count); }
    else if (what == ':') { if ((size_t)(end - p) < count) break; memcpy(out + at, p, count); p += count; }
    else break;
    at += count;
  }
  free(out); return NULL;
}

#endif
