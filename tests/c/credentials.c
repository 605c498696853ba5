/* Leases, profiles, sessions and logins as a C program uses them. The folder is for state.
 *
 *   credentials FOLDER
 */
#include "check.h"
#include "json.h"

static const oca_str none = {NULL, 0};

static oca_options *options_in(const char *folder, const char *config) {
  oca_options *options = oca_options_new();
  CHECK(!oca_options_set_config_text(options, oca_cstr(config), NULL));
  CHECK(!oca_options_set_state_dir(options, oca_cstr(folder), NULL));
  CHECK(!oca_options_set_env(options, oca_cstr("OPENAI_API_KEYS"), oca_cstr("sk-one-0123,sk-two-4567"),
                             NULL));
  return options;
}

static oca_engine *open_with(oca_options *options) {
  oca_engine *engine = NULL;
  CHECK(!oca_engine_open(options, &engine, NULL));
  oca_options_free(options);
  return engine;
}

/* The document of a call, to be forgotten by json_reset(). The slot is read here: the arguments of
 * a call are evaluated in any order. */
static json taken(oca_status status, oca_text **slot) {
  if (status || !*slot)
    return "null";
  oca_str view = oca_text_view(*slot);
  char *copy = json_take(view.len + 1);
  memcpy(copy, view.ptr, view.len + 1);
  oca_text_free(*slot);
  return copy;
}

/* As fails(), for one call: the slot is read here. */
static int failed(oca_status status, oca_error **slot, oca_status expected, const char *code) {
  return fails(status, *slot, expected, code);
}

#define FAILS(call, expected, code) CHECK(failed((call), &err, (expected), (code)))

static int has(json text, const char *part) { return strstr(text, part) != NULL; }

static oca_outcome answered(uint32_t kind, uint32_t status) {
  oca_outcome outcome;
  memset(&outcome, 0, sizeof outcome);
  outcome.struct_size = sizeof outcome;
  outcome.kind = kind;
  outcome.http_status = status;
  return outcome;
}

static oca_lease_request wish(const char *provider) {
  oca_lease_request request;
  memset(&request, 0, sizeof request);
  request.struct_size = sizeof request;
  request.provider = oca_cstr(provider);
  return request;
}

