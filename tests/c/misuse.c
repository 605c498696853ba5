/* Whatever is wrong with an argument, a call says so and nothing crashes. */
#include "check.h"

#define INVALID OCA_ERR_INVALID_ARGUMENT

/* Whether a call refused its argument for this reason. */
static int refused(oca_status status, oca_error **slot, const char *argument, const char *reason) {
  /* The slot is read here: the arguments of a call are evaluated in any order. */
  oca_error *err = *slot;
  char wanted[128];
  snprintf(wanted, sizeof wanted, "\"argument\":\"%s\",\"reason\":\"%s\"", argument, reason);
  const char *details = oca_error_details_json(err).ptr;
  if (!details || !strstr(details, wanted)) {
    fprintf(stderr, "expected %s, got %s\n", wanted, details ? details : "nothing");
    oca_error_free(err);
    return 0;
  }
  return fails(status, err, INVALID, "invalid_argument");
}

#define REFUSED(call, argument, reason) CHECK(refused((call), &err, (argument), (reason)))

static void nulls(void) {
  oca_error *err = NULL;
  oca_text *text;
  oca_engine *engine;
  bool flag = true;
  size_t len = 7;
  char buf[OCA_IP_SIZE];
  oca_str view, some = oca_cstr("{}");
  oca_options *options = oca_options_new();
  oca_engine *open = open_text(BY_PROXY);
  const oca_snapshot *snapshot = oca_engine_snapshot(open);
  oca_request request = new_request("10.0.0.1", NULL, 0);
  oca_decision decision = new_decision();

  REFUSED(oca_options_set_config_path(NULL, some, &err), "options", "null");
  REFUSED(oca_options_set_config_text(NULL, some, &err), "options", "null");
  REFUSED(oca_options_set_state_dir(NULL, some, &err), "options", "null");
  REFUSED(oca_options_set_env(NULL, some, some, &err), "options", "null");
  REFUSED(oca_options_set_flag(NULL, 1, true, &err), "options", "null");
  REFUSED(oca_options_set_manual_clock(NULL, 1, &err), "options", "null");
  REFUSED(oca_options_set_json(NULL, some, &err), "options", "null");
  REFUSED(oca_engine_open(NULL, &engine, &err), "options", "null");
  REFUSED(oca_engine_open(options, NULL, &err), "out", "null");
  REFUSED(oca_engine_reload(NULL, &text, &err), "engine", "null");
  REFUSED(oca_engine_reload_text(NULL, some, &text, &err), "engine", "null");
  REFUSED(oca_engine_preflight(NULL, some, 0, &text, &err), "engine", "null");
  REFUSED(oca_engine_preflight(open, some, 0, NULL, &err), "out", "null");
  REFUSED(oca_engine_preflight(open, some, 1, &text, &err), "flags", "unknown_value");
  REFUSED(oca_secrets_audit_json(NULL, 0, &text, &err), "engine", "null");
  REFUSED(oca_secrets_audit_json(open, 0, NULL, &err), "out", "null");
  REFUSED(oca_secrets_audit_json(open, 4, &text, &err), "flags", "unknown_value");
  REFUSED(oca_engine_files_changed(NULL, &flag, &err), "engine", "null");
  REFUSED(oca_engine_files_changed(open, NULL, &err), "out", "null");
  REFUSED(oca_engine_next_event(NULL, &text, &err), "engine", "null");
  REFUSED(oca_engine_next_event(open, NULL, &err), "out", "null");
  REFUSED(oca_engine_clock_advance(NULL, 1, &err), "engine", "null");
  REFUSED(oca_snapshot_diagnostics_json(NULL, &text, &err), "snapshot", "null");
  REFUSED(oca_snapshot_diagnostics_json(snapshot, NULL, &err), "out", "null");
  REFUSED(oca_snapshot_surfaces_json(NULL, &text, &err), "snapshot", "null");
  REFUSED(oca_snapshot_surfaces_json(snapshot, NULL, &err), "out", "null");
  REFUSED(oca_authorize_json(NULL, &request, &text, &err), "engine", "null");
  REFUSED(oca_authorize_json(open, &request, NULL, &err), "out", "null");

  CHECK(oca_snapshot_secret(NULL, some, &view) == INVALID && same(view, NULL));
  CHECK(oca_snapshot_secret(snapshot, some, NULL) == INVALID);
  CHECK(oca_snapshot_secret_by_ref(NULL, some, &view) == INVALID);
  CHECK(oca_snapshot_secret_by_ref(snapshot, some, NULL) == INVALID);
  CHECK(oca_authorize(NULL, &request, &decision) == INVALID && !decision.allowed);
  CHECK(same(decision.code, "invalid_argument"));
  CHECK(oca_authorize(open, &request, NULL) == INVALID);
  CHECK(oca_authorize_packed(NULL, 0, 0, some, NULL, 0, &decision) == INVALID);
  CHECK(oca_authorize_packed(open, 0, 0, some, NULL, 4, &decision) == INVALID);
  CHECK(oca_authorize_packed(open, 0, 0, some, NULL, 0, NULL) == INVALID);
  CHECK(oca_client_ip(NULL, &request, buf, sizeof buf, &len) == INVALID);
  CHECK(oca_client_ip(open, NULL, buf, sizeof buf, &len) == INVALID);
  CHECK(oca_client_ip(open, &request, NULL, 8, &len) == INVALID);
  CHECK(oca_client_ip(open, &request, buf, sizeof buf, NULL) == INVALID);
  CHECK(len == 7 && flag);
  CHECK(!oca_is_trusted_proxy(NULL, some) && !oca_is_trusted_proxy(open, oca_cstr(NULL)));

  CHECK(same(oca_error_code(NULL), NULL) && same(oca_error_message(NULL), NULL));
  CHECK(same(oca_error_details_json(NULL), NULL) && oca_error_status(NULL) == OCA_OK);
  CHECK(oca_error_retry_after_ms(NULL) == 0 && same(oca_text_view(NULL), NULL));
  CHECK(oca_engine_clone(NULL) == NULL && oca_engine_snapshot(NULL) == NULL);
  CHECK(oca_engine_generation(NULL) == 0 && oca_engine_health(NULL) == OCA_HEALTH_DEGRADED);
  CHECK(oca_snapshot_generation(NULL) == 0 && same(oca_snapshot_hsts(NULL), NULL));
  CHECK(same(oca_snapshot_wanted_headers(NULL), NULL));
  oca_error_free(NULL);
  oca_text_free(NULL);
  oca_options_free(NULL);
  oca_engine_free(NULL);
  oca_snapshot_free(NULL);

  oca_snapshot_free(snapshot);
  oca_engine_free(open);
  oca_options_free(options);
}

