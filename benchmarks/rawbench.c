/* rawbench: one load generator for servers that speak different publish/subscribe protocols.
 *
 * It measures the same thing on every peer: N WebSocket subscribers, publishes over keep-alive HTTP,
 * and what the server pays per delivery. A peer differs in
 * four places only (--proto): the WebSocket path, the subscribe exchange, the publish request, and the
 * envelope around the data. The data itself is the same everywhere: BYTES bytes that begin with
 * '~' and the publish's sequence number in eight hex digits, so a delivery is recognised (and timed, and
 * checked for loss and duplicates) whatever surrounds it, also when one frame carries several.
 *
 * Build: cc -O2 -Wall -o rawbench rawbench.c -lcrypto -lm
 * Usage: rawbench [options]
 *   --proto P           pusher      Pusher protocol 7, signed POST /apps/ID/events
 *                       plain       {"subscribe":CHANNEL} -> {"subscribed":...}, POST /publish {name,channel,data}
 *                       centrifuge  Centrifuge JSON protocol on /connection/websocket, POST /publish {channel,data}
 *                       centrifugo  the same, POST /api/publish
 *                       nchan       GET /sub?id=CHANNEL subscribes, POST /pub?id=CHANNEL with the message itself
 *   -h HOST -p PORT,... where the server listens; of several nodes, each in its turn (127.0.0.1 6001)
 *   -U PORT,...         where it takes publishes                     (the same)
 *   -i ID -k KEY -s SECRET  pusher credentials                       (app-id app-key app-secret)
 *   -c N                subscribers                                  (1000)
 *   -w W                publishes in flight, one connection each     (1)
 *   -d SEC              seconds of measuring                         (6)
 *   -W SEC              seconds of the same load before that, not counted (1)
 *   -b BYTES            size of the data                             (100)
 *   -C NAME             channel; with -n, the prefix of the channels (bench)
 *   -n N                channels: subscribers and publishes are dealt to them in turn (1)
 *   -r RATE             open loop: publishes per second on a fixed schedule; latency counts from the
 *                       scheduled moment, so a stalled server cannot hide its stall
 *   -P PID[,PID...]     server processes whose CPU time and memory are read
 *   -o SEC              only connect and subscribe, hold so many seconds, then read memory
 *   -x                  no subscribers take part: measure the publish API alone
 *   --announce          write "ready" to standard error once everyone is subscribed
 *   --query Q[,Q...]    pusher: query strings of the connections, dealt in turn; format=msgpack and format=protobuf
 *                       among them make a connection speak that (protocol=7)
 *   --tags              pusher: every publish carries tags
 *   --filters N         pusher: subscribe with a tag filter, N different ones dealt in turn; every publish passes each
 *   --delta             pusher, protocol=2: ask for Fossil deltas, apply each, and look for the data in the outcome
 *   --document          the data is a JSON document of -b bytes in which one field changes
 *   --resume K          pusher, protocol=2: once all are subscribed, -w at a time ask for the last K messages of their
 *                       channel; nothing is published
 *   --at-once           with --resume: all connect at once, and each resumes as soon as it is subscribed; answer_ms
 *                       counts from the first connect
 *   -t SEC              how long the last deliveries may take after the load stops (5)
 * SIGINT ends the load early; the figures are then of the time until that moment.
 * Closed loop: a slot publishes again once its publish is answered AND has reached every subscriber.
 * latency_ms is publish to last subscriber, delivery_ms is publish to each subscriber, ack_ms is the
 * publish's own answer. Prints one JSON object; exit status 1 when something was lost or doubled.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sockudo_v2.h"

enum { PUSHER, PLAIN, CENTRIFUGE, NCHAN } proto = PUSHER;
static const char *host = "127.0.0.1", *app_id = "app-id", *app_key = "app-key", *secret = "app-secret";
static const char *channel = "bench", *pids = NULL;
#define MOST_PORTS 16
static int ports[MOST_PORTS] = {6001}, port_count = 1, publish_ports[MOST_PORTS], publish_port_count = 0;
static int conns = 1000, window = 1, bytes = 100, channels = 1, api_only = 0, only_connect = 0, announce = 0;
static const char *queries[16] = {"protocol=7"}; static int query_count = 1, tags = 0, filters = 0, delta = 0, document = 0, resume_count = 0, at_once = 0;
static double measure_s = 6, warm_s = 1, drain_s = 5, hold_s = 0, rate = 0;

static const char *publish_path = "/publish";
static int proto_named(const char *name) {
  static const char *names[] = {"pusher", "plain", "centrifuge", "nchan"};
  for (int i = 0; i < 4; i++) if (!strcmp(name, names[i])) return i;
  if (!strcmp(name, "centrifugo")) { publish_path = "/api/publish"; return CENTRIFUGE; }
  fprintf(stderr, "rawbench: unknown --proto %s\n", name); exit(2);
}

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void die(const char *what) { fprintf(stderr, "rawbench: %s: %s\n", what, strerror(errno)); exit(2); }

/* ---- the server's CPU seconds and resident memory, from /proc ---- */

