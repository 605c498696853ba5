/* Runs the examples that all languages share through the C interface.
 *
 *   vectors access access.json
 *   vectors secrets secrets.jsonl
 */
#define _GNU_SOURCE
#include "check.h"
#include "json.h"

#include <ctype.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

/* From the build for tests only. */
oca_status oca_test_set_own_addresses(oca_options *, oca_str, bool, oca_error **);

#define MOST_LINES 128

static oca_str text_view(json value) {
  oca_str view = {NULL, 0};
  if (value && *value == '"')
    view.ptr = json_decode(value, 0, &view.len);
  return view;
}

/* Whether a text and a JSON string or null are the same. */
static int equal(const char *text, json expected) {
  const char *wanted = json_text(expected);
  return strcmp(text, wanted ? wanted : "") == 0;
}

static int verdict(const char *id, int holds, const char *what, const char *found) {
  if (!check(holds, what, id, 0))
    fprintf(stderr, "  found %s\n", found);
  return holds;
}

/* --- access */

static oca_options *access_options(const char *config, json env, json addresses, int unknown) {
  oca_options *options = oca_options_new();
  char list[1024] = "";
  for (json_walk walk = json_start(addresses); json_next(&walk);) {
    strcat(list, json_text(walk.value));
    strcat(list, ",");
  }
  CHECK(!oca_options_set_config_text(options, oca_cstr(config), NULL));
  CHECK(!oca_test_set_own_addresses(options, oca_cstr(list), unknown, NULL));
  for (json_walk walk = json_start(env); json_next(&walk);)
    CHECK(!oca_options_set_env(options, text_view(walk.key), text_view(walk.value), NULL));
  return options;
}

static size_t lines_of(json list, oca_header *lines) {
  size_t len = 0;
  for (json_walk walk = json_start(list); json_next(&walk) && len < MOST_LINES; len++) {
    json_walk pair = json_start(walk.value);
    json_next(&pair);
    lines[len].name = text_view(pair.value);
    json_next(&pair);
    lines[len].value.ptr = json_decode(pair.value, 1, &lines[len].value.len);
  }
  return len;
}

/* A refusal that stands for settings with which an engine does not even open: that must be so. */
static int is_fault_of_settings(json expect) {
  return json_number(json_get(expect, "status")) == 500;
}

