/* Signs in, or asks for a token with many threads: `worker login | tokens PROFILE THREADS`.
 * Prints one JSON value a line, and of a token only its digest. */
#include <openclaw_auth.h>
#include <pthread.h>

#include "../../c/json.h"

#define THREADS 64

static oca_engine *engine;
static const char *profile;

static void check(oca_status status, oca_error *err) {
  if (status == OCA_OK)
    return;
  fprintf(stderr, "%s: %s\n", oca_error_code(err).ptr, oca_error_message(err).ptr);
  exit(1);
}

static void login(void) {
  oca_error *err = NULL;
  oca_oauth_flow *flow = NULL;
  oca_text *address = NULL, *done = NULL;
  oca_str options = oca_cstr("{\"timeoutMs\": 30000}");
  check(oca_oauth_begin(engine, oca_cstr("openai-codex"), options, &flow, &err), err);
  printf("{\"url\":\"%s\"}\n", oca_oauth_flow_url(flow).ptr);
  fflush(stdout);
  while (!address)
    check(oca_oauth_flow_listen(flow, 1000, &address, &err), err);
  check(oca_oauth_flow_complete(flow, oca_text_view(address), &done, &err), err);
  printf("{\"profileId\":\"%s\"}\n", json_text(json_get(oca_text_view(done).ptr, "profileId")));
  oca_text_free(done);
  oca_text_free(address);
  oca_oauth_flow_free(flow);
}

typedef struct answer {
  oca_text *token;
  oca_error *err;
} answer;

static void *ask(void *to) {
  answer *answer = to;
  oca_str none = {NULL, 0};
  if (oca_oauth_token_json(engine, none, oca_cstr(profile), 0, false, &answer->token, &answer->err))
    answer->token = NULL;
  return NULL;
}

/* Writes the first half of the SHA-256 of a token to stdout; it goes through a pipe. */
static void digest(const char *token) {
  fflush(stdout);
  FILE *pipe = popen("sha256sum | cut -c -16 | tr -d '\\n'", "w");
  if (!pipe || fputs(token, pipe) < 0 || pclose(pipe))
    exit(2);
}

static void show(const answer *answer) {
  if (answer->err) {
    printf("{\"error\":\"%s\",\"details\":%s}", oca_error_code(answer->err).ptr,
           oca_error_details_json(answer->err).ptr);
    oca_error_free(answer->err);
    return;
  }
  json token = oca_text_view(answer->token).ptr;
  printf("{\"source\":\"%s\",\"token\":\"", json_text(json_get(token, "source")));
  digest(json_text(json_get(token, "access")));
  printf("\"}");
  oca_text_free(answer->token);
}

static void tokens(int threads) {
  pthread_t running[THREADS];
  answer answers[THREADS] = {{NULL, NULL}};
  for (int i = 0; i < threads; i++)
    if (pthread_create(&running[i], NULL, ask, &answers[i]))
      exit(2);
  for (int i = 0; i < threads; i++)
    pthread_join(running[i], NULL);
  for (int i = 0; i < threads; i++) {
    printf(i ? "," : "[");
    show(&answers[i]);
  }
  printf("]\n");
}

int main(int argc, char **argv) {
  oca_error *err = NULL;
  oca_options *options = oca_options_new();
  check(oca_options_set_flag(options, OCA_FLAG_INHERIT_ENV, true, &err), err);
  check(oca_engine_open(options, &engine, &err), err);
  oca_options_free(options);
  int threads = argc == 4 ? atoi(argv[3]) : 0;
  if (argc == 2 && !strcmp(argv[1], "login")) {
    login();
  } else if (threads > 0 && threads <= THREADS && !strcmp(argv[1], "tokens")) {
    profile = argv[2];
    tokens(threads);
  } else {
    fprintf(stderr, "worker login | tokens PROFILE THREADS\n");
    return 64;
  }
  oca_engine_free(engine);
  return 0;
}