static double cpu_of(long *rss_kb) {
  double total = 0; *rss_kb = 0; if (!pids) return 0;
  char list[512]; snprintf(list, sizeof list, "%s", pids);
  for (char *p = strtok(list, ","); p; p = strtok(NULL, ",")) {
    char path[64], text[2048]; snprintf(path, sizeof path, "/proc/%s/stat", p);
    FILE *f = fopen(path, "r"); if (!f) continue;
    size_t n = fread(text, 1, sizeof text - 1, f); text[n] = 0; fclose(f);
    char *q = strrchr(text, ')'); unsigned long u = 0, s = 0;
    if (q) sscanf(q + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &s);
    total += (double)(u + s) / sysconf(_SC_CLK_TCK);
    snprintf(path, sizeof path, "/proc/%s/status", p); f = fopen(path, "r");
    while (f && fgets(text, sizeof text, f)) { long kb; if (sscanf(text, "VmRSS: %ld", &kb) == 1) *rss_kb += kb; }
    if (f) fclose(f);
  }
  return total;
}
static double own_cpu(void) {
  struct rusage u; getrusage(RUSAGE_SELF, &u);
  return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}
static double host_steal(void) { /* seconds the hypervisor took from this machine, all cores */
  FILE *f = fopen("/proc/stat", "r"); unsigned long v[8] = {0}; if (!f) return 0;
  if (fscanf(f, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6, v + 7) != 8) v[7] = 0;
  fclose(f); return (double)v[7] / sysconf(_SC_CLK_TCK);
}

/* ---- what differs between the protocols ---- */

static const char *channel_name(int k) { static char name[256]; if (channels == 1) return channel; snprintf(name, sizeof name, "%s-%d", channel, k); return name; }

static void hex(const unsigned char *in, int n, char *out) { for (int i = 0; i < n; i++) sprintf(out + 2 * i, "%02x", in[i]); }

static const char *query_of(int number) { return queries[number / channels % query_count]; }

