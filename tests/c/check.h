/* What every test program uses: counted checks and short ways to call the library. */
#ifndef CHECK_H
#define CHECK_H

#include <openclaw_auth.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int checks_passed, checks_failed;

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)

static inline int check(int holds, const char *what, const char *file, int line) {
  if (holds) {
    checks_passed++;
  } else {
    checks_failed++;
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
  }
  return holds;
}

/* The last line of every program. */
static inline int summary(void) {
  printf("%d passed, %d failed\n", checks_passed, checks_failed);
  return checks_failed != 0;
}

static inline int same(oca_str view, const char *text) {
  if (!view.ptr || !text)
    return !view.ptr && !text;
  return view.len == strlen(text) && memcmp(view.ptr, text, view.len) == 0 && !view.ptr[view.len];
}

/* Whether a call failed with this status and code; frees the error. */
static inline int fails(oca_status status, oca_error *err, oca_status expected, const char *code) {
  int holds = status == expected && oca_error_status(err) == expected &&
              same(oca_error_code(err), code) && oca_error_message(err).len > 0;
  if (!holds)
    fprintf(stderr, "status %d, code %s: %s\n", (int)status,
            err ? oca_error_code(err).ptr : "(none)", err ? oca_error_message(err).ptr : "");
  oca_error_free(err);
  return holds;
}

/* An engine on a configuration text; exits if it cannot be opened. */
static inline oca_engine *open_text(const char *config) {
  oca_error *err;
  oca_engine *engine;
  oca_options *options = oca_options_new();
  if (oca_options_set_config_text(options, oca_cstr(config), &err) ||
      oca_engine_open(options, &engine, &err)) {
    fprintf(stderr, "open: %s: %s\n", oca_error_code(err).ptr, oca_error_message(err).ptr);
    exit(2);
  }
  oca_options_free(options);
  return engine;
}

static inline oca_decision new_decision(void) {
  oca_decision decision;
  memset(&decision, 0, sizeof decision);
  decision.struct_size = sizeof decision;
  return decision;
}

static inline oca_request new_request(const char *remote, const oca_header *headers, size_t len) {
  oca_request request;
  memset(&request, 0, sizeof request);
  request.struct_size = sizeof request;
  request.remote = oca_cstr(remote);
  request.headers = headers;
  request.headers_len = len;
  return request;
}

static inline oca_header header(const char *name, const char *value) {
  oca_header line;
  line.name = oca_cstr(name);
  line.value = oca_cstr(value);
  return line;
}

/* In a settings file, as it stands in every example of trusted-proxy mode. */
#define BY_PROXY                                                                     \
  "{ gateway: { trustedProxies: ['10.0.0.1'], auth: { mode: 'trusted-proxy',"        \
  "  trustedProxy: { userHeader: 'x-forwarded-user' } } },"                          \
  "  models: { providers: { openai: { apiKey: 'sk-canary-0123456789' } } } }"

#endif