static void texts(void) {
  oca_error *err = NULL;
  oca_options *options = oca_options_new();
  oca_str absent = oca_cstr(NULL), good = oca_cstr("A");
  oca_str not_utf8 = {"a\xff", 2}, nul = {"a\0b", 3}, dangling = {NULL, 5};
  oca_str endless = {"a", SIZE_MAX};
  REFUSED(oca_options_set_config_text(options, absent, &err), "text", "absent");
  REFUSED(oca_options_set_json(options, absent, &err), "json", "absent");
  REFUSED(oca_options_set_config_path(options, not_utf8, &err), "path", "not_utf8");
  REFUSED(oca_options_set_config_path(options, nul, &err), "path", "embedded_nul");
  REFUSED(oca_options_set_config_path(options, dangling, &err), "path", "null");
  REFUSED(oca_options_set_config_path(options, endless, &err), "path", "too_long");
  REFUSED(oca_options_set_config_text(options, not_utf8, &err), "text", "not_utf8");
  REFUSED(oca_options_set_state_dir(options, nul, &err), "dir", "embedded_nul");
  REFUSED(oca_options_set_env(options, nul, good, &err), "name", "embedded_nul");
  REFUSED(oca_options_set_env(options, oca_cstr("A=B"), good, &err), "name", "unknown_value");
  REFUSED(oca_options_set_env(options, oca_cstr(""), good, &err), "name", "unknown_value");
  REFUSED(oca_options_set_env(options, good, nul, &err), "value", "embedded_nul");
  REFUSED(oca_options_set_env(options, good, not_utf8, &err), "value", "not_utf8");
  REFUSED(oca_options_set_flag(options, 0, true, &err), "flag", "unknown_value");
  REFUSED(oca_options_set_flag(options, 3, true, &err), "flag", "unknown_value");
  REFUSED(oca_options_set_flag(options, UINT32_MAX, true, &err), "flag", "unknown_value");

  /* Depth and size of JSON are bounded before anything is parsed. */
  static char deep[3 << 20];
  memset(deep, '[', sizeof deep);
  oca_str bombs[] = {{deep, 200}, {deep, 100000}, {deep, sizeof deep}};
  for (size_t i = 0; i < 3; i++)
    REFUSED(oca_options_set_json(options, bombs[i], &err), "json", "too_long");
  oca_engine *engine;
  for (size_t i = 0; i < 3; i++) {
    CHECK(!oca_options_set_config_text(options, bombs[i], NULL));
    oca_status status = oca_engine_open(options, &engine, &err);
    CHECK(fails(status, err, OCA_ERR_CONFIG, "config_too_deep"));
  }
  oca_options_free(options);
}