static char *upgrade_request(int number) {
  char path[512], *req = NULL; int ch = number % channels;
  switch (proto) {
    case PUSHER: snprintf(path, sizeof path, "/app/%s?%s&client=rawbench&version=1", app_key, query_of(number)); break;
    case PLAIN: snprintf(path, sizeof path, "/"); break;
    case CENTRIFUGE: snprintf(path, sizeof path, "/connection/websocket"); break;
    case NCHAN: snprintf(path, sizeof path, "/sub?id=%s", channel_name(ch)); break;
  }
  if (asprintf(&req, "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path, host, ports[0]) < 0) die("memory");
  return req;
}

/* The text to send at each step of subscribing, or NULL when there is nothing to send. */
static const char *first_text(void) { return proto == CENTRIFUGE ? "{\"id\":1,\"connect\":{}}" : NULL; }
static const char *subscribe_data(int number) {
  static char t[1024], filter[256];
  if (filters) snprintf(filter, sizeof filter, ",\"filter\":{\"tags\":{\"op\":\"and\",\"nodes\":[{\"key\":\"venue\",\"cmp\":\"in\",\"vals\":[\"ldn\",\"nyc\"]},{\"key\":\"size\",\"cmp\":\"gte\",\"val\":%d}]}}", number / channels / query_count % filters);
  snprintf(t, sizeof t, "{\"channel\":\"%s\"%s%s}", channel_name(number % channels), filters ? filter : "", delta ? ",\"delta\":\"fossil\"" : "");
  return t;
}
static const char *subscribe_text(int ch) {
  static char t[512];
  if (proto == CENTRIFUGE) snprintf(t, sizeof t, "{\"id\":2,\"subscribe\":{\"channel\":\"%s\"}}", channel_name(ch));
  else snprintf(t, sizeof t, "{\"subscribe\":\"%s\"}", channel_name(ch));
  return t;
}
static const char *welcome_mark(void) { return proto == PUSHER ? "connection_established" : proto == CENTRIFUGE ? "\"connect\"" : NULL; }
static const char *subscribed_mark(void) { return proto == PUSHER ? "subscription_succeeded" : proto == CENTRIFUGE ? "\"subscribe\"" : "subscribed"; }

/* BYTES bytes that begin with the number; or a JSON document with it in the middle, as it stands in a JSON string. */
static char *data_text(uint32_t seq) {
  char *data = malloc(2 * bytes + 256), head[16]; snprintf(head, sizeof head, "~%08x", seq);
  if (!document) { memset(data, 'x', bytes); data[bytes] = 0; memcpy(data, head, 9); return data; }
  uint32_t noise = 1; int size = 2, fields = 0; char *p = data; *p++ = '{'; /* size: without the backslashes */
  for (;; fields++) {
    int last = size + 80 > bytes, room = last ? bytes - size - 13 : 32; if (room < 1) room = 1;
    p += sprintf(p, "%s\\\"field%03d\\\":\\\"", fields ? "," : "", fields);
    if (size < bytes / 2 && size + 47 >= bytes / 2) { p += sprintf(p, "%s", head); size += 9; }
    else { for (int i = 0; i < room; i++) { noise = noise * 1103515245 + 12345; *p++ = "abcdefghijklmnopqrstuvwxyz012345"[noise >> 16 & 31]; } size += room; }
    p += sprintf(p, "\\\""); size += 13 + !!fields;
    if (last) break;
  }
  strcpy(p, "}"); return data;
}

static char *publish_request(const char *to, uint32_t seq, size_t *len) {
  char *data = data_text(seq), *body = NULL, *path = NULL, *req = NULL;
  int ok = 0;
  switch (proto) {
    case PUSHER: ok = asprintf(&body, "{\"name\":\"bench-event\",\"channel\":\"%s\",\"data\":\"%s\"%s}", to, data, tags ? ",\"tags\":{\"size\":\"5000\",\"venue\":\"ldn\"}" : ""); break;
    case PLAIN: ok = asprintf(&body, "{\"name\":\"bench-event\",\"channel\":\"%s\",\"data\":\"%s\"}", to, data); break;
    case CENTRIFUGE: ok = asprintf(&body, "{\"channel\":\"%s\",\"data\":\"%s\"}", to, data); break;
    case NCHAN: ok = asprintf(&body, "{\"event\":\"bench-event\",\"channel\":\"%s\",\"data\":\"%s\"}", to, data); break;
  }
  if (ok < 0) die("memory");
  if (proto == PUSHER) {
    unsigned char d[EVP_MAX_MD_SIZE]; unsigned dl; char md5[65], sig[129], *q = NULL, *canon = NULL;
    EVP_Digest(body, strlen(body), d, &dl, EVP_md5(), NULL); hex(d, dl, md5);
    if (asprintf(&q, "auth_key=%s&auth_timestamp=%ld&auth_version=1.0&body_md5=%s", app_key, (long)time(NULL), md5) < 0 ||
        asprintf(&canon, "POST\n/apps/%s/events\n%s", app_id, q) < 0) die("memory");
    HMAC(EVP_sha256(), secret, strlen(secret), (unsigned char *)canon, strlen(canon), d, &dl); hex(d, dl, sig);
    ok = asprintf(&path, "/apps/%s/events?%s&auth_signature=%s", app_id, q, sig); free(q); free(canon);
  } else if (proto == NCHAN) ok = asprintf(&path, "/pub?id=%s", to);
  else ok = asprintf(&path, "%s", publish_path);
  if (ok < 0) die("memory");
  ok = asprintf(&req, "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", path, host, publish_ports[0], strlen(body), body);
  if (ok < 0) die("memory");
  *len = ok; free(data); free(body); free(path); return req;
}

/* ---- publishes in flight ---- */

typedef struct { double sent_at; uint32_t got, need; int slot, open; } flight_t;
typedef struct { int fd, busy, waiting; uint32_t seq; size_t have; char held[8192]; } slot_t;
static flight_t *flight; static slot_t *slots; static int *idle, idles, in_flight, ring;
static uint64_t sent, acked, completed, deliveries, stray; static int http_errors, reopened;

typedef struct { double *v; size_t n, cap; } list_t;
static list_t done_lat, ack_lat;
static void push(list_t *l, double x) { if (l->n == l->cap) { l->cap = l->cap ? 2 * l->cap : 4096; l->v = realloc(l->v, l->cap * sizeof *l->v); if (!l->v) die("memory"); } l->v[l->n++] = x; }
static int by(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return x < y ? -1 : x > y; }
static double at(list_t *l, double q) { if (!l->n) return 0; size_t i = l->n * q; return l->v[i < l->n ? i : l->n - 1] * 1e3; }

#define FINE 32 /* steps per doubling in the histogram of single deliveries: within 3 % */
static uint64_t hist[40 * FINE]; static double hist_max;
static void note(double s) { if (s > hist_max) hist_max = s; double us = s * 1e6; int i = us <= 1 ? 0 : (int)(log2(us) * FINE); hist[i < 40 * FINE ? i : 40 * FINE - 1]++; }
static double hist_at(double q) { uint64_t all = 0, c = 0; for (int i = 0; i < 40 * FINE; i++) all += hist[i]; for (int i = 0; i < 40 * FINE; i++) if ((c += hist[i]) > all * q) return exp2((i + .5) / FINE) / 1e3; return 0; }

static uint32_t members(int ch) { return conns / channels + (ch < conns % channels); }
static void slot_release(slot_t *s) { if (!s->busy && !s->waiting) idle[idles++] = s - slots; }

static void delivered(int ch, uint32_t seq, double t) {
  flight_t *f = seq < (uint32_t)ring ? &flight[seq] : NULL;
  if (!f || !f->open || (int)(seq % channels) != ch) { stray++; return; }
  deliveries++; note(t - f->sent_at);
  if (++f->got < f->need) return;
  f->open = 0; in_flight--; completed++; push(&done_lat, t - f->sent_at);
  if (rate == 0) { slot_t *s = &slots[f->slot]; s->waiting = 0; slot_release(s); }
}

/* ---- subscribers ---- */

enum { HANDSHAKE, WELCOME, SUBSCRIBING, READY, RESUMING, GONE };
typedef struct { int fd, state, format; uint32_t received; unsigned char *tail; size_t have; unsigned char *base; size_t base_n; long number; char stream[64]; long serial; double asked_at; } conn_t;
static conn_t *ws; static int ep, ready, gone, answered, refused, cold;
static uint64_t bytes_in, deltas, delta_bytes, wholes, whole_bytes;
static unsigned char buf[1 << 20];

static int dial(int to) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1; if (fd < 0) die("socket");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(to)}; inet_pton(AF_INET, host, &a.sin_addr);
  if (connect(fd, (struct sockaddr *)&a, sizeof a)) die("connect");
  fcntl(fd, F_SETFL, O_NONBLOCK); return fd;
}
static void send_frame(int fd, int opcode, const void *text, size_t n) {
  unsigned char f[1200]; size_t k = 2; if (n > sizeof f - 8) { fprintf(stderr, "rawbench: a frame of %zu bytes\n", n); exit(2); } f[0] = 0x80 | opcode;
  if (n < 126) f[1] = 0x80 | n; else { f[1] = 0x80 | 126; f[2] = n >> 8; f[3] = n; k = 4; }
  memset(f + k, 0, 4); k += 4; memcpy(f + k, text, n);
  if (write(fd, f, k + n) != (ssize_t)(k + n)) die("write frame");
}
static void send_text(int fd, const char *t) { send_frame(fd, 1, t, strlen(t)); }