static void decision_example(json example) {
  static oca_header lines[MOST_LINES];
  static const char *const methods[] = {"none", "token", "password", "trusted-proxy"};
  const char *id = json_text(json_get(example, "id"));
  json expect = json_get(example, "expect"), facts = json_get(example, "request");
  oca_error *err;
  oca_engine *engine;
  oca_options *options =
      access_options(json_raw(json_get(example, "config")), json_get(example, "env"),
                     json_get(example, "interfaces"),
                     json_is(json_get(example, "interfaceDiscoveryFails"), "true"));
  const char *strict = "{\"requireAccess\": true}";
  CHECK(!oca_options_set_json(options, oca_cstr(strict), NULL));
  oca_status status = oca_engine_open(options, &engine, &err);
  oca_options_free(options);
  if (status) {
    verdict(id, is_fault_of_settings(expect) && same(oca_error_code(err),
            json_text(json_get(expect, "code"))), "opens", oca_error_message(err).ptr);
    oca_error_free(err);
    return;
  }
  oca_request request = new_request(NULL, lines, lines_of(json_get(facts, "headers"), lines));
  request.remote = text_view(json_get(facts, "remote"));
  request.local = text_view(json_get(facts, "local"));
  request.kind = equal("websocket", json_get(facts, "kind"));
  request.token = text_view(json_get(json_get(facts, "credentials"), "token"));
  request.password = text_view(json_get(json_get(facts, "credentials"), "password"));
  oca_decision decision = new_decision();
  CHECK(!oca_authorize(engine, json_is(facts, "null") ? NULL : &request, &decision));
  const char *found = decision.code.ptr;
  verdict(id, !decision.allowed == !json_is(json_get(expect, "ok"), "true"), "ok", found);
  if (decision.allowed) {
    verdict(id, equal(methods[decision.method], json_get(expect, "method")), "method", found);
    verdict(id, equal(decision.user, json_get(expect, "user")), "user", decision.user);
    if (json_get(expect, "clientIp"))
      verdict(id, equal(decision.client_ip, json_get(expect, "clientIp")), "client",
              decision.client_ip);
  } else {
    verdict(id, equal(found, json_get(expect, "code")), "code", found);
    if (json_get(expect, "status"))
      verdict(id, decision.http_status == json_number(json_get(expect, "status")), "status", found);
    if (json_get(expect, "header"))
      verdict(id, equal(decision.header, json_get(expect, "header")), "header", decision.header);
    if (json_get(expect, "reason"))
      verdict(id, equal(decision.reason.ptr, json_get(expect, "reason")), "reason",
              decision.reason.ptr);
  }
  /* The packed form decides alike. */
  if (!json_is(facts, "null")) {
    static char packed[1 << 16];
    static uint32_t lens[4 + 2 * MOST_LINES];
    oca_str fixed[] = {request.remote, request.local, request.token, request.password};
    size_t used = 0, count = 0;
    for (size_t i = 0; i < 4 + 2 * request.headers_len; i++) {
      const oca_header *line = &lines[(i - 4) / 2];
      oca_str part = i < 4 ? fixed[i] : i % 2 ? line->value : line->name;
      if (part.ptr)
        memcpy(packed + used, part.ptr, part.len);
      used += part.len;
      lens[count++] = part.ptr ? (uint32_t)part.len : UINT32_MAX;
    }
    oca_str bytes = {packed, used};
    oca_decision again = new_decision();
    CHECK(!oca_authorize_packed(engine, request.kind, 0, bytes, lens, count, &again));
    verdict(id, !memcmp(&decision, &again, sizeof again), "packed", again.code.ptr);
  }
  oca_engine_free(engine);
}

/* Codes in a JSON array of objects, without those that have a severity (they are of other parts). */
static void codes_of(json list, char *codes, size_t size) {
  codes[0] = 0;
  for (json_walk walk = json_start(list); json_next(&walk);)
    if (!json_get(walk.value, "severity"))
      snprintf(codes + strlen(codes), size - strlen(codes), "%s ",
               json_text(json_get(walk.value, "code")));
}

static void words_of(json list, char *words, size_t size) {
  words[0] = 0;
  for (json_walk walk = json_start(list); json_next(&walk);)
    snprintf(words + strlen(words), size - strlen(words), "%s ", json_text(walk.value));
}

/* Opens with access required and notes errors and warnings; the value for HSTS too. */
static int settings_of(const char *config, json env, char *errors, char *warnings, char *hsts) {
  oca_error *err;
  oca_text *text;
  oca_engine *engine;
  oca_options *options = access_options(config, env, NULL, 0);
  const char *strict = "{\"requireAccess\": true}";
  CHECK(!oca_options_set_json(options, oca_cstr(strict), NULL));
  oca_status status = oca_engine_open(options, &engine, &err);
  oca_options_free(options);
  errors[0] = warnings[0] = hsts[0] = 0;
  if (status) {
    const char *details = oca_error_details_json(err).ptr;
    codes_of(json_get(details, "problems"), errors, 1024);
    /* Some settings are refused when the file is read already. */
    for (json_walk walk = json_start(json_get(details, "issues")); json_next(&walk);)
      if (equal("error", json_get(walk.value, "severity")))
        snprintf(errors + strlen(errors), 1024 - strlen(errors), "%s ",
                 json_text(json_get(walk.value, "code")));
    oca_error_free(err);
    return 0;
  }
  const oca_snapshot *snapshot = oca_engine_snapshot(engine);
  CHECK(!oca_snapshot_diagnostics_json(snapshot, &text, NULL));
  codes_of(oca_text_view(text).ptr, warnings, 1024);
  oca_text_free(text);
  oca_str value = oca_snapshot_hsts(snapshot);
  snprintf(hsts, 1024, "%s", value.ptr ? value.ptr : "");
  oca_snapshot_free(snapshot);
  oca_engine_free(engine);
  return 1;
}

