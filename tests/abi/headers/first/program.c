/* Opens a configuration, judges a request and reads a secret.
 *
 *   cc example.c $(pkg-config --cflags --libs openclaw_auth) -o example
 */
#include <openclaw_auth.h>
#include <stdio.h>

static const char *const CONFIG =
    "{ gateway: { trustedProxies: ['10.0.0.1'], auth: { mode: 'trusted-proxy',"
    "    trustedProxy: { userHeader: 'x-forwarded-user' } } },"
    "  models: { providers: { openai: {"
    "    apiKey: { source: 'env', provider: 'default', id: 'OPENAI_API_KEY' } } } } }";

static int fail(const char *what, oca_error *err) {
  fprintf(stderr, "%s: %s: %s\n", what, oca_error_code(err).ptr, oca_error_message(err).ptr);
  oca_error_free(err);
  return 1;
}

static void judge(const oca_engine *engine, const char *remote) {
  oca_header headers[1] = {{oca_cstr("X-Forwarded-User"), oca_cstr("nick@example.com")}};
  oca_request request = {0};
  request.struct_size = sizeof request;
  request.remote = oca_cstr(remote);
  request.headers = headers;
  request.headers_len = 1;
  oca_decision decision = {0};
  decision.struct_size = sizeof decision;
  if (oca_authorize(engine, &request, &decision) != OCA_OK)
    printf("%s: the call is wrong\n", remote);
  else if (decision.allowed)
    printf("%s: %s may come in\n", remote, decision.user);
  else
    printf("%s: %u %s (%s)\n", remote, decision.http_status, decision.code.ptr,
           decision.reason.ptr);
}

int main(void) {
  oca_error *err = NULL;
  oca_engine *engine = NULL;
  oca_options *options = oca_options_new();
  if (oca_options_set_config_text(options, oca_cstr(CONFIG), &err) ||
      oca_options_set_env(options, oca_cstr("OPENAI_API_KEY"), oca_cstr("sk-example"), &err) ||
      oca_engine_open(options, &engine, &err))
    return fail("open", err);
  oca_options_free(options);

  judge(engine, "10.0.0.1:4711");
  judge(engine, "203.0.113.9:4711");

  const oca_snapshot *snapshot = oca_engine_snapshot(engine);
  oca_str key;
  if (oca_snapshot_secret(snapshot, oca_cstr("models.providers.openai.apiKey"), &key) == OCA_OK)
    printf("the key has %zu bytes\n", key.len);
  oca_snapshot_free(snapshot);
  oca_engine_free(engine);
  return 0;
}