static void send_event(conn_t *c, const char *event, const char *json) {
  unsigned char payload[1200]; size_t n = encode_event(c->format, event, json, payload);
  send_frame(c->fd, c->format == JSON ? 1 : 2, payload, n);
}
static void subscribe(conn_t *c) {
  int number = c - ws; c->state = SUBSCRIBING;
  if (proto != PUSHER) send_text(c->fd, subscribe_text(number % channels));
  else send_event(c, strstr(query_of(number), "protocol=2") ? "sockudo:subscribe" : "pusher:subscribe", subscribe_data(number));
}

static void resume(conn_t *c) { /* as one that has missed the last messages */
  char t[512];
  snprintf(t, sizeof t, "{\"channel_positions\":{\"%s\":{\"stream_id\":\"%s\",\"serial\":%ld}}}", channel_name((c - ws) % channels), c->stream, c->serial - resume_count);
  c->state = RESUMING; if (!at_once) c->asked_at = now();
  send_event(c, "sockudo:resume", t);
}
static void note_position(conn_t *c, const unsigned char *p, size_t n) { /* the acknowledgement of a recoverable channel */
  unsigned char *s = memmem(p, n, "\"stream_id\":\"", 13), *e = s ? memchr(s + 13, '"', p + n - s - 13) : NULL, *q = memmem(p, n, "\"serial\":", 9);
  if (!e || !q || e - s - 13 >= (long)sizeof c->stream) { fprintf(stderr, "rawbench: no position in %.*s\n", (int)(n < 300 ? n : 300), p); exit(1); }
  memcpy(c->stream, s + 13, e - s - 13); c->serial = strtol((char *)q + 9, NULL, 10);
  if (c->serial < resume_count) { fprintf(stderr, "rawbench: the channel has only %ld messages\n", c->serial); exit(1); }
}

static void step(conn_t *c, const unsigned char *p, size_t n) { /* p NULL: the upgrade has just been answered */
  const char *mark;
  if (!p) {
    if (proto == NCHAN) { c->state = READY; ready++; return; } /* the upgrade is the subscription */
    if (first_text()) send_text(c->fd, first_text());
    if (welcome_mark()) c->state = WELCOME; else subscribe(c);
    return;
  }
  if (c->state == WELCOME && (mark = welcome_mark()) && memmem(p, n, mark, strlen(mark))) subscribe(c);
  else if (c->state == SUBSCRIBING && (mark = subscribed_mark()) && memmem(p, n, mark, strlen(mark))) {
    c->state = READY; ready++;
    if (resume_count) { note_position(c, p, n); if (at_once) resume(c); }
  }
  else fprintf(stderr, "rawbench: while subscribing the server says %.*s\n", (int)(n < 300 ? n : 300), p);
}

static list_t answer_lat;
static void on_resuming(conn_t *c, unsigned char *p, size_t n, double t) {
  if (memchr(p, '~', n)) { c->received++; return; }
  if (memmem(p, n, "resume_failed", 13)) { if (!refused++) fprintf(stderr, "rawbench: %.*s\n", (int)(n < 300 ? n : 300), p); return; }
  if (memmem(p, n, "resume_success", 14)) { c->state = READY; answered++; cold += !!memmem(p, n, "\\\"cold\\\"", 8); push(&answer_lat, t - c->asked_at); return; }
  if (memmem(p, n, "error", 5) && !refused++) fprintf(stderr, "rawbench: the server says %.*s\n", (int)(n < 300 ? n : 300), p);
}