static void configuration_example(json example) {
  static char errors[1024], warnings[1024], hsts[1024], wanted[1024];
  const char *id = json_text(json_get(example, "id"));
  int opened = settings_of(json_raw(json_get(example, "config")), json_get(example, "env"), errors,
                           warnings, hsts);
  words_of(json_get(example, "errors"), wanted, sizeof wanted);
  verdict(id, !strcmp(errors, wanted), "errors", errors);
  words_of(json_get(example, "warnings"), wanted, sizeof wanted);
  /* A refused configuration tells its errors only. */
  if (opened)
    verdict(id, !strcmp(warnings, wanted), "warnings", warnings);
}

static void hsts_example(json example) {
  static char errors[1024], warnings[1024], hsts[1024], config[2048], result[4096];
  const char *value = json_raw(json_get(example, "value"));
  snprintf(config, sizeof config,
           "{\"gateway\": {\"auth\": {\"mode\": \"none\"}, \"http\": {\"securityHeaders\": "
           "{\"strictTransportSecurity\": %s}}}}",
           value);
  int opened = settings_of(config, NULL, errors, warnings, hsts);
  snprintf(result, sizeof result, "%s%s", opened ? *hsts ? "sent" : "unset" : "error ", errors);
  if (!opened)
    result[strlen(result) - 1] = 0;
  for (char *word = strtok(warnings, " "); word; word = strtok(NULL, " "))
    snprintf(result + strlen(result), sizeof result - strlen(result), " + warning %s", word);
  /* As above: warnings beside an error are not told. */
  const char *wanted = json_text(json_get(example, "result"));
  verdict(value, opened ? !strcmp(result, wanted) : !strncmp(result, wanted, strlen(result)),
          wanted, result);
}

static void limiter_example(json example) {
  static oca_header lines[MOST_LINES];
  const char *id = json_text(json_get(example, "id"));
  json config = json_get(example, "config"), auth = json_get(json_get(config, "gateway"), "auth");
  /* The limits belong into gateway.auth. */
  const char *head = json_raw(config), *limits = json_raw(json_get(example, "rateLimit"));
  int at = (int)(json_end(auth) - config) - 1;
  static char text[1 << 14];
  snprintf(text, sizeof text, "%.*s, \"rateLimit\": %s%s", at, head, limits, head + at);
  oca_engine *engine;
  oca_options *options = access_options(text, NULL, NULL, 0);
  CHECK(!oca_options_set_manual_clock(options, 1790000000000, NULL));
  oca_status status = oca_engine_open(options, &engine, NULL);
  oca_options_free(options);
  if (!verdict(id, status == OCA_OK, "opens", oca_status_name(status).ptr))
    return;
  long long now = 0;
  for (json_walk walk = json_start(json_get(example, "steps")); json_next(&walk);) {
    json step = walk.value;
    long long then = json_number(json_get(step, "t"));
    CHECK(!oca_engine_clock_advance(engine, (uint64_t)(then - now), NULL));
    now = then;
    oca_request request = new_request(NULL, lines, lines_of(json_get(step, "headers"), lines));
    request.remote = text_view(json_get(step, "remote"));
    request.token = oca_cstr("");
    if (equal("good", json_get(step, "cred")))
      request.token = text_view(json_get(auth, "token"));
    else if (equal("bad", json_get(step, "cred")))
      request.token = oca_cstr("not the token at all");
    oca_decision decision = new_decision();
    CHECK(!oca_authorize(engine, &request, &decision));
    const char *found = decision.allowed ? "ok" : decision.code.ptr;
    verdict(id, equal(found, json_get(step, "code")), "code", found);
    long long seconds = (long long)(decision.retry_after_ms + 999) / 1000;
    verdict(id, seconds == json_number(json_get(step, "retryAfter")), "retryAfter", found);
  }
  oca_engine_free(engine);
}

