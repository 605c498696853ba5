/* Runs the examples of profiles, keys, sessions and leases that all languages share through the C
 * interface.
 *
 *   profiles profiles.json
 */
#define _GNU_SOURCE
#include "check.h"
#include "json.h"

#include <ftw.h>
#include <sys/stat.h>

#define MOST_LEASES 64

static oca_engine *engine;
static char home[64], store[256];
/* Leases by the name that the example gives them. */
static struct {
  char name[32];
  oca_lease *lease;
} leases[MOST_LEASES];

static oca_str view_of(json value) {
  oca_str view = {NULL, 0};
  if (value && *value == '"')
    view.ptr = json_decode(value, 0, &view.len);
  return view;
}

static int is_null(json value) { return !value || json_is(value, "null"); }

/* Whether everything that is expected is there; null stands for nothing. */
static int subset(json expected, json found) {
  if (is_null(expected) || is_null(found))
    return is_null(expected) && is_null(found);
  if (*expected == '{') {
    for (json_walk walk = json_start(expected); json_next(&walk);)
      if (!subset(walk.value, json_get(found, json_text(walk.key))))
        return 0;
    return 1;
  }
  if (*expected == '[') {
    json_walk wanted = json_start(expected), there = json_start(found);
    while (json_next(&wanted))
      if (!json_next(&there) || !subset(wanted.value, there.value))
        return 0;
    return !json_next(&there);
  }
  if (*expected == '"')
    return *found == '"' && !strcmp(json_text(expected), json_text(found));
  return !strcmp(json_raw(expected), json_raw(found));
}

static int is(oca_str found, json expected) {
  oca_str wanted = view_of(expected);
  return found.len == wanted.len && !found.ptr == !wanted.ptr &&
         (!found.len || !memcmp(found.ptr, wanted.ptr, found.len));
}

static json document(oca_status status, oca_text **slot) {
  /* The slot is read here: the arguments of a call are evaluated in any order. */
  oca_text *text = *slot;
  if (status || !text)
    return NULL;
  oca_str view = oca_text_view(text);
  char *copy = json_take(view.len + 1);
  memcpy(copy, view.ptr, view.len + 1);
  oca_text_free(text);
  return copy;
}

static oca_lease **lease_named(json name) {
  const char *wanted = json_text(name) ? json_text(name) : "l";
  for (size_t i = 0; i < MOST_LEASES; i++) {
    if (!*leases[i].name)
      snprintf(leases[i].name, sizeof leases[i].name, "%s", wanted);
    if (!strcmp(leases[i].name, wanted))
      return &leases[i].lease;
  }
  fprintf(stderr, "too many leases\n");
  exit(2);
}

static uint32_t number_of(json word, const char *const *words) {
  for (uint32_t i = 0; word && words[i]; i++)
    if (!strcmp(json_text(word), words[i]))
      return i;
  return 0;
}

static oca_outcome outcome_of(json signal) {
  static const char *const kinds[] = {"ok", "classify", "rate_limit", "overloaded", "billing", "auth",
                                      "auth_permanent", "timeout", "server_error", "network",
                                      "format", "model_not_found", "session_expired",
                                      "context_overflow", "cancelled", "unknown", NULL};
  static const char *const transports[] = {"none", "timeout", "connect", "dns", "tls", "reset",
                                           "cancelled", NULL};
  static oca_header lines[16];
  oca_outcome outcome;
  memset(&outcome, 0, sizeof outcome);
  outcome.struct_size = sizeof outcome;
  outcome.kind = number_of(json_get(signal, "reason"), kinds);
  if (!outcome.kind)
    outcome.kind = OCA_OUTCOME_CLASSIFY;
  outcome.transport = number_of(json_get(signal, "transport"), transports);
  outcome.http_status = (uint32_t)json_number(json_get(signal, "status"));
  outcome.code = view_of(json_get(signal, "code"));
  outcome.error_type = view_of(json_get(signal, "kind"));
  outcome.message = view_of(json_get(signal, "message"));
  outcome.body = view_of(json_get(signal, "body"));
  outcome.headers = lines;
  for (json_walk walk = json_start(json_get(signal, "headers")); json_next(&walk);) {
    lines[outcome.headers_len].name = view_of(walk.key);
    lines[outcome.headers_len++].value = view_of(walk.value);
  }
  return outcome;
}