/* Brings a frame back to what it was before delta compression: the text, which is the next base, or NULL. */
static const unsigned char *undelta(conn_t *c, const unsigned char *p, size_t *n) {
  static const char begin[] = "{\"event\":\"sockudo:delta\",", number[] = ",\"__delta_seq\":", encoded[] = "\"delta\":\"", seq[] = "\"seq\":", base[] = "\"base_index\":";
  const unsigned char *end = p + *n; unsigned char *text; size_t length;
  if (*n > sizeof begin && !memcmp(p, begin, sizeof begin - 1)) {
    const unsigned char *from = memmem(p, *n, encoded, sizeof encoded - 1), *its = memmem(p, *n, seq, sizeof seq - 1), *of = memmem(p, *n, base, sizeof base - 1);
    if (!from || !its || !of || !c->base || strtol((char *)of + sizeof base - 1, NULL, 10) != c->number) return NULL;
    from += sizeof encoded - 1;
    unsigned char *d = malloc(*n); size_t dn = base64_decode(from, end - from, d);
    text = fossil_apply(c->base, c->base_n, d, dn, &length); free(d);
    if (!text) return NULL;
    c->number = strtol((char *)its + sizeof seq - 1, NULL, 10); deltas++; delta_bytes += *n;
  } else {
    const unsigned char *its = memmem(p, *n, number, sizeof number - 1); if (!its) return p;
    length = its - p + 1; text = malloc(length + 1); memcpy(text, p, length - 1); text[length - 1] = '}';
    c->number = strtol((char *)its + sizeof number - 1, NULL, 10); wholes++; whole_bytes += *n;
  }
  free(c->base); c->base = text; c->base_n = length; *n = length; return text;
}

static int digit(unsigned char c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }

static void on_frame(conn_t *c, unsigned char *p, size_t n, int opcode, double t) {
  if (opcode == 9) { send_frame(c->fd, 10, p, n < 125 ? n : 125); return; }
  if (opcode == 10) return;
  if (opcode == 8) { if (!gone) fprintf(stderr, "rawbench: closed by the server: %d %.*s\n", n >= 2 ? p[0] << 8 | p[1] : 0, n > 2 ? (int)n - 2 : 0, p + 2); return; }
  if (c->state == RESUMING) { on_resuming(c, p, n, t); return; }
  if (c->state != READY) { step(c, p, n); return; }
  if (delta && !(p = (unsigned char *)undelta(c, p, &n))) { if (!stray++) fprintf(stderr, "rawbench: a delta that does not fit\n"); return; }
  unsigned char *end = p + n, *q = p, *m; int any = 0;
  while (q + 9 <= end && (m = memchr(q, '~', end - q)) && m + 9 <= end) {
    uint32_t seq = 0; int i; for (i = 1; i < 9 && isxdigit(m[i]); i++) seq = seq << 4 | digit(m[i]);
    if (i < 9) { q = m + 1; continue; } /* a length in a binary format */
    c->received++; any = 1; delivered((c - ws) % channels, seq, t);
    q = m + bytes < end ? m + bytes : end;
  }
  if (proto == CENTRIFUGE && n >= 2 && (!memcmp(p, "{}", 2) || !memcmp(end - 2, "{}", 2))) { send_text(c->fd, "{}"); return; }
  if (any) return;
  if (proto == PUSHER && memmem(p, n, "pusher:ping", 11)) { send_text(c->fd, "{\"event\":\"pusher:pong\",\"data\":{}}"); return; }
  if (memmem(p, n, "error", 5)) fprintf(stderr, "rawbench: the server says %.*s\n", (int)(n < 300 ? n : 300), p);
}

/* Consumes what is whole; returns how many bytes were. */
static size_t parse(conn_t *c, unsigned char *p, size_t n, double t) {
  size_t at_ = 0;
  for (;;) {
    unsigned char *h = p + at_; size_t left = n - at_;
    if (c->state == HANDSHAKE) {
      unsigned char *e = memmem(h, left, "\r\n\r\n", 4); if (!e) return at_;
      if (left < 12 || memcmp(h + 9, "101", 3)) { fprintf(stderr, "rawbench: upgrade refused: %.*s\n", 60, h); exit(2); }
      at_ += e + 4 - h; step(c, NULL, 0); continue;
    }
    if (left < 2) return at_;
    uint64_t len = h[1] & 127; size_t hl = 2;
    if (len == 126) { if (left < 4) return at_; len = h[2] << 8 | h[3]; hl = 4; }
    else if (len == 127) { if (left < 10) return at_; len = 0; for (int i = 2; i < 10; i++) len = len << 8 | h[i]; hl = 10; }
    if (left < hl + len) return at_;
    on_frame(c, h + hl, len, h[0] & 15, t); at_ += hl + len;
  }
}
static void conn_gone(conn_t *c) { if (c->state == GONE) return; if (c->state == READY) gone++; c->state = GONE; epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL); close(c->fd); c->fd = -1; }

static void on_readable(conn_t *c) {
  if (c->fd < 0) return;
  if (c->have) memcpy(buf, c->tail, c->have);
  ssize_t r = read(c->fd, buf + c->have, sizeof buf - c->have);
  if (r == 0 || (r < 0 && errno != EAGAIN)) { conn_gone(c); return; }
  if (r < 0) return;
  bytes_in += r;
  size_t n = c->have + r, used = parse(c, buf, n, now()), rest = n - used;
  if (rest == sizeof buf) { fprintf(stderr, "rawbench: a frame over %zu bytes\n", sizeof buf); exit(2); }
  if (rest) { c->tail = realloc(c->tail, rest); memcpy(c->tail, buf + used, rest); } else if (c->tail) { free(c->tail); c->tail = NULL; }
  c->have = rest;
}

/* ---- publishers: one keep-alive connection per slot, reopened where the server closes it ---- */