static void each(json all, const char *section, void (*run)(json)) {
  int count = 0;
  for (json_walk walk = json_start(json_get(all, section)); json_next(&walk); count++) {
    json_reset();
    run(walk.value);
  }
  fprintf(stderr, "%d of %s\n", count, section);
  CHECK(count > 0);
}

/* --- secrets */

/* Examples of parts that are not built yet. */
static const char *const later[] = {"P01", "P02", "P03", "P04", "P05", "T08"};

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *walk) {
  (void)facts, (void)kind, (void)walk;
  return remove(path);
}

static void write_file(const char *path, const char *head, const char *text, json mode_text) {
  char folder[1024];
  snprintf(folder, sizeof folder, "%s", path);
  for (char *slash = folder + 1; (slash = strchr(slash, '/')); slash++) {
    *slash = 0;
    mkdir(folder, 0755);
    *slash = '/';
  }
  FILE *file = fopen(path, "wb");
  if (!CHECK(file != NULL))
    return;
  fprintf(file, "%s%s", head, text);
  fclose(file);
  const char *mode = json_text(mode_text);
  CHECK(chmod(path, mode ? (mode_t)strtol(mode, NULL, 8) : *head ? 0700 : 0600) == 0);
}

static void prepare(json example, const char *home) {
  char path[1024];
  clearenv();
  setenv("HOME", home, 1);
  setenv("PATH", "/usr/bin:/bin", 1);
  for (json_walk walk = json_start(json_get(example, "env")); json_next(&walk);)
    setenv(json_text(walk.key), json_text(walk.value), 1);
  for (json_walk walk = json_start(json_get(example, "files")); json_next(&walk);) {
    const char *name = json_text(walk.key);
    json content = json_get(walk.value, "text"), mode = json_get(walk.value, "mode");
    write_file(name, "", content ? json_text(content) : "", content ? mode : NULL);
    if (!content)
      unlink(name);
    if (json_get(walk.value, "fifo"))
      CHECK(mkfifo(name, 0600) == 0);
    else if (!content)
      CHECK(symlink(json_text(json_get(walk.value, "symlinkTo")), name) == 0);
  }
  for (json_walk walk = json_start(json_get(example, "exec")); json_next(&walk);) {
    snprintf(path, sizeof path, "%s\n", json_text(json_get(walk.value, "sh")));
    write_file(json_text(walk.key), "#!/bin/sh\n", path, json_get(walk.value, "mode"));
  }
  if (json_get(example, "config")) {
    snprintf(path, sizeof path, "%s/.openclaw/openclaw.json", home);
    write_file(path, "", json_raw(json_get(example, "config")), NULL);
  }
  if (json_get(example, "workspaceDotenv")) {
    snprintf(path, sizeof path, "%s/.env", home);
    write_file(path, "", json_text(json_get(example, "workspaceDotenv")), NULL);
  }
}

/* The first failure of an activation, else the first error of the files. */
static json first_failure(json details) {
  json_walk failures = json_start(json_get(details, "failures"));
  if (json_next(&failures))
    return failures.value;
  for (json_walk walk = json_start(json_get(details, "issues")); json_next(&walk);)
    if (equal("error", json_get(walk.value, "severity")))
      return walk.value;
  return NULL;
}

static int equal_values(json a, json b) {
  return !a || !b ? a == b : !strcmp(json_raw(a), json_raw(b));
}

static void failed_example(const char *id, json then, const oca_error *err) {
  static const char *const keys[] = {"reason", "file", "line", "column", "path"};
  const char *shown = oca_error_details_json(err).ptr;
  if (!json_get(then, "error") && !json_get(then, "failures")) {
    verdict(id, 0, "opens", oca_error_message(err).ptr);
    return;
  }
  json first = first_failure(shown);
  const char *code = json_text(json_get(first, "code"));
  const char *wanted = json_text(json_get(then, "error"));
  if (wanted)
    verdict(id, code && !strcasecmp(code, wanted), "code", shown);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (json_get(then, keys[i]))
      verdict(id, equal_values(json_get(then, keys[i]), json_get(first, keys[i])), keys[i], shown);
  verdict(id, !strstr(shown, "CANARY"), "no secret in the details", "one");
}