/* --- steps; each says whether what it expects is so */

static int lease_step(json step, json expect) {
  oca_error *err;
  oca_lease **place = lease_named(json_get(step, "as"));
  oca_lease_request request;
  memset(&request, 0, sizeof request);
  request.struct_size = sizeof request;
  request.provider = view_of(json_get(step, "provider"));
  request.model = view_of(json_get(step, "model"));
  request.agent = view_of(json_get(step, "agent"));
  request.session = view_of(json_get(step, "session"));
  request.profile = view_of(json_get(step, "profile"));
  request.flags = json_is(json_get(step, "new_session"), "true") ? OCA_LEASE_NEW_SESSION : 0;
  json models = json_get(step, "models");
  char *extra = json_take(4096);
  snprintf(extra, 4096, "{\"compactionCount\": %lld, \"models\": %s}",
           json_number(json_get(step, "compaction_count")), models ? json_raw(models) : "null");
  request.extra_json = oca_cstr(extra);
  oca_lease_free(*place);
  json code = json_get(expect, "error");
  if (oca_lease_acquire(engine, &request, place, &err)) {
    json details = oca_error_details_json(err).ptr;
    const char *part = json_text(json_get(expect, "messageHas"));
    uint64_t after = oca_error_retry_after_ms(err);
    json wanted_after = json_get(expect, "retryAfterMs");
    int holds = code && is(oca_error_code(err), code) &&
                (!part || strstr(oca_error_message(err).ptr, part)) &&
                (!wanted_after || after == (uint64_t)json_number(wanted_after));
    static const char *const keys[][2] = {{"hint", "hint"}, {"reason", "reason"},
                                          {"reasonCode", "reasonCode"},
                                          {"soonest", "soonestAvailableAt"}};
    for (size_t i = 0; i < 4; i++)
      if (json_get(expect, keys[i][0]))
        holds &= subset(json_get(expect, keys[i][0]), json_get(details, keys[i][1]));
    if (!holds)
      fprintf(stderr, "  found %s %s %s\n", oca_error_code(err).ptr, oca_error_message(err).ptr,
              details);
    oca_error_free(err);
    return holds;
  }
  oca_text *text;
  json found = document(oca_lease_metadata_json(*place, &text, NULL), &text);
  int holds = !code;
  for (json_walk walk = json_start(expect); json_next(&walk);) {
    const char *key = json_text(walk.key);
    if (!strcmp(key, "credential")) {
      holds &= is(oca_lease_secret(*place), walk.value);
    } else if (!strcmp(key, "skipped")) {
      json_walk there = json_start(json_get(found, "skipped"));
      for (json_walk wanted = json_start(walk.value); json_next(&wanted);) {
        char shown[256] = "";
        if (json_next(&there))
          snprintf(shown, sizeof shown, "%s %s", json_text(json_get(there.value, "candidateId")),
                   json_text(json_get(there.value, "reason")));
        holds &= !strcmp(shown, json_text(wanted.value));
      }
      holds &= !json_next(&there);
    } else {
      holds &= subset(walk.value, json_get(found, strcmp(key, "candidate") ? key : "candidateId"));
    }
  }
  /* The accessors say the same. */
  holds &= is(oca_lease_source(*place), json_get(found, "source")) &&
           is(oca_lease_provider(*place), json_get(found, "provider")) &&
           is(oca_lease_model(*place), json_get(found, "model")) &&
           is(oca_lease_profile_id(*place), json_get(found, "profileId")) &&
           oca_lease_state(*place) == OCA_LEASE_STATE_ISSUED;
  if (!holds)
    fprintf(stderr, "  found %s\n", found);
  return holds;
}