#define IS_SLOT 0x80000000u
static void slot_close(slot_t *s) { if (s->fd >= 0) close(s->fd); s->fd = -1; }
static void slot_open(slot_t *s) {
  s->fd = dial(publish_ports[(s - slots) % publish_port_count]); s->have = 0;
  struct epoll_event e = {.events = EPOLLIN, .data.u32 = IS_SLOT | (uint32_t)(s - slots)}; epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &e);
}
static void slot_answered(slot_t *s, int good) {
  if (!good) http_errors++;
  s->busy = 0; acked++; push(&ack_lat, now() - flight[s->seq].sent_at);
  if (api_only) { flight[s->seq].open = 0; in_flight--; }
  slot_release(s);
}
static void on_answer(slot_t *s) { /* a whole response must carry Content-Length */
  if (s->fd < 0) return;
  ssize_t r = read(s->fd, s->held + s->have, sizeof s->held - 1 - s->have);
  if (r < 0 && errno == EAGAIN) return;
  if (r <= 0) { slot_close(s); if (s->busy) { fprintf(stderr, "rawbench: the server closed a publish without an answer\n"); slot_answered(s, 0); } return; }
  s->have += r; s->held[s->have] = 0;
  char *e = strstr(s->held, "\r\n\r\n"); if (!e) { if (s->have == sizeof s->held - 1) { fprintf(stderr, "rawbench: an HTTP response over 8 kB\n"); exit(2); } return; }
  char *l = strcasestr(s->held, "\ncontent-length:"); size_t body = l && l < e ? strtoul(l + 16, NULL, 10) : 0;
  if (s->have < (size_t)(e + 4 - s->held) + body) return;
  int good = s->held[9] == '2'; if (!good && !http_errors) fprintf(stderr, "rawbench: publish answered %.300s\n", s->held);
  l = strcasestr(s->held, "\nconnection: close"); if (l && l < e) slot_close(s);
  s->have = 0; slot_answered(s, good);
}

static char **request; static size_t *request_len;
static int publish_one(double scheduled) {
  if (!idles) return 0;
  uint32_t seq = sent % ring; flight_t *f = &flight[seq];
  if (f->open) return 0; /* a whole ring behind: nothing more until it moves */
  slot_t *s = &slots[idle[--idles]];
  *f = (flight_t){.sent_at = scheduled > 0 ? scheduled : now(), .need = api_only ? 1 : members(seq % channels), .slot = s - slots, .open = 1};
  s->seq = seq; s->busy = 1; s->waiting = !api_only && rate == 0; in_flight++; sent++;
  if (s->fd < 0) { slot_open(s); reopened++; }
  if (write(s->fd, request[seq], request_len[seq]) != (ssize_t)request_len[seq]) {
    slot_close(s); slot_open(s); reopened++;
    if (write(s->fd, request[seq], request_len[seq]) != (ssize_t)request_len[seq]) die("write publish");
  }
  return 1;
}

static void pump(double wait_s) {
  static struct epoll_event ev[512]; if (wait_s < 0) wait_s = 0;
  struct timespec w = {.tv_sec = (time_t)wait_s, .tv_nsec = (long)((wait_s - (time_t)wait_s) * 1e9)};
  int n = epoll_pwait2(ep, ev, 512, &w, NULL);
  if (n < 0 && errno != EINTR) die("epoll");
  for (int i = 0; i < n; i++) { uint32_t k = ev[i].data.u32; if (k & IS_SLOT) on_answer(&slots[k & ~IS_SLOT]); else on_readable(&ws[k]); }
}

/* TCP segments with data that reached the subscribers. Loopback segments are as large as a write, so deliveries per
 * segment say how many deliveries the server puts into one write. */
static uint64_t segments(void) {
  uint64_t all = 0;
  for (int i = 0; i < conns; i++) { struct tcp_info t = {0}; socklen_t n = sizeof t; if (ws[i].fd >= 0 && !getsockopt(ws[i].fd, IPPROTO_TCP, TCP_INFO, &t, &n)) all += t.tcpi_data_segs_in; }
  return all;
}

static volatile sig_atomic_t interrupted;
static void interrupt(int signal_number) { (void)signal_number; interrupted = 1; }

/* Loads the server for so many seconds, then waits for what is still under way. */
static void load(double seconds) {
  double t0 = now(), until = t0 + seconds; uint64_t k = 0;
  for (double t = t0; t < until; t = now()) {
    double wait = 0.02;
    if (rate > 0) { while (t0 + k / rate <= t && t0 + k / rate < until && publish_one(t0 + k / rate)) k++; wait = t0 + k / rate - now(); if (wait > 0.02) wait = 0.02; if (!idles) wait = 0.001; }
    else while (publish_one(0));
    pump(wait);
    if (gone || interrupted) break;
  }
  double give_up = now() + drain_s;
  while ((in_flight || acked < sent) && now() < give_up && !gone) pump(0.02);
}