static void rotation(const char *folder) {
  oca_engine *engine = open_with(options_in(folder, "{}"));
  oca_error *err;
  oca_text *text;
  oca_lease *lease;
  oca_lease_request request = wish("openai");
  oca_verdict verdict;
  verdict.struct_size = sizeof verdict;
  CHECK(!oca_lease_acquire(engine, &request, &lease, NULL));
  CHECK(same(oca_lease_secret(lease), "sk-one-0123") && oca_lease_attempt(lease) == 1);
  CHECK(oca_lease_kind(lease) == OCA_CREDENTIAL_API_KEY && !oca_lease_expires_at_ms(lease));
  CHECK(same(oca_lease_provider(lease), "openai") && same(oca_lease_model(lease), NULL));
  CHECK(same(oca_lease_profile_id(lease), NULL) && has(oca_lease_source(lease).ptr, "env:"));
  CHECK(!has(taken(oca_lease_metadata_json(lease, &text, NULL), &text), "sk-one"));
  oca_header hint = header("Retry-After", "7");
  oca_outcome limited = answered(OCA_OUTCOME_CLASSIFY, 429);
  limited.headers = &hint;
  limited.headers_len = 1;
  limited.body = oca_cstr("{\"error\":{\"message\":\"slow down, sk-one-0123\"}}");
  CHECK(!oca_lease_report(lease, &limited, &verdict, NULL));
  CHECK(verdict.kind == OCA_VERDICT_RETRY && verdict.reason == OCA_OUTCOME_RATE_LIMIT);
  CHECK(verdict.struct_size == sizeof verdict && verdict.retryable == 1);
  CHECK(same(oca_lease_secret(lease), "sk-two-4567") && oca_lease_attempt(lease) == 2);
  CHECK(!oca_lease_exhausted_json(lease, &text, NULL) && !text);
  CHECK(!oca_lease_report(lease, &limited, &verdict, NULL));
  CHECK(verdict.kind == OCA_VERDICT_EXHAUSTED && verdict.http_status == 429);
  CHECK(verdict.retry_after_ms > 0 && oca_lease_state(lease) == OCA_LEASE_STATE_SETTLED);
  json end = taken(oca_lease_exhausted_json(lease, &text, NULL), &text);
  CHECK(has(end, "\"advice\":\"wait\"") && !has(end, "sk-one") && !has(end, "sk-two"));
  CHECK(same(oca_lease_secret(lease), NULL) && same(oca_lease_source(lease), NULL));
  FAILS(oca_lease_report(lease, &limited, &verdict, &err), OCA_ERR_STATE, "lease_finished");
  oca_lease_free(lease);
  oca_status status = oca_lease_acquire(engine, &request, &lease, &err);
  CHECK(oca_error_retry_after_ms(err) > 0 && !lease);
  CHECK(fails(status, err, OCA_ERR_UNAVAILABLE, "all_unavailable"));
  request = wish("nobody");
  status = oca_lease_acquire(engine, &request, &lease, &err);
  CHECK(fails(status, err, OCA_ERR_NO_CREDENTIAL, "no_credentials"));
  const char *logged = taken(oca_redact(engine, oca_cstr("key sk-two-4567 used"), &text, NULL), &text);
  CHECK(!strcmp(logged, "key s...7 used"));
  /* A server that does not work is no reason to go through the keys. */
  oca_engine_free(engine);
  engine = open_with(options_in(folder, "{}"));
  request = wish("openai");
  CHECK(!oca_lease_acquire(engine, &request, &lease, NULL));
  oca_engine_free(engine);
  oca_outcome broken = answered(OCA_OUTCOME_CLASSIFY, 500);
  CHECK(!oca_lease_report(lease, &broken, &verdict, NULL));
  CHECK(verdict.kind == OCA_VERDICT_EXHAUSTED && verdict.reason == OCA_OUTCOME_SERVER_ERROR);
  oca_lease_free(lease);
}

static void requests(const char *folder) {
  oca_engine *engine = open_with(options_in(folder, "{}"));
  oca_error *err;
  oca_lease *lease;
  oca_lease_request request = wish("openai");
  static const char *const wrong[] = {
      "[]",           "{\"model\": 1}",          "{\"models\": \"x\"}", "{\"pin\": 5}",
      "{\"probe\": \"x\"}", "{\"minValidMs\": \"1\"}", "{\"pin\": {\"source\": \"x\"}}", "{"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    request.extra_json = oca_cstr(wrong[i]);
    oca_status status = oca_lease_acquire(engine, &request, &lease, &err);
    CHECK(fails(status, err, OCA_ERR_INVALID_ARGUMENT, "invalid_argument"));
  }
  request.extra_json = oca_cstr("{\"exclude\": [\"env:OPENAI_API_KEYS[0]\"], \"maxAttempts\": 1}");
  for (uint32_t flag = 1; flag; flag <<= 1) {
    request.flags = flag;
    oca_status status = oca_lease_acquire(engine, &request, &lease, &err);
    int known = flag == OCA_LEASE_NO_REFRESH || flag == OCA_LEASE_NO_ENV ||
                flag == OCA_LEASE_NEW_SESSION;
    CHECK((status == OCA_ERR_INVALID_ARGUMENT) == !known);
    oca_lease_free(lease);
    oca_error_free(err);
  }
  request = wish("openai");
  request.reserved = 1;
  CHECK(oca_lease_acquire(engine, &request, &lease, NULL) == OCA_ERR_INVALID_ARGUMENT);
  oca_verdict verdict;
  verdict.struct_size = sizeof verdict;
  request.reserved = 0;
  CHECK(!oca_lease_acquire(engine, &request, &lease, NULL));
  oca_outcome odd[] = {answered(16, 0), answered(1, 70000), answered(1, 0), answered(1, 0)};
  odd[2].transport = 7;
  odd[3].reserved = 1;
  for (size_t i = 0; i < 4; i++)
    CHECK(oca_lease_report(lease, &odd[i], &verdict, NULL) == OCA_ERR_INVALID_ARGUMENT);
  CHECK(oca_lease_state(lease) == OCA_LEASE_STATE_ISSUED);
  /* A body is bytes, whatever they are. */
  oca_outcome binary = answered(OCA_OUTCOME_CLASSIFY, 429);
  binary.body.ptr = "\xff\xfe\0quota";
  binary.body.len = 8;
  CHECK(!oca_lease_report(lease, &binary, &verdict, NULL) && verdict.kind == OCA_VERDICT_RETRY);
  oca_lease_release(lease);
  oca_lease_release(lease);
  CHECK(oca_lease_state(lease) == OCA_LEASE_STATE_SETTLED);
  oca_lease_free(lease);
  oca_engine_free(engine);
}

