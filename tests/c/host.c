/* What a host that is not a Rust program does to a library: default SIGPIPE, ignored SIGCHLD,
 * fork; and what the library must not do to it: die of a panic. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* From the build for tests only. */
oca_status oca_test_panic(oca_error **err);

/* A provider that never reads what it is asked. */
static const char *const DEAF =
    "{ models: { providers: { p: { apiKey: { source: 'exec', provider: 'x', id: 'k' } } } },"
    "  secrets: { providers: { x: { source: 'exec', command: '/bin/echo', args: ['value'],"
    "    jsonOnly: false } } } }";

static void broken_pipes(void) {
  signal(SIGPIPE, SIG_DFL);
  int answered = 0;
  for (int i = 0; i < 20; i++) {
    oca_engine *engine = open_text(DEAF);
    const oca_snapshot *snapshot = oca_engine_snapshot(engine);
    oca_str secret;
    answered += !oca_snapshot_secret(snapshot, oca_cstr("models.providers.p.apiKey"), &secret) &&
                same(secret, "value");
    oca_snapshot_free(snapshot);
    oca_engine_free(engine);
  }
  CHECK(answered == 20);
}

/* The status of the child is lost, so nothing may be believed; but nothing may hang either. */
static void lost_children(void) {
  oca_error *err;
  oca_engine *engine;
  signal(SIGCHLD, SIG_IGN);
  oca_options *options = oca_options_new();
  CHECK(!oca_options_set_config_text(options, oca_cstr(DEAF), NULL));
  oca_status status = oca_engine_open(options, &engine, &err);
  CHECK(fails(status, err, OCA_ERR_SECRET, "secret_unresolved"));
  oca_options_free(options);
  signal(SIGCHLD, SIG_DFL);
}

/* Nothing is promised to a child, except that it can end; the parent goes on. */
static void forks(void) {
  oca_engine *engine = open_text(BY_PROXY);
  pid_t child = fork();
  if (child == 0)
    _exit(7);
  int state = 0;
  CHECK(waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 7);
  /* A child that opens its own engine, as workers do. */
  child = fork();
  if (child == 0) {
    oca_engine *own = open_text(BY_PROXY);
    oca_decision decision = new_decision();
    _exit(oca_authorize(own, NULL, &decision) == OCA_OK && !decision.allowed ? 8 : 9);
  }
  CHECK(waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 8);
  CHECK(oca_engine_generation(engine) == 1);
  oca_engine_free(engine);
}

static void panics(void) {
  oca_error *err;
  oca_status status = oca_test_panic(&err);
  CHECK(strstr(oca_error_message(err).ptr, "canary") == NULL);
  CHECK(strstr(oca_error_details_json(err).ptr, "canary") == NULL);
  CHECK(fails(status, err, OCA_ERR_PANIC, "panic"));
  CHECK(oca_test_panic(NULL) == OCA_OK);
}

int main(void) {
  broken_pipes();
  lost_children();
  forks();
  panics();
  return summary();
}