/* Everyone is subscribed, and has asked already when all do it at once. */
static int resume_all(double began, double cpu_before, double deadline, double connect_us) {
  int next = at_once ? conns : 0;
  while (answered < conns && now() < deadline && !gone && !interrupted) {
    while (next < conns && next - answered < window) resume(&ws[next++]);
    pump(0.05);
  }
  long rss; double took = now() - began, cpu = cpu_of(&rss) - cpu_before; uint64_t replayed = 0, due = (uint64_t)conns * resume_count;
  for (int i = 0; i < conns; i++) replayed += ws[i].received;
  qsort(answer_lat.v, answer_lat.n, sizeof(double), by);
  printf("{\"subscribers\":%d,\"channels\":%d,\"resumes\":%d,\"messages\":%d,\"seconds\":%.3f,\"replayed\":%lu,\"lost\":%lu,\"extra\":%lu,\"gone\":%d,\"unanswered\":%d,\"http_errors\":%d,\"cold\":%d,"
         "\"server_cpu_s\":%.2f,\"cpu_ms_per_resume\":%.4f,\"connect_cpu_us\":%.1f,\"answer_ms\":{\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}}\n",
         conns, channels, answered, resume_count, took, (unsigned long)replayed, (unsigned long)(replayed < due ? due - replayed : 0), (unsigned long)(replayed > due ? replayed - due : 0), gone,
         conns - answered, refused, cold, cpu, cpu * 1e3 / conns, connect_us, at(&answer_lat, .5), at(&answer_lat, .99), at(&answer_lat, 1));
  return answered < conns || replayed != due || gone || refused ? 1 : 0;
}

static int listed(char *text, int *into) {
  int n = 0;
  for (char *one = strtok(text, ","); one && n < MOST_PORTS; one = strtok(NULL, ",")) into[n++] = atoi(one);
  return n;
}

