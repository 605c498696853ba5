/* What the functions do, section by section. */
#include "check.h"

static void versions(void) {
  CHECK(oca_abi_version() == OCA_ABI_VERSION);
  CHECK(same(oca_version(), OCA_VERSION_STRING));
  CHECK(strstr(oca_build_info().ptr, "\"target\":\"") != NULL);
  CHECK(same(oca_status_name(OCA_ERR_SECRET), "OCA_ERR_SECRET"));
  CHECK(same(oca_status_name(12345), "OCA_ERR_UNKNOWN"));
}

static void errors(void) {
  oca_error *err;
  oca_engine *engine;
  oca_options *options = oca_options_new();
  CHECK(oca_options_set_config_text(options, oca_cstr("{ a: 1,\n  b: }"), &err) == OCA_OK);
  CHECK(err == NULL);
  oca_status status = oca_engine_open(options, &engine, &err);
  CHECK(engine == NULL);
  CHECK(strstr(oca_error_details_json(err).ptr, "\"line\":2") != NULL);
  CHECK(oca_error_retry_after_ms(err) == 0);
  CHECK(fails(status, err, OCA_ERR_CONFIG, "config_parse_error"));

  const char *unset = "{ models: { providers: { p: { apiKey: '${NOT_SET_ANYWHERE}' } } } }";
  CHECK(oca_options_set_config_text(options, oca_cstr(unset), NULL) == OCA_OK);
  status = oca_engine_open(options, &engine, &err);
  CHECK(strstr(oca_error_details_json(err).ptr, "secret_ref_not_found") != NULL);
  CHECK(fails(status, err, OCA_ERR_SECRET, "secret_unresolved"));
  /* Whoever wants the status only passes no slot. */
  CHECK(oca_engine_open(options, &engine, NULL) == OCA_ERR_SECRET);

  CHECK(oca_options_set_config_path(options, oca_cstr("/does/not/exist.json"), NULL) == OCA_OK);
  status = oca_engine_open(options, &engine, &err);
  CHECK(fails(status, err, OCA_ERR_CONFIG, "config_not_found"));
  oca_options_free(options);
}

static void settings(void) {
  oca_error *err;
  oca_engine *engine;
  oca_options *options = oca_options_new();
  const char *config =
      "{ models: { providers: { p: { apiKey: '${KEY}' },"
      "  q: { apiKey: { source: 'exec', provider: 'x', id: 'k' } } } },"
      "  secrets: { providers: { x: { source: 'exec', command: '/bin/echo', args: ['from-exec'],"
      "    jsonOnly: false } } } }";
  CHECK(!oca_options_set_config_text(options, oca_cstr(config), NULL));
  /* The environment of the process is not seen unless it is asked for. */
  CHECK(setenv("KEY", "from-process", 1) == 0);
  oca_status status = oca_engine_open(options, &engine, &err);
  CHECK(fails(status, err, OCA_ERR_SECRET, "secret_unresolved"));
  CHECK(!oca_options_set_flag(options, OCA_FLAG_INHERIT_ENV, true, NULL));
  CHECK(!oca_engine_open(options, &engine, NULL));
  const oca_snapshot *snapshot = oca_engine_snapshot(engine);
  oca_str secret;
  CHECK(!oca_snapshot_secret(snapshot, oca_cstr("models.providers.p.apiKey"), &secret));
  CHECK(same(secret, "from-process"));
  CHECK(!oca_snapshot_secret(snapshot, oca_cstr("models.providers.q.apiKey"), &secret));
  CHECK(same(secret, "from-exec"));
  CHECK(!oca_snapshot_secret_by_ref(snapshot, oca_cstr("exec:x:k"), &secret));
  CHECK(same(secret, "from-exec"));
  CHECK(oca_snapshot_secret_by_ref(snapshot, oca_cstr("exec:x:z"), &secret) == OCA_ERR_NOT_FOUND);
  oca_snapshot_free(snapshot);
  oca_engine_free(engine);

  /* An absent value removes, a given one wins. */
  CHECK(!oca_options_set_env(options, oca_cstr("KEY"), oca_cstr("given"), NULL));
  CHECK(!oca_options_set_flag(options, OCA_FLAG_ALLOW_EXEC, false, NULL));
  status = oca_engine_open(options, &engine, &err);
  CHECK(strstr(oca_error_details_json(err).ptr, "secret_provider_spawn_failed") != NULL);
  CHECK(fails(status, err, OCA_ERR_SECRET, "secret_unresolved"));
  CHECK(!oca_options_set_env(options, oca_cstr("KEY"), oca_cstr(NULL), NULL));
  status = oca_engine_open(options, &engine, &err);
  CHECK(strstr(oca_error_details_json(err).ptr, "KEY") != NULL);
  CHECK(fails(status, err, OCA_ERR_SECRET, "secret_unresolved"));
  oca_options_free(options);

  options = oca_options_new();
  status = oca_options_set_json(options, oca_cstr("{\"requireAccess\": true}"), &err);
  CHECK(status == OCA_OK);
  status = oca_engine_open(options, &engine, &err);
  CHECK(fails(status, err, OCA_ERR_CONFIG, "token_missing_config"));
  const char *json = "{\"access\": {\"mode\": \"token\", \"port\": 18789,"
                     " \"token\": \"0123456789abcdef0123456789abcdef\"}}";
  CHECK(!oca_options_set_json(options, oca_cstr(json), NULL));
  CHECK(!oca_engine_open(options, &engine, NULL));
  oca_engine_free(engine);
  const char *wrong[] = {"[]",       "{\"acess\": {}}",        "{\"access\": {\"mode\": \"x\"}}",
                         "{",        "{\"access\": []}",       "{\"access\": {\"port\": 70000}}",
                         "{\"deadlineMs\": -1}", "{\"strictEnv\": 1}", "{\"access\": {\"x\": 1}}"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    status = oca_options_set_json(options, oca_cstr(wrong[i]), &err);
    CHECK(fails(status, err, OCA_ERR_INVALID_ARGUMENT, "invalid_argument"));
  }
  oca_options_free(options);
}

