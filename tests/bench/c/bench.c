/* The price of the calls that every request makes, in nanoseconds: the best of several runs, which
 * is what a quiet machine would show.
 *
 *   cc -O2 bench.c $(pkg-config --cflags --libs openclaw_auth) -o bench
 */
#define _POSIX_C_SOURCE 200809L
#include <openclaw_auth.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static oca_engine *engine;
static oca_request request;
static oca_decision decision;
static const char *packed_bytes;
static uint32_t packed_lens[4 + 2 * 16];
static size_t packed_len, packed_count;

static void require(int holds, const char *what) {
  if (!holds) {
    fprintf(stderr, "%s\n", what);
    exit(1);
  }
}

static void authorize(void) {
  require(!oca_authorize(engine, &request, &decision) && decision.allowed, "authorize");
}

static void authorize_packed(void) {
  oca_str bytes = {packed_bytes, packed_len};
  require(!oca_authorize_packed(engine, 0, 0, bytes, packed_lens, packed_count, &decision) &&
              decision.allowed,
          "authorize packed");
}

static void client_ip(void) {
  char buf[OCA_IP_SIZE];
  size_t len;
  require(!oca_client_ip(engine, &request, buf, sizeof buf, &len) && len == 11, "client ip");
}

static void snapshot_read(void) {
  static const oca_str path = {"models.providers.p.apiKey", 25};
  oca_str secret;
  const oca_snapshot *snapshot = oca_engine_snapshot(engine);
  require(!oca_snapshot_secret(snapshot, path, &secret) && secret.len == 14, "secret");
  oca_snapshot_free(snapshot);
}

static double best(void (*work)(void)) {
  enum { ROUNDS = 500 };
  double least = 1e9;
  for (int run = 0; run < 600; run++) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < ROUNDS; i++)
      work();
    clock_gettime(CLOCK_MONOTONIC, &to);
    double ns = ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / ROUNDS;
    least = ns < least ? ns : least;
  }
  return least;
}

static void pack(char *bytes, const oca_str *part) {
  if (part->ptr)
    memcpy(bytes + packed_len, part->ptr, part->len);
  packed_len += part->len;
  packed_lens[packed_count++] = part->ptr ? (uint32_t)part->len : UINT32_MAX;
}

int main(void) {
  static const char *const lines[][2] = {
      {"Host", "claw.example.com"},
      {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"},
      {"Accept", "text/html"},
      {"Accept-Language", "en"},
      {"Accept-Encoding", "gzip, br"},
      {"Cookie", "session=0123456789abcdef"},
      {"X-Forwarded-For", "203.0.113.9"},
      {"X-Forwarded-Proto", "https"},
      {"X-Forwarded-Host", "claw.example.com"},
      {"X-Forwarded-User", "nick@example.com"},
      {"X-Request-Id", "0123456789abcdef"},
      {"Connection", "keep-alive"},
  };
  enum { LINES = sizeof lines / sizeof *lines };
  static oca_header headers[LINES];
  static char bytes[1024];
  oca_options *options = oca_options_new();
  const char *config =
      "{ models: { providers: { p: { apiKey: 'sk-canary-0123' } } },"
      "  gateway: { trustedProxies: ['10.0.0.0/8'], auth: { mode: 'trusted-proxy', trustedProxy: {"
      "    userHeader: 'x-forwarded-user', allowUsers: ['nick@example.com'] } } } }";
  require(!oca_options_set_config_text(options, oca_cstr(config), NULL) &&
              !oca_engine_open(options, &engine, NULL),
          "open");
  oca_options_free(options);
  for (int i = 0; i < LINES; i++) {
    headers[i].name = oca_cstr(lines[i][0]);
    headers[i].value = oca_cstr(lines[i][1]);
  }
  request.struct_size = sizeof request;
  request.remote = oca_cstr("10.1.2.3:4711");
  request.headers = headers;
  request.headers_len = LINES;
  decision.struct_size = sizeof decision;
  oca_str absent = {NULL, 0};
  pack(bytes, &request.remote);
  for (int i = 0; i < 3; i++)
    pack(bytes, &absent);
  for (int i = 0; i < LINES; i++) {
    pack(bytes, &headers[i].name);
    pack(bytes, &headers[i].value);
  }
  packed_bytes = bytes;

  struct {
    const char *name;
    void (*work)(void);
    double limit;
  } rows[] = {{"oca_authorize, 12 headers", authorize, 1000},
              {"oca_authorize_packed, 12 headers", authorize_packed, 1000},
              {"oca_client_ip", client_ip, 500},
              {"snapshot, secret, free", snapshot_read, 100}};
  printf("%-34s %8s %8s\n", "call", "ns", "at most");
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    printf("%-34s %8.1f %8.0f\n", rows[i].name, best(rows[i].work), rows[i].limit);
  oca_engine_free(engine);
  return 0;
}