int main(int argc, char **argv) {
  static struct option longs[] = {{"proto", required_argument, 0, 'R'}, {"announce", no_argument, 0, 'A'}, {"query", required_argument, 0, 'Q'}, {"tags", no_argument, 0, 'T'}, {"filters", required_argument, 0, 'F'},
    {"delta", no_argument, 0, 'D'}, {"document", no_argument, 0, 'J'}, {"resume", required_argument, 0, 'E'}, {"at-once", no_argument, 0, 'O'}, {0, 0, 0, 0}};
  int o; while ((o = getopt_long(argc, argv, "h:p:U:i:k:s:c:w:d:W:b:C:n:r:P:o:xt:", longs, NULL)) != -1) switch (o) {
    case 'R': proto = proto_named(optarg); break; case 'A': announce = 1; break;
    case 'Q': query_count = 0; for (char *q = strtok(optarg, ","); q && query_count < 16; q = strtok(NULL, ",")) queries[query_count++] = q; break;
    case 'T': tags = 1; break; case 'F': filters = atoi(optarg); tags = 1; break; case 'D': delta = 1; break; case 'J': document = 1; break;
    case 'E': resume_count = atoi(optarg); break; case 'O': at_once = 1; break;
    case 'h': host = optarg; break; case 'p': port_count = listed(optarg, ports); break; case 'U': publish_port_count = listed(optarg, publish_ports); break;
    case 'i': app_id = optarg; break; case 'k': app_key = optarg; break; case 's': secret = optarg; break;
    case 'c': conns = atoi(optarg); break; case 'w': window = atoi(optarg); break; case 'd': measure_s = atof(optarg); break; case 'W': warm_s = atof(optarg); break;
    case 'b': bytes = atoi(optarg); break; case 'C': channel = optarg; break; case 'n': channels = atoi(optarg); break; case 'r': rate = atof(optarg); break;
    case 'P': pids = optarg; break; case 'o': only_connect = 1; hold_s = atof(optarg); break; case 'x': api_only = 1; break; case 't': drain_s = atof(optarg); break; default: return 2; }
  if (!publish_port_count) { publish_port_count = port_count; memcpy(publish_ports, ports, sizeof ports); }
  if (!query_count) queries[query_count++] = "protocol=7";
  if (bytes < 9 || (document && bytes < 400) || window < 1 || channels < 1 || conns < 0) { fprintf(stderr, "rawbench: -b at least 9; -w, -n at least 1\n"); return 2; }
  if (!api_only && !only_connect && conns < channels) { fprintf(stderr, "rawbench: fewer subscribers than channels\n"); return 2; }
  struct rlimit rl; getrlimit(RLIMIT_NOFILE, &rl); rl.rlim_cur = rl.rlim_max; setrlimit(RLIMIT_NOFILE, &rl);
  prctl(PR_SET_TIMERSLACK, 1000UL);
  signal(SIGINT, interrupt);
  if (api_only) conns = 0;
  ep = epoll_create1(0); ws = calloc(conns + 1, sizeof *ws);
  long rss0, rss1, rss2; double cpu0 = cpu_of(&rss0), t0 = now(), deadline = t0 + 60;
  for (int started = 0; ready < conns && now() < deadline;) {
    while (started < conns && (started - ready < 64 || at_once)) {
      conn_t *c = &ws[started]; char *req = upgrade_request(started); c->fd = dial(ports[started % port_count]); c->state = HANDSHAKE; c->format = format_named(query_of(started)); c->asked_at = t0;
      if (write(c->fd, req, strlen(req)) != (ssize_t)strlen(req)) die("write upgrade");
      free(req);
      struct epoll_event e = {.events = EPOLLIN, .data.u32 = started}; epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e); started++;
    }
    pump(0.05);
  }
  double t1 = now(), cpu1 = cpu_of(&rss1);
  if (ready < conns) { fprintf(stderr, "rawbench: only %d of %d subscribed\n", ready, conns); return 1; }
  if (announce) fprintf(stderr, "ready\n");
  double connect_us = conns ? (cpu1 - cpu0) * 1e6 / conns : 0, connect_rate = conns ? conns / (t1 - t0) : 0;
  if (resume_count) return resume_all(at_once ? t0 : now(), at_once ? cpu0 : cpu1, deadline, connect_us);
  if (only_connect) {
    for (double until = now() + hold_s; now() < until;) pump(0.2);
    double cpu2 = cpu_of(&rss2);
    printf("{\"subscribers\":%d,\"connect_per_second\":%.0f,\"connect_cpu_us\":%.1f,\"rss_kb_per_connection\":%.2f,\"rss_kb\":%ld,\"rss_kb_before\":%ld,\"idle_cpu_s\":%.2f,\"held_s\":%.1f,\"gone\":%d}\n",
           conns, connect_rate, connect_us, conns ? (double)(rss2 - rss0) / conns : 0, rss2, rss0, cpu2 - cpu1, hold_s, gone);
    return gone ? 1 : 0;
  }
  ring = (4096 + channels - 1) / channels * channels;
  flight = calloc(ring, sizeof *flight); request = calloc(ring, sizeof *request); request_len = calloc(ring, sizeof *request_len);
  for (int k = 0; k < ring; k++) request[k] = publish_request(channel_name(k % channels), k, &request_len[k]);
  slots = calloc(window, sizeof *slots); idle = calloc(window, sizeof *idle);
  for (int i = 0; i < window; i++) { slot_open(&slots[i]); slot_release(&slots[i]); }
  for (double until = now() + 0.3; now() < until;) pump(0.1); /* let late subscriptions and greetings settle */

  if (warm_s > 0) load(warm_s);
  int warm_broken = in_flight || gone;
  deliveries = acked = completed = 0; bytes_in = deltas = delta_bytes = wholes = whole_bytes = 0; done_lat.n = ack_lat.n = 0; memset(hist, 0, sizeof hist); hist_max = 0;
  uint64_t base = sent, segments0 = segments(); acked = sent; double steal0 = host_steal(), mine = own_cpu(); cpu1 = cpu_of(&rss1); t1 = now();
  if (!warm_broken) load(measure_s);
  double t2 = now(), own = own_cpu() - mine; cpu0 = cpu1; double cpu2 = cpu_of(&rss2), steal = host_steal() - steal0;
  uint64_t count = sent - base, lost = 0, extra = stray;
  for (int i = 0; i < conns && !api_only; i++) {
    uint64_t d = sent / channels + (i % channels < (int)(sent % channels));
    if (ws[i].received < d) lost += d - ws[i].received; else extra += ws[i].received - d;
  }
  uint64_t unanswered = sent - acked, segs = segments() - segments0;
  double units = api_only ? acked - base : deliveries, took = t2 - t1, cpu = cpu2 - cpu0;
  qsort(done_lat.v, done_lat.n, sizeof(double), by); qsort(ack_lat.v, ack_lat.n, sizeof(double), by);
  printf("{\"subscribers\":%d,\"channels\":%d,\"window\":%d,\"rate\":%.0f,\"bytes\":%d,\"publishes\":%lu,\"seconds\":%.3f,\"deliveries\":%lu,\"lost\":%lu,\"extra\":%lu,"
         "\"gone\":%d,\"unanswered\":%lu,\"http_errors\":%d,\"reconnects\":%d,\"per_second\":%.0f,\"publishes_per_second\":%.0f,\"server_cpu_s\":%.2f,\"server_busy\":%.3f,"
         "\"per_server_cpu_second\":%.0f,\"latency_ms\":{\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f},\"delivery_ms\":{\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f},"
         "\"ack_ms\":{\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f},\"bytes_per_delivery\":%.1f,\"deltas\":%lu,\"bytes_per_delta\":%.1f,\"bytes_per_whole\":%.1f,\"server_cpu_us_per_publish\":%.1f,\"deliveries_per_segment\":%.2f,\"generator_busy\":%.3f,\"steal_s\":%.2f,\"connect_per_second\":%.0f,\"connect_cpu_us\":%.1f,\"rss_kb\":%ld}\n",
         conns, channels, window, rate, bytes, (unsigned long)count, took, (unsigned long)deliveries, (unsigned long)lost, (unsigned long)extra, gone, (unsigned long)unanswered,
         http_errors, reopened, units / took, (double)count / took, cpu, cpu / took, cpu > 0 ? units / cpu : 0,
         at(&done_lat, .5), at(&done_lat, .99), at(&done_lat, 1), hist_at(.5), hist_at(.99), hist_max * 1e3,
         at(&ack_lat, .5), at(&ack_lat, .99), at(&ack_lat, 1), deliveries ? (double)bytes_in / deliveries : 0, (unsigned long)deltas, deltas ? (double)delta_bytes / deltas : 0,
         wholes ? (double)whole_bytes / wholes : 0, count ? cpu * 1e6 / count : 0, segs ? (double)deliveries / segs : 0, own / took, steal, connect_rate, connect_us, rss2);
  return warm_broken || lost || extra || gone || unanswered || http_errors ? 1 : 0;
}