static void reloads(void) {
  oca_error *err;
  oca_text *report, *event;
  oca_engine *engine = open_text(BY_PROXY);
  const oca_snapshot *before = oca_engine_snapshot(engine);
  CHECK(oca_engine_generation(engine) == 1 && oca_snapshot_generation(before) == 1);
  CHECK(oca_engine_health(engine) == OCA_HEALTH_OK);
  const char *path = "models.providers.openai.apiKey";
  const char *next = "{ gateway: { trustedProxies: ['10.0.0.1'], auth: { mode: 'trusted-proxy',"
                     "  trustedProxy: { userHeader: 'x-user' } } },"
                     "  models: { providers: { openai: { apiKey: 'sk-next' } } } }";
  CHECK(!oca_engine_reload_text(engine, oca_cstr(next), &report, &err));
  CHECK(strstr(oca_text_view(report).ptr, "{\"schemaVersion\":1,\"generation\":2") != NULL);
  oca_text_free(report);
  const oca_snapshot *after = oca_engine_snapshot(engine);
  oca_str old_secret, new_secret;
  CHECK(!oca_snapshot_secret(before, oca_cstr(path), &old_secret));
  CHECK(!oca_snapshot_secret(after, oca_cstr(path), &new_secret));
  CHECK(same(old_secret, "sk-canary-0123456789") && same(new_secret, "sk-next"));

  CHECK(oca_engine_reload_text(engine, oca_cstr("{"), NULL, NULL) == OCA_ERR_CONFIG);
  CHECK(oca_engine_health(engine) == OCA_HEALTH_DEGRADED);
  CHECK(oca_engine_generation(engine) == 2);
  CHECK(!oca_engine_reload(engine, NULL, NULL));
  CHECK(oca_engine_health(engine) == OCA_HEALTH_OK);
  CHECK(oca_engine_generation(engine) == 3);
  oca_text *trial;
  CHECK(!oca_engine_preflight(engine, oca_cstr("{"), 0, &trial, NULL));
  CHECK(strstr(oca_text_view(trial).ptr, "\"ok\":false") != NULL);
  oca_text_free(trial);
  CHECK(!oca_engine_preflight(engine, oca_cstr(next), 0, &trial, NULL));
  CHECK(strstr(oca_text_view(trial).ptr, "\"ok\":true") != NULL);
  CHECK(strstr(oca_text_view(trial).ptr, "sk-") == NULL);
  oca_text_free(trial);
  CHECK(oca_engine_generation(engine) == 3);
  bool changed = true;
  CHECK(!oca_engine_files_changed(engine, &changed, NULL) && !changed);

  const char *codes[] = {"SECRETS_ACTIVATED", "SECRETS_RELOADED", "SECRETS_RELOADER_DEGRADED",
                         "SECRETS_RELOADER_RECOVERED", "SECRETS_RELOADED"};
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    CHECK(!oca_engine_next_event(engine, &event, NULL) && event != NULL);
    CHECK(strstr(oca_text_view(event).ptr, codes[i]) != NULL);
    CHECK(strstr(oca_text_view(event).ptr, "sk-") == NULL);
    oca_text_free(event);
  }
  CHECK(!oca_engine_next_event(engine, &event, NULL) && event == NULL);

  /* A snapshot outlives its engine, and a second handle keeps the engine open. */
  oca_engine *second = oca_engine_clone(engine);
  oca_engine_free(engine);
  CHECK(oca_engine_generation(second) == 3);
  oca_engine_free(second);
  CHECK(!oca_snapshot_secret(before, oca_cstr(path), &old_secret));
  CHECK(same(old_secret, "sk-canary-0123456789"));
  oca_snapshot_free(before);
  oca_snapshot_free(after);
}