static void stored(const char *folder) {
  static const char *const config =
      "{ auth: { order: { acme: ['acme:a', 'acme:b'] } },"
      "  agents: { defaults: { model: 'acme/big', models: { 'acme/big': { alias: 'Big' },"
      "    'acme/small': {} } } } }";
  oca_engine *engine = open_with(options_in(folder, config));
  oca_error *err;
  oca_text *text;
  oca_lease *lease;
  oca_str acme = oca_cstr("acme"), a = oca_cstr("acme:a"), b = oca_cstr("acme:b");
  oca_str first = oca_cstr("{\"type\": \"api_key\", \"provider\": \"acme\", \"key\": \"k-a-01234567\"}");
  CHECK(!oca_profile_put(engine, none, a, first, NULL));
  CHECK(!oca_profile_put(engine, none, b,
                         oca_cstr("{\"type\": \"token\", \"provider\": \"acme\", \"token\": \"t-b\","
                                  " \"expires\": 4000000000000, \"email\": \"b@x.test\"}"),
                         NULL));
  oca_str other = oca_cstr("{\"type\": \"api_key\", \"provider\": \"acme\", \"key\": \"k-c\"}");
  FAILS(oca_profile_put(engine, none, a, other, &err), OCA_ERR_STATE, "profile_exists");
  static const char *const wrong[] = {
      "{}", "{\"type\": \"oauth\"}", "{\"type\": \"api_key\", \"provider\": \"acme\"}",
      "{\"type\": \"api_key\", \"provider\": \"acme\", \"key\": \"k\", \"keyRef\": \"env:default:X\"}",
      "{\"type\": \"api_key\", \"provider\": \"acme\", \"keyRef\": \"nonsense\"}",
      "{\"type\": \"api_key\", \"provider\": \"acme\", \"key\": \"k\", \"typo\": 1}"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    oca_status status = oca_profile_put(engine, none, a, oca_cstr(wrong[i]), &err);
    CHECK(fails(status, err, OCA_ERR_INVALID_ARGUMENT, "invalid_argument"));
  }
  json list = taken(oca_profiles_json(engine, none, acme, &text, NULL), &text);
  CHECK(has(list, "\"id\":\"acme:a\"") && has(list, "b@x.test") && !has(list, "k-a-01234567"));
  CHECK(has(taken(oca_profile_order_json(engine, none, acme, none, none, &text, NULL), &text),
            "\"effective\":[\"acme:a\",\"acme:b\"]"));
  CHECK(!oca_profile_set_order(engine, none, acme, oca_cstr("[\"acme:b\",\"acme:a\"]"), NULL));
  CHECK(has(taken(oca_profile_order_json(engine, none, acme, none, none, &text, NULL), &text),
            "\"effective\":[\"acme:b\",\"acme:a\"]"));
  CHECK(oca_profile_set_order(engine, none, acme, oca_cstr("{}"), NULL) == OCA_ERR_INVALID_ARGUMENT);
  oca_status status = oca_profile_set_order(engine, none, acme, oca_cstr("[\"acme:x\"]"), &err);
  CHECK(fails(status, err, OCA_ERR_NOT_FOUND, "profile_not_found"));
  CHECK(!oca_profile_set_order(engine, none, acme, none, NULL));

  /* A rate limit opens a window, which ends when somebody says so. */
  oca_lease_request request = wish("acme");
  oca_verdict verdict;
  verdict.struct_size = sizeof verdict;
  oca_outcome limited = answered(OCA_OUTCOME_RATE_LIMIT, 429);
  CHECK(!oca_lease_acquire(engine, &request, &lease, NULL));
  CHECK(same(oca_lease_profile_id(lease), "acme:a"));
  CHECK(!oca_lease_report(lease, &limited, &verdict, NULL) && verdict.kind == OCA_VERDICT_RETRY);
  CHECK(same(oca_lease_profile_id(lease), "acme:b"));
  CHECK(oca_lease_kind(lease) == OCA_CREDENTIAL_TOKEN);
  CHECK(oca_lease_expires_at_ms(lease) == 4000000000000);
  oca_outcome fine = answered(OCA_OUTCOME_OK, 200);
  CHECK(!oca_lease_report(lease, &fine, &verdict, NULL) && verdict.kind == OCA_VERDICT_DONE);
  oca_lease_free(lease);
  bool done = false;
  CHECK(!oca_engine_flush(engine, &done, NULL) && done);
  CHECK(!oca_profile_clear_cooldown(engine, none, a, oca_cstr("cooldown"), NULL));
  CHECK(oca_profile_clear_cooldown(engine, none, a, oca_cstr("x"), NULL) == OCA_ERR_INVALID_ARGUMENT);
  oca_str word;
  CHECK(!oca_profile_eligibility(engine, none, a, acme, &word, NULL) && same(word, "ok"));
  CHECK(!oca_profile_eligibility(engine, none, a, oca_cstr("x"), &word, NULL) &&
        same(word, "provider_mismatch"));

  json report = taken(oca_status_json(engine, none, &text, NULL), &text);
  CHECK(has(report, "acme/big") && has(report, "acme:a") && !has(report, "k-a-01234567"));
  uint32_t state = 9;
  CHECK(!oca_status_check(engine, none, 0, &state, NULL) && state <= OCA_CHECK_EXPIRING);
  status = oca_status_json(engine, oca_cstr("nobody"), &text, &err);
  FAILS(status, OCA_ERR_NOT_FOUND, "unknown_agent");
  report = taken(oca_doctor_json(engine, none, 0, &text, NULL), &text);
  CHECK(has(report, "\"checksRun\":") && !has(report, "k-a-01234567"));
  CHECK(oca_doctor_json(engine, none, OCA_FLAG_READ_ONLY, &text, NULL) == OCA_ERR_INVALID_ARGUMENT);

  /* A session keeps to what a person chose. */
  oca_str session = oca_cstr("s");
  json reply = taken(oca_session_directive(engine, none, session, oca_cstr("/model small@acme:b hi"),
                                           none, &text, NULL),
                     &text);
  CHECK(has(reply, "\"directive\":\"select\"") && has(reply, "\"rest\":\"hi\""));
  CHECK(!oca_session_directive(engine, none, session, oca_cstr("hello"), none, &text, NULL) && !text);
  CHECK(has(taken(oca_session_json(engine, session, &text, NULL), &text), "\"acme:b\""));
  CHECK(has(taken(oca_session_models_json(engine, none, session, &text, NULL), &text), "acme/small"));
  json kept = taken(oca_sessions_export_json(engine, &text, NULL), &text);
  CHECK(!oca_session_set(engine, session, oca_cstr("{}"), NULL));
  CHECK(!has(taken(oca_session_json(engine, session, &text, NULL), &text), "acme:b"));
  CHECK(oca_session_set(engine, session, oca_cstr("[]"), NULL) == OCA_ERR_INVALID_ARGUMENT);
  CHECK(!oca_sessions_import(engine, oca_cstr(kept), NULL));
  CHECK(has(taken(oca_session_json(engine, session, &text, NULL), &text), "acme:b"));
  request.session = session;
  CHECK(!oca_lease_acquire(engine, &request, &lease, NULL));
  CHECK(same(oca_lease_profile_id(lease), "acme:b"));
  oca_lease_free(lease);

  CHECK(!oca_profile_remove(engine, none, a, NULL));
  FAILS(oca_profile_remove(engine, none, a, &err), OCA_ERR_NOT_FOUND, "profile_not_found");
  oca_engine_free(engine);

  /* An engine that may only read lends, and stores nothing. */
  oca_options *options = options_in(folder, config);
  CHECK(!oca_options_set_flag(options, OCA_FLAG_READ_ONLY, true, NULL));
  engine = open_with(options);
  FAILS(oca_profile_put(engine, none, a, first, &err), OCA_ERR_IO, "store_read_only");
  CHECK(!oca_lease_acquire(engine, &request, &lease, NULL));
  CHECK(same(oca_lease_secret(lease), "t-b"));
  oca_lease_free(lease);
  oca_engine_free(engine);
}