static void opened_example(const char *id, json then, const oca_engine *engine) {
  verdict(id, !json_get(then, "error"), "fails", "success");
  const oca_snapshot *snapshot = oca_engine_snapshot(engine);
  for (json_walk walk = json_start(json_get(then, "values")); json_next(&walk);) {
    oca_str secret;
    oca_status status = oca_snapshot_secret(snapshot, text_view(walk.key), &secret);
    const char *wanted = *walk.value == '"' ? json_text(walk.value) : NULL;
    /* Objects come as compact JSON; the examples have blanks in them. */
    verdict(id, !status && (wanted ? same(secret, wanted) : *secret.ptr == *walk.value),
            json_text(walk.key), status ? oca_status_name(status).ptr : secret.ptr);
  }
  for (json_walk walk = json_start(json_get(then, "inactive")); json_next(&walk);) {
    oca_str secret;
    verdict(id, oca_snapshot_secret(snapshot, text_view(walk.key), &secret) == OCA_ERR_SECRET,
            json_text(walk.key), "active");
  }
  oca_text *text;
  CHECK(!oca_snapshot_diagnostics_json(snapshot, &text, NULL));
  const char *shown = oca_text_view(text).ptr;
  for (json_walk walk = json_start(json_get(then, "diagnostics")); json_next(&walk);) {
    const char *wanted = json_text(walk.value);
    verdict(id, strcasestr(shown, wanted) != NULL, wanted, shown);
  }
  oca_text_free(text);
  oca_snapshot_free(snapshot);
}

static void secrets_example(const char *line) {
  char home[] = "/tmp/openclaw-auth-XXXXXX";
  CHECK(mkdtemp(home) != NULL);
  char *text = json_take(strlen(line) * 12 + 1), *to = text;
  for (const char *at = line; *at; at++) {
    if (!strncmp(at, "%H%", 3)) {
      to = stpcpy(to, home);
      at += 2;
    } else {
      *to++ = *at;
    }
  }
  *to = 0;
  const char *id = json_text(json_get(text, "id"));
  json then = json_get(text, "then");
  prepare(text, home);
  CHECK(chdir(home) == 0);
  oca_error *err;
  oca_engine *engine;
  oca_options *options = oca_options_new();
  CHECK(!oca_options_set_config_path(options, oca_cstr(NULL), NULL));
  CHECK(!oca_options_set_flag(options, OCA_FLAG_INHERIT_ENV, true, NULL));
  if (oca_engine_open(options, &engine, &err))
    failed_example(id, then, err);
  else
    opened_example(id, then, engine);
  oca_error_free(err);
  oca_engine_free(engine);
  oca_options_free(options);
  CHECK(chdir("/") == 0);
  nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void secrets(char *text) {
  int count = 0, skipped = 0;
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    json_reset();
    json op = json_get(line, "op");
    if (!equal("load", op) && !equal("activate", op))
      continue;
    int is_later = 0;
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
      is_later |= equal(later[i], json_get(line, "id"));
    skipped += is_later;
    count += !is_later;
    if (!is_later)
      secrets_example(line);
  }
  fprintf(stderr, "%d examples, %d of parts to come\n", count, skipped);
  CHECK(count >= 180);
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 64;
  umask(022);
  char *text = json_file(argv[2]);
  if (!strcmp(argv[1], "access")) {
    each(json_skip(text), "decisions", decision_example);
    each(json_skip(text), "configurations", configuration_example);
    each(json_skip(text), "limiter", limiter_example);
    each(json_skip(text), "hsts", hsts_example);
  } else {
    secrets(text);
  }
  free(text);
  return summary();
}