static void snapshots(void) {
  oca_text *text;
  const char *config =
      "{ gateway: { auth: { mode: 'none' }, http: { securityHeaders: {"
      "    strictTransportSecurity: 'max-age=31536000' } } },"
      "  models: { providers: { p: { apiKey: 'sk-canary-1' } } },"
      "  channels: { slack: { enabled: false, botToken: '${SLACK}' } } }";
  oca_engine *engine = open_text(config);
  const oca_snapshot *snapshot = oca_engine_snapshot(engine);
  CHECK(same(oca_snapshot_hsts(snapshot), "max-age=31536000"));
  CHECK(same(oca_snapshot_wanted_headers(snapshot),
             "authorization,connection,forwarded,host,origin,sec-websocket-protocol,"
             "x-forwarded-*,x-real-ip"));
  CHECK(!oca_snapshot_surfaces_json(snapshot, &text, NULL));
  CHECK(strstr(oca_text_view(text).ptr, "models.providers.p.apiKey") != NULL);
  CHECK(strstr(oca_text_view(text).ptr, "sk-canary") == NULL);
  oca_text_free(text);
  CHECK(!oca_snapshot_diagnostics_json(snapshot, &text, NULL));
  CHECK(strstr(oca_text_view(text).ptr, "SECRETS_REF_IGNORED_INACTIVE_SURFACE") != NULL);
  oca_text_free(text);
  oca_str secret = oca_cstr("stale");
  CHECK(oca_snapshot_secret(snapshot, oca_cstr("channels.slack.botToken"), &secret) ==
        OCA_ERR_SECRET);
  CHECK(same(secret, NULL));
  CHECK(oca_snapshot_secret(snapshot, oca_cstr("no.such"), &secret) == OCA_ERR_NOT_FOUND);
  oca_snapshot_free(snapshot);
  oca_engine_free(engine);
}