static void logins(const char *folder) {
  oca_options *options = options_in(folder, "{}");
  CHECK(!oca_options_set_flag(options, OCA_FLAG_ALLOW_NETWORK, false, NULL));
  oca_engine *engine = open_with(options);
  oca_error *err;
  oca_text *text;
  oca_oauth_flow *flow;
  oca_str codex = oca_cstr("openai-codex");
  CHECK(has(taken(oca_oauth_providers_json(engine, &text, NULL), &text), "openai-codex"));
  oca_status status = oca_oauth_begin(engine, oca_cstr("nobody"), none, &flow, &err);
  CHECK(fails(status, err, OCA_ERR_NOT_FOUND, "oauth_unknown_provider"));
  status = oca_oauth_begin(engine, codex, oca_cstr("{\"profile\": \"x\"}"), &flow, &err);
  CHECK(fails(status, err, OCA_ERR_INVALID_ARGUMENT, "invalid_argument"));
  CHECK(!oca_oauth_begin(engine, codex, oca_cstr("{\"profileId\": \"openai-codex:me\"}"), &flow, NULL));
  CHECK(has(oca_oauth_flow_url(flow).ptr, "code_challenge_method=S256"));
  CHECK(has(oca_oauth_flow_url(flow).ptr, oca_oauth_flow_state(flow).ptr));
  json about = taken(oca_oauth_flow_json(flow, &text, NULL), &text);
  CHECK(has(about, "\"provider\":\"openai-codex\"") && has(about, "\"ended\":false"));
  CHECK(!oca_oauth_flow_listen(flow, 1, &text, NULL) && !text);
  char redirect[512];
  const char *address = json_text(json_get(about, "redirectUri"));
  snprintf(redirect, sizeof redirect, "%s?code=the-code&state=%s", address, "of-another");
  status = oca_oauth_flow_complete(flow, oca_cstr(redirect), &text, &err);
  CHECK(fails(status, err, OCA_ERR_OAUTH, "oauth_state_mismatch"));
  snprintf(redirect, sizeof redirect, "%s?code=the-code&state=%s", address,
           oca_oauth_flow_state(flow).ptr);
  json sent = taken(oca_oauth_flow_request_json(flow, oca_cstr(redirect), &text, NULL), &text);
  CHECK(has(sent, "\"method\":\"POST\"") && has(sent, "the-code") && has(sent, "code_verifier"));
  oca_engine_free(engine);
  const char *answer = "{\"access_token\":\"at-0123456789\",\"refresh_token\":\"rt-0123456789\","
                       "\"expires_in\":3600}";
  json stored_as =
      taken(oca_oauth_flow_accept_response(flow, 200, oca_cstr(answer), &text, NULL), &text);
  CHECK(has(stored_as, "\"profileId\":\"openai-codex:me\"") && !has(stored_as, "at-0123456789"));
  oca_oauth_flow_free(flow);

  options = options_in(folder, "{}");
  CHECK(!oca_options_set_flag(options, OCA_FLAG_ALLOW_NETWORK, false, NULL));
  engine = open_with(options);
  oca_str me = oca_cstr("openai-codex:me");
  json token = taken(oca_oauth_token_json(engine, none, me, 0, false, &text, NULL), &text);
  CHECK(has(token, "\"access\":\"at-0123456789\"") && has(token, "\"source\":\"stored\""));
  status = oca_oauth_token_json(engine, none, me, 0, true, &text, &err);
  CHECK(fails(status, err, OCA_ERR_NETWORK, "oauth_network"));
  status = oca_oauth_unauthorized_json(engine, none, me, oca_cstr("at-0123456789"), &text, &err);
  CHECK(fails(status, err, OCA_ERR_NETWORK, "oauth_network"));
  CHECK(oca_oauth_token_json(engine, none, oca_cstr("x:y"), 0, false, &text, NULL) ==
        OCA_ERR_NOT_FOUND);
  oca_lease *lease;
  oca_lease_request request = wish("openai-codex");
  CHECK(!oca_lease_acquire(engine, &request, &lease, NULL));
  CHECK(oca_lease_kind(lease) == OCA_CREDENTIAL_OAUTH && oca_lease_expires_at_ms(lease) > 0);
  oca_lease_free(lease);
  status = oca_oauth_link(engine, none, oca_cstr("codex-cli"), &text, &err);
  CHECK(fails(status, err, OCA_ERR_NOT_FOUND, "oauth_external_cli_missing"));
  oca_engine_free(engine);
}