static void structs(void) {
  oca_engine *engine = open_text(BY_PROXY);
  oca_decision decision = new_decision();
  oca_request request = new_request("10.0.0.1", NULL, 0);
  size_t sizes[] = {0, 1, sizeof request - 1, 5000, SIZE_MAX};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    request.struct_size = sizes[i];
    CHECK(oca_authorize(engine, &request, &decision) == INVALID && !decision.allowed);
  }
  request.struct_size = sizeof request;
  request.kind = 2;
  CHECK(oca_authorize(engine, &request, &decision) == INVALID && !decision.allowed);
  request.kind = OCA_CONNECTION_WEBSOCKET;
  request.flags = 4;
  CHECK(oca_authorize(engine, &request, &decision) == INVALID && !decision.allowed);
  request.flags = OCA_REQUEST_TLS | OCA_REQUEST_FOLDED;
  CHECK(oca_authorize(engine, &request, &decision) == OCA_OK);
  request.headers_len = 1;
  CHECK(oca_authorize(engine, &request, &decision) == INVALID);
  oca_header broken[] = {header("a", "b"), header(NULL, "b"), header("\xff", "b")};
  broken[0].value.ptr = NULL;
  for (size_t i = 0; i < 3; i++) {
    request.headers = &broken[i];
    CHECK(oca_authorize(engine, &request, &decision) == INVALID && !decision.allowed);
  }
  oca_str nul = {"a\0b", 3};
  broken[0] = header("a", "b");
  broken[0].name = nul;
  request.headers = broken;
  CHECK(oca_authorize(engine, &request, &decision) == INVALID);
  /* Values are judged as they are. */
  broken[0] = header("X-Forwarded-User", "");
  broken[0].value.ptr = "nick\0x\xff";
  broken[0].value.len = 7;
  CHECK(oca_authorize(engine, &request, &decision) == OCA_OK && !decision.allowed);
  CHECK(same(decision.code, "trusted_proxy_user_invalid"));
  broken[0].value = oca_cstr(NULL);
  CHECK(oca_authorize(engine, &request, &decision) == OCA_OK && !decision.allowed);
  CHECK(same(decision.code, "trusted_proxy_user_missing"));

  size_t outs[] = {0, 8, sizeof decision - 1};
  for (size_t i = 0; i < 3; i++) {
    memset(&decision, 0, sizeof decision);
    decision.struct_size = outs[i];
    CHECK(oca_authorize(engine, &request, &decision) == INVALID && !decision.allowed);
    CHECK(decision.struct_size == outs[i]);
  }
  struct {
    oca_decision decision;
    char behind[64];
  } longer;
  memset(&longer, 0x55, sizeof longer);
  longer.decision.struct_size = sizeof longer;
  CHECK(oca_authorize(engine, NULL, &longer.decision) == OCA_OK);
  CHECK(longer.decision.struct_size == sizeof(oca_decision) && !longer.decision.allowed);
  CHECK(longer.behind[0] == 0x55 && longer.behind[63] == 0x55);
  oca_engine_free(engine);
}

/* Every byte string is a decision or a refusal. */
static void rubbish(void) {
  oca_engine *engine = open_text(BY_PROXY);
  oca_decision decision = new_decision();
  unsigned state = 1;
  char bytes[64];
  uint32_t lens[12];
  int odd = 0;
  for (int round = 0; round < 20000; round++) {
    for (size_t i = 0; i < sizeof bytes; i++)
      bytes[i] = (char)((state = state * 1103515245u + 12345u) >> 16);
    for (size_t i = 0; i < 12; i++)
      lens[i] = (state = state * 1103515245u + 12345u) >> 28;
    lens[1] = lens[2] = lens[3] = UINT32_MAX;
    oca_str view = {bytes, state >> 26};
    oca_status status = oca_authorize_packed(engine, state & 1, state >> 8 & 1, view, lens,
                                             4 + (state >> 12) % 9, &decision);
    odd += (status != OCA_OK && status != INVALID) || decision.allowed;
  }
  CHECK(odd == 0);
  oca_engine_free(engine);
}

int main(void) {
  nulls();
  texts();
  structs();
  rubbish();
  return summary();
}