/* A file with a plain secret, as an installation has it. */
static void files(void) {
  char folder[] = "/tmp/openclaw-auth-XXXXXX", path[64];
  CHECK(mkdtemp(folder) != NULL);
  snprintf(path, sizeof path, "%s/openclaw.json", folder);
  FILE *file = fopen(path, "w");
  CHECK(file != NULL && fputs(BY_PROXY, file) >= 0 && fclose(file) == 0);
  oca_engine *engine;
  oca_options *options = oca_options_new();
  CHECK(!oca_options_set_state_dir(options, oca_cstr(folder), NULL));
  CHECK(!oca_options_set_config_path(options, oca_cstr(NULL), NULL));
  CHECK(!oca_engine_open(options, &engine, NULL));
  oca_options_free(options);
  bool changed = true;
  oca_text *audit;
  CHECK(!oca_engine_files_changed(engine, &changed, NULL) && !changed);
  CHECK(!oca_secrets_audit_json(engine, 0, &audit, NULL));
  CHECK(strstr(oca_text_view(audit).ptr, "PLAINTEXT_FOUND") != NULL);
  CHECK(strstr(oca_text_view(audit).ptr, "sk-canary") == NULL);
  oca_text_free(audit);
  CHECK(remove(path) == 0);
  CHECK(!oca_engine_files_changed(engine, &changed, NULL) && changed);
  CHECK(remove(folder) == 0);
  oca_engine_free(engine);
}

static void decisions(void) {
  oca_engine *engine = open_text(BY_PROXY);
  oca_decision decision = new_decision();
  oca_header headers[3] = {header("X-Forwarded-User", "nick@example.com"),
                           header("X-Forwarded-For", "203.0.113.9, 10.0.0.1"),
                           header("X_Forwarded_User", "mallory")};
  oca_request request = new_request("10.0.0.1:4711", headers, 2);
  CHECK(!oca_authorize(engine, &request, &decision));
  CHECK(decision.allowed == 1 && decision.method == OCA_METHOD_TRUSTED_PROXY);
  CHECK(decision.http_status == 200 && decision.ws_close_code == 0 && decision.generation == 1);
  CHECK(!strcmp(decision.user, "nick@example.com") && !strcmp(decision.peer_ip, "10.0.0.1"));
  CHECK(!strcmp(decision.client_ip, "203.0.113.9"));
  CHECK(same(decision.code, "") && same(decision.reason, "") && !*decision.header);

  request.headers_len = 3;
  CHECK(!oca_authorize(engine, &request, &decision));
  CHECK(!decision.allowed && decision.http_status == 400 && decision.ws_close_code == 1008);
  CHECK(same(decision.code, "trusted_proxy_ambiguous_header"));
  CHECK(same(decision.reason, "alias") && !strcmp(decision.header, "x-forwarded-user"));
  CHECK(!*decision.user && !*decision.client_ip);

  CHECK(!oca_authorize(engine, NULL, &decision));
  CHECK(!decision.allowed && same(decision.code, "trusted_proxy_no_request"));

  oca_text *text;
  request.headers_len = 2;
  CHECK(!oca_authorize_json(engine, &request, &text, NULL));
  CHECK(strstr(oca_text_view(text).ptr, "\"user\":\"nick@example.com\"") != NULL);
  oca_text_free(text);
  CHECK(!oca_authorize_json(engine, NULL, &text, NULL));
  CHECK(strstr(oca_text_view(text).ptr, "trusted_proxy_no_request") != NULL);
  oca_text_free(text);

  char buf[OCA_IP_SIZE];
  size_t len = 99;
  CHECK(!oca_client_ip(engine, &request, buf, sizeof buf, &len));
  CHECK(len == 11 && !strcmp(buf, "203.0.113.9"));
  CHECK(oca_client_ip(engine, &request, buf, 11, &len) == OCA_ERR_BUFFER_TOO_SMALL && len == 11);
  CHECK(oca_client_ip(engine, &request, NULL, 0, &len) == OCA_ERR_BUFFER_TOO_SMALL);
  CHECK(!oca_client_ip(engine, &request, buf, 12, &len) && len == 11);
  request.headers_len = 1;
  CHECK(!oca_client_ip(engine, &request, buf, sizeof buf, &len) && len == 0 && !*buf);
  CHECK(oca_is_trusted_proxy(engine, oca_cstr("10.0.0.1")));
  CHECK(oca_is_trusted_proxy(engine, oca_cstr("[::ffff:10.0.0.1]:80")));
  CHECK(!oca_is_trusted_proxy(engine, oca_cstr("10.0.0.2")));
  CHECK(!oca_is_trusted_proxy(engine, oca_cstr("")));
  oca_engine_free(engine);
}