static void surfaces(const char *folder) {
  static const char *const config =
      "{ channels: { mychat: { apiToken: { source: 'env', provider: 'default', id: 'CHAT' } } } }";
  static const char *const rules =
      "{\"rules\": [{\"id\": \"channels.mychat.apiToken\", \"pattern\": \"channels.mychat.apiToken\"}]}";
  oca_error *err;
  oca_str secret, path = oca_cstr("channels.mychat.apiToken");
  oca_options *options = options_in(folder, config);
  CHECK(!oca_options_set_env(options, oca_cstr("CHAT"), oca_cstr("chat-secret"), NULL));
  CHECK(!oca_options_set_registry(options, oca_cstr(rules), NULL));
  oca_engine *engine = open_with(options);
  const oca_snapshot *snapshot = oca_engine_snapshot(engine);
  CHECK(!oca_snapshot_secret(snapshot, path, &secret) && same(secret, "chat-secret"));
  oca_snapshot_free(snapshot);
  oca_status status = oca_engine_set_registry(engine, oca_cstr("{\"rules\": [{}]}"), &err);
  CHECK(fails(status, err, OCA_ERR_INVALID_ARGUMENT, "rule_invalid"));
  const char *veto = "{\"rules\": [{\"id\": \"channels.mychat.apiToken\", \"pattern\":"
                     " \"channels.mychat.apiToken\"}], \"deactivate\": [{\"pattern\":"
                     " \"channels.mychat.apiToken\", \"reason\": \"off\"}]}";
  CHECK(!oca_engine_set_registry(engine, oca_cstr(veto), NULL));
  CHECK(!oca_engine_reload(engine, NULL, NULL));
  snapshot = oca_engine_snapshot(engine);
  CHECK(oca_snapshot_secret(snapshot, path, &secret) == OCA_ERR_SECRET);
  oca_snapshot_free(snapshot);
  oca_engine_free(engine);
}

int main(int argc, char **argv) {
  if (argc != 2)
    return 64;
  rotation(argv[1]);
  requests(argv[1]);
  stored(argv[1]);
  logins(argv[1]);
  surfaces(argv[1]);
  return summary();
}
