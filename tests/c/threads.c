/* Eight threads judge, read and lease while one reloads: every view is one generation.
 *
 *   threads [seconds]
 */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static oca_engine *engine;
static atomic_int done;
static atomic_long rounds, wrong;

/* The number is in both secrets and in the proxy's address, so that halves would not fit. */
static void config_of(unsigned number, char *text, size_t size) {
  unsigned host = number % 250 + 1;
  snprintf(text, size,
           "{ gateway: { trustedProxies: ['10.0.0.%u'], auth: { mode: 'trusted-proxy',"
           " trustedProxy: { userHeader: 'x-user' } } }, models: { providers: {"
           " a: { apiKey: 'key-%u' }, b: { apiKey: 'key-%u' } } } }",
           host, number, number);
}

/* Lends the key of some generation and reports. */
static int lends(const oca_engine *own) {
  oca_lease *lease;
  oca_lease_request request;
  oca_outcome outcome;
  oca_verdict verdict;
  memset(&request, 0, sizeof request);
  request.struct_size = sizeof request;
  request.provider = oca_cstr("a");
  request.session = oca_cstr("s");
  memset(&outcome, 0, sizeof outcome);
  outcome.struct_size = sizeof outcome;
  verdict.struct_size = sizeof verdict;
  if (oca_lease_acquire(own, &request, &lease, NULL))
    return 0;
  oca_str secret = oca_lease_secret(lease);
  int holds = secret.len > 4 && !memcmp(secret.ptr, "key-", 4) &&
              !oca_lease_report(lease, &outcome, &verdict, NULL) &&
              verdict.kind == OCA_VERDICT_DONE;
  oca_lease_free(lease);
  return holds;
}

static void *reader(void *unused) {
  (void)unused;
  oca_header user = header("X-User", "nick");
  oca_request request = new_request("10.0.0.77:1", &user, 1);
  oca_decision decision = new_decision();
  uint64_t last = 0;
  while (!atomic_load(&done)) {
    oca_engine *own = oca_engine_clone(engine);
    const oca_snapshot *snapshot = oca_engine_snapshot(own);
    oca_str a, b;
    int holds = !oca_snapshot_secret(snapshot, oca_cstr("models.providers.a.apiKey"), &a) &&
                !oca_snapshot_secret(snapshot, oca_cstr("models.providers.b.apiKey"), &b) &&
                a.len == b.len && !memcmp(a.ptr, b.ptr, a.len) &&
                oca_snapshot_generation(snapshot) >= last;
    last = oca_snapshot_generation(snapshot);
    oca_snapshot_free(snapshot);
    decision.struct_size = sizeof decision;
    holds &= oca_authorize(own, &request, &decision) == OCA_OK;
    /* Generation n has number n, whose proxy is known. */
    holds &= decision.allowed == ((decision.generation % 250 + 1) == 77);
    holds &= decision.generation >= last;
    last = decision.generation;
    holds &= lends(own);
    oca_engine_free(own);
    atomic_fetch_add(&wrong, !holds);
    atomic_fetch_add(&rounds, 1);
  }
  return NULL;
}

int main(int argc, char **argv) {
  time_t seconds = argc > 1 ? atoi(argv[1]) : 1;
  char text[512];
  pthread_t threads[8];
  config_of(1, text, sizeof text);
  engine = open_text(text);
  for (int i = 0; i < 8; i++)
    CHECK(pthread_create(&threads[i], NULL, reader, NULL) == 0);
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  unsigned number = 1;
  do {
    config_of(number + 1, text, sizeof text);
    if (oca_engine_reload_text(engine, oca_cstr(text), NULL, NULL))
      break;
    number++;
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while (now.tv_sec - start.tv_sec < seconds || number < 100);
  atomic_store(&done, 1);
  for (int i = 0; i < 8; i++)
    pthread_join(threads[i], NULL);
  CHECK(oca_engine_generation(engine) == number && number >= 100);
  CHECK(atomic_load(&wrong) == 0);
  CHECK(atomic_load(&rounds) > 100);
  fprintf(stderr, "%ld rounds, %u reloads\n", atomic_load(&rounds), number);
  oca_engine_free(engine);
  return summary();
}