static int fail_step(json step, json expect) {
  oca_lease *lease = *lease_named(json_get(step, "on"));
  oca_outcome outcome = outcome_of(json_get(step, "signal"));
  oca_verdict verdict;
  oca_text *text;
  memset(&verdict, 0, sizeof verdict);
  verdict.struct_size = sizeof verdict;
  if (oca_lease_report(lease, &outcome, &verdict, NULL))
    return 0;
  json retry = json_get(expect, "retry");
  if (verdict.kind == OCA_VERDICT_RETRY) {
    json found = document(oca_lease_metadata_json(lease, &text, NULL), &text);
    json model = json_get(expect, "model"), switched = json_get(expect, "switchedModel");
    return !json_get(expect, "exhausted") &&
           (!retry || *retry != '"' || subset(retry, json_get(found, "candidateId"))) &&
           (!model || subset(model, json_get(found, "model"))) &&
           (!switched || subset(switched, json_get(found, "switchedModel")));
  }
  json found = document(oca_lease_exhausted_json(lease, &text, NULL), &text);
  long long attempts = 0;
  for (json_walk walk = json_start(json_get(found, "attempts")); json_next(&walk);)
    attempts += !strcmp("failed", json_text(json_get(walk.value, "outcome")));
  json last = json_get(found, "lastError");
  int holds = !retry && verdict.kind == OCA_VERDICT_EXHAUSTED &&
              oca_lease_state(lease) == OCA_LEASE_STATE_SETTLED;
  for (json_walk walk = json_start(expect); json_next(&walk);) {
    const char *key = json_text(walk.key);
    if (!strcmp(key, "attempts"))
      holds &= attempts == json_number(walk.value);
    else
      holds &= subset(walk.value, !strcmp(key, "exhausted")     ? json_get(found, "reason")
                                  : !strcmp(key, "soonest")     ? json_get(found, "soonestAvailableAt")
                                  : !strcmp(key, "lastStatus")  ? json_get(last, "status")
                                  : !strcmp(key, "lastMessage") ? json_get(last, "message")
                                                                : json_get(found, key));
  }
  if (!holds)
    fprintf(stderr, "  found %s\n", found);
  return holds;
}

static int succeed_step(json step, json expect) {
  oca_error *err;
  oca_outcome outcome;
  oca_verdict verdict;
  memset(&outcome, 0, sizeof outcome);
  outcome.struct_size = sizeof outcome;
  verdict.struct_size = sizeof verdict;
  json code = json_get(expect, "error");
  oca_status status = oca_lease_report(*lease_named(json_get(step, "on")), &outcome, &verdict, &err);
  int holds = status ? code && is(oca_error_code(err), code) : !code && !verdict.kind;
  oca_error_free(err);
  return holds;
}

/* Every key of a provider, as rotation finds them. */
static int keys_step(json step, json expect) {
  oca_lease *lease;
  oca_lease_request request;
  oca_outcome outcome;
  oca_verdict verdict;
  memset(&request, 0, sizeof request);
  request.struct_size = sizeof request;
  request.provider = view_of(json_get(step, "provider"));
  memset(&outcome, 0, sizeof outcome);
  outcome.struct_size = sizeof outcome;
  outcome.kind = OCA_OUTCOME_CLASSIFY;
  outcome.http_status = 429;
  json_walk wanted = json_start(expect);
  if (oca_lease_acquire(engine, &request, &lease, NULL))
    return !json_next(&wanted);
  int holds = 1;
  do {
    holds &= json_next(&wanted) && is(oca_lease_secret(lease), wanted.value);
    verdict.struct_size = sizeof verdict;
  } while (holds && !oca_lease_report(lease, &outcome, &verdict, NULL) &&
           verdict.kind == OCA_VERDICT_RETRY);
  oca_lease_free(lease);
  return holds && !json_next(&wanted);
}

static int env_step(json step, json expect) {
  oca_text *text;
  json_walk there = json_start(
      document(oca_keys_json(engine, view_of(json_get(step, "provider")), &text, NULL), &text));
  for (json_walk wanted = json_start(expect); json_next(&wanted);) {
    char shown[256] = "";
    if (json_next(&there))
      snprintf(shown, sizeof shown, "%s %s", json_text(json_get(there.value, "id")),
               json_text(json_get(there.value, "kind")));
    if (strcmp(shown, json_text(wanted.value)))
      return 0;
  }
  return !json_next(&there);
}