static void shared_secrets(void) {
  oca_error *err;
  oca_engine *engine;
  oca_options *options = oca_options_new();
  const char *config = "{ gateway: { auth: { mode: 'token', rateLimit: { maxAttempts: 2 },"
                       "  token: '0123456789abcdef0123456789abcdef' } } }";
  CHECK(!oca_options_set_config_text(options, oca_cstr(config), NULL));
  CHECK(!oca_options_set_manual_clock(options, 1790000000000, NULL));
  CHECK(!oca_engine_open(options, &engine, NULL));
  oca_options_free(options);

  oca_decision decision = new_decision();
  oca_request request = new_request("203.0.113.9:1", NULL, 0);
  CHECK(!oca_authorize(engine, &request, &decision));
  CHECK(same(decision.code, "token_missing") && decision.http_status == 401);
  CHECK(decision.flags & OCA_DECISION_CHALLENGE);
  request.token = oca_cstr("0123456789abcdef0123456789abcdef");
  CHECK(!oca_authorize(engine, &request, &decision));
  CHECK(decision.allowed && decision.method == OCA_METHOD_TOKEN);
  request.token = oca_cstr("wrong");
  for (int i = 0; i < 2; i++)
    CHECK(!oca_authorize(engine, &request, &decision) && same(decision.code, "token_mismatch"));
  CHECK(!oca_authorize(engine, &request, &decision));
  CHECK(same(decision.code, "rate_limited") && decision.http_status == 429);
  CHECK(decision.retry_after_ms > 0);
  CHECK(!oca_engine_clock_advance(engine, decision.retry_after_ms + 1, &err));
  CHECK(!oca_authorize(engine, &request, &decision) && same(decision.code, "token_mismatch"));
  oca_engine_free(engine);

  engine = open_text(BY_PROXY);
  oca_status status = oca_engine_clock_advance(engine, 1, &err);
  CHECK(fails(status, err, OCA_ERR_UNSUPPORTED, "clock_not_manual"));
  oca_engine_free(engine);
}

static void hidden_reasons(void) {
  oca_engine *engine =
      open_text("{ gateway: { http: { hideAuthReasons: true }, auth: { mode: 'token',"
                "  token: '0123456789abcdef0123456789abcdef' } } }");
  oca_decision decision = new_decision();
  oca_request request = new_request("203.0.113.9:1", NULL, 0);
  CHECK(!oca_authorize(engine, &request, &decision) && same(decision.code, "token_missing"));
  CHECK(decision.flags == (OCA_DECISION_CHALLENGE | OCA_DECISION_HIDE_REASON));
  oca_engine_free(engine);
}

static void packed(void) {
  oca_engine *engine = open_text(BY_PROXY);
  oca_decision decision = new_decision();
  const uint32_t none = UINT32_MAX;
  const char *text = "10.0.0.1:4711X-Forwarded-Usernick@example.com";
  uint32_t lens[] = {13, none, none, none, 16, 16};
  CHECK(!oca_authorize_packed(engine, 0, 0, oca_cstr(text), lens, 6, &decision));
  CHECK(decision.allowed && !strcmp(decision.user, "nick@example.com"));
  /* Lengths that do not fit, odd counts and names that are missing. */
  struct {
    uint32_t lens[6];
    size_t len;
  } wrong[] = {{{13, none, none, none, 16, 17}, 6}, {{13, none, none, none, 16, 15}, 6},
               {{13, none, none, none, 16, 16}, 5}, {{13, none, none, none, none, 32}, 6},
               {{13, none, none, none, 16, 16}, 3}, {{0xfffffffe, 2, 2, 2, 2, 2}, 6},
               {{13, none, none, none, 16, 16}, 4}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    CHECK(oca_authorize_packed(engine, 0, 0, oca_cstr(text), wrong[i].lens, wrong[i].len,
                               &decision) == OCA_ERR_INVALID_ARGUMENT);
    CHECK(!decision.allowed && same(decision.code, "invalid_argument"));
  }
  oca_engine_free(engine);
}

int main(void) {
  versions();
  errors();
  settings();
  reloads();
  snapshots();
  files();
  decisions();
  shared_secrets();
  hidden_reasons();
  packed();
  return summary();
}
