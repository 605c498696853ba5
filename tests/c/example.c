/* Opens a configuration, judges a request, and makes an upstream call with a leased key, turning to
 * the next key when the first is at its limit.
 *
 *   cc example.c $(pkg-config --cflags --libs openclaw_auth) -o example
 */
#include <openclaw_auth.h>
#include <stdio.h>

static const char *const CONFIG =
    "{ gateway: { trustedProxies: ['10.0.0.1'], auth: { mode: 'trusted-proxy',"
    "    trustedProxy: { userHeader: 'x-forwarded-user' } } } }";

static int fail(const char *what, oca_error *err) {
  fprintf(stderr, "%s: %s: %s\n", what, oca_error_code(err).ptr, oca_error_message(err).ptr);
  oca_error_free(err);
  return 1;
}

/* Stands for the provider: the first key is at its limit. */
static uint32_t send_with(oca_str key) { return key.ptr[key.len - 1] == '1' ? 429 : 200; }

int main(void) {
  oca_error *err = NULL;
  oca_engine *engine = NULL;
  oca_options *options = oca_options_new();
  if (oca_options_set_config_text(options, oca_cstr(CONFIG), &err) ||
      oca_options_set_env(options, oca_cstr("OPENAI_API_KEYS"), oca_cstr("sk-1,sk-2"), &err) ||
      oca_options_set_flag(options, OCA_FLAG_READ_ONLY, true, &err) ||
      oca_engine_open(options, &engine, &err))
    return fail("open", err);
  oca_options_free(options);

  oca_header headers[] = {{oca_cstr("X-Forwarded-User"), oca_cstr("nick@example.com")}};
  oca_request request = {.struct_size = sizeof request, .remote = oca_cstr("10.0.0.1:4711"),
                         .headers = headers, .headers_len = 1};
  oca_decision decision = {.struct_size = sizeof decision};
  if (oca_authorize(engine, &request, &decision) == OCA_OK)
    printf("allowed=%u user=%s\n", decision.allowed, decision.user);

  oca_lease *lease = NULL;
  oca_lease_request want = {.struct_size = sizeof want, .provider = oca_cstr("openai")};
  if (oca_lease_acquire(engine, &want, &lease, &err))
    return fail("lease", err);
  oca_verdict verdict = {.struct_size = sizeof verdict, .kind = OCA_VERDICT_RETRY};
  while (verdict.kind == OCA_VERDICT_RETRY) {
    uint32_t status = send_with(oca_lease_secret(lease));
    printf("%s: %u\n", oca_lease_source(lease).ptr, status);
    oca_outcome outcome = {.struct_size = sizeof outcome, .http_status = status,
                           .kind = status == 200 ? OCA_OUTCOME_OK : OCA_OUTCOME_CLASSIFY};
    if (oca_lease_report(lease, &outcome, &verdict, &err))
      return fail("report", err);
  }
  oca_lease_free(lease);
  oca_engine_free(engine);
  return 0;
}