static int events_step(json expect) {
  oca_text *text;
  static char seen[1 << 16];
  oca_str none = {NULL, 0};
  /* Looking at a store is what makes it report. */
  document(oca_profile_order_json(engine, none, oca_cstr("a"), none, none, &text, NULL), &text);
  *seen = 0;
  for (;;) {
    json event = document(oca_engine_next_event(engine, &text, NULL), &text);
    if (!event)
      break;
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s ",
             json_text(json_get(event, "code")));
  }
  for (json_walk walk = json_start(expect); json_next(&walk);)
    if (!strstr(seen, json_text(walk.value)))
      return 0;
  return 1;
}

static int record_step(json step, json expect) {
  char *text = json_file(store);
  json usage = json_get(json_skip(text), "usageStats");
  json record = json_get(usage, json_text(json_get(step, "profile")));
  int holds = subset(expect, record);
  if (!holds)
    fprintf(stderr, "  found %s\n", record ? json_raw(record) : "no record");
  free(text);
  return holds;
}

/* The same entry of a session, in both directions. */
static int same_session(json expected, json found) {
  static const char *const keys[] = {"providerOverride", "modelOverride", "authProfileOverride"};
  int holds = subset(expected, found);
  for (size_t i = 0; i < 3; i++)
    holds &= subset(json_get(expected, keys[i]), json_get(found, keys[i]));
  return holds;
}

static int chat_step(json step, json expect) {
  oca_error *err;
  oca_text *text;
  oca_str none = {NULL, 0};
  oca_status status = oca_session_directive(engine, none, view_of(json_get(step, "session")),
                                            view_of(json_get(step, "message")),
                                            view_of(json_get(step, "shown")), &text, &err);
  if (status) {
    int holds = is(oca_error_code(err), json_get(expect, "error")) &&
                is(oca_error_message(err), json_get(expect, "message"));
    if (!holds)
      fprintf(stderr, "  found %s %s\n", oca_error_code(err).ptr, oca_error_message(err).ptr);
    oca_error_free(err);
    return holds;
  }
  json reply = document(status, &text);
  if (!reply || is_null(expect))
    return !reply && is_null(expect);
  json rest = json_get(expect, "rest"), session = json_get(expect, "session");
  return subset(json_get(expect, "directive"), json_get(reply, "directive")) &&
         (!rest || subset(rest, json_get(reply, "rest"))) &&
         (!session || same_session(session, json_get(reply, "session")));
}

static int run_step(json step) {
  const char *op = json_text(json_get(step, "op"));
  json expect = json_get(step, "expect");
  oca_str none = {NULL, 0}, session = view_of(json_get(step, "session"));
  oca_str provider = view_of(json_get(step, "provider")), profile = view_of(json_get(step, "profile"));
  oca_text *text;
  bool done = false;
  if (!strcmp(op, "lease"))
    return lease_step(step, expect);
  if (!strcmp(op, "fail"))
    return fail_step(step, expect);
  if (!strcmp(op, "succeed"))
    return succeed_step(step, expect);
  if (!strcmp(op, "release")) {
    oca_lease_release(*lease_named(json_get(step, "on")));
    return 1;
  }
  if (!strcmp(op, "advance"))
    return !oca_engine_clock_advance(engine, (uint64_t)json_number(json_get(step, "ms")), NULL);
  if (!strcmp(op, "flush"))
    return !oca_engine_flush(engine, &done, NULL) && done;
  if (!strcmp(op, "eligibility")) {
    oca_str found;
    return !oca_profile_eligibility(engine, none, profile, provider, &found, NULL) &&
           is(found, expect);
  }
  if (!strcmp(op, "order")) {
    oca_status status = oca_profile_order_json(engine, none, provider,
                                               view_of(json_get(step, "model")),
                                               view_of(json_get(step, "prefer")), &text, NULL);
    return subset(expect, json_get(document(status, &text), "effective"));
  }
  if (!strcmp(op, "classify")) {
    json signal = json_get(step, "signal");
    oca_outcome outcome = outcome_of(signal);
    json found = document(oca_classify_json(engine, view_of(json_get(signal, "provider")),
                                            view_of(json_get(signal, "model")), &outcome, &text,
                                            NULL),
                          &text);
    return subset(expect, found);
  }
  if (!strcmp(op, "env"))
    return env_step(step, expect);
  if (!strcmp(op, "keys"))
    return keys_step(step, expect);
  if (!strcmp(op, "events"))
    return events_step(expect);
  if (!strcmp(op, "record"))
    return record_step(step, expect);
  if (!strcmp(op, "set_session")) {
    const char *entry = json_raw(json_get(step, "value"));
    return !oca_session_set(engine, session, oca_cstr(entry), NULL);
  }
  if (!strcmp(op, "session"))
    return same_session(expect, document(oca_session_json(engine, session, &text, NULL), &text));
  if (!strcmp(op, "chat"))
    return chat_step(step, expect);
  if (!strcmp(op, "clear"))
    return !oca_profile_clear_cooldown(engine, none, profile, view_of(json_get(step, "what")), NULL);
  fprintf(stderr, "unknown step %s\n", op);
  return 0;
}

static void write_store(json content) {
  char folder[256];
  if (!content)
    return;
  snprintf(folder, sizeof folder, "%s", store);
  for (char *slash = folder + strlen(home); (slash = strchr(slash + 1, '/'));) {
    *slash = 0;
    mkdir(folder, 0700);
    *slash = '/';
  }
  FILE *file = fopen(store, "wb");
  if (!CHECK(file != NULL))
    return;
  fputs(json_raw(content), file);
  fclose(file);
  CHECK(chmod(store, 0600) == 0);
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *walk) {
  (void)facts, (void)kind, (void)walk;
  return remove(path);
}

static void example(json example, uint64_t now) {
  const char *id = json_text(json_get(example, "id"));
  json config = json_get(example, "config");
  oca_error *err;
  strcpy(home, "/tmp/openclaw-auth-XXXXXX");
  CHECK(mkdtemp(home) != NULL);
  snprintf(store, sizeof store, "%s/agents/main/agent/auth-profiles.json", home);
  write_store(json_get(example, "store"));
  oca_options *options = oca_options_new();
  const char *text = config ? json_raw(config) : "{}";
  CHECK(!oca_options_set_config_text(options, oca_cstr(text), NULL));
  CHECK(!oca_options_set_state_dir(options, oca_cstr(home), NULL));
  CHECK(!oca_options_set_manual_clock(options, now, NULL));
  for (json_walk walk = json_start(json_get(example, "env")); json_next(&walk);)
    CHECK(!oca_options_set_env(options, view_of(walk.key), view_of(walk.value), NULL));
  oca_status status = oca_engine_open(options, &engine, &err);
  oca_options_free(options);
  if (check(!status, "opens", id, 0)) {
    write_store(json_get(example, "storeLater"));
    int number = 0;
    for (json_walk walk = json_start(json_get(example, "steps")); json_next(&walk); number++)
      if (!check(run_step(walk.value), json_raw(walk.value), id, number))
        break;
  } else {
    fprintf(stderr, "  %s\n", oca_error_message(err).ptr);
  }
  for (size_t i = 0; i < MOST_LEASES; i++) {
    oca_lease_free(leases[i].lease);
    leases[i].lease = NULL;
    *leases[i].name = 0;
  }
  oca_error_free(err);
  oca_engine_free(engine);
  nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv) {
  if (argc != 2)
    return 64;
  char *text = json_file(argv[1]);
  json all = json_skip(text);
  uint64_t now = (uint64_t)json_number(json_get(all, "now"));
  int count = 0;
  for (json_walk walk = json_start(json_get(all, "cases")); json_next(&walk); count++) {
    json_reset();
    example(walk.value, now);
  }
  fprintf(stderr, "%d examples\n", count);
  CHECK(count > 200);
  free(text);
  return summary();
}
