/* Every function with one wrong argument after the other; tests/c/misuse_all.awk writes the calls
 * from the header, so that a new function is in here by itself.
 *
 *   misuse_all FOLDER
 */
#include "check.h"

static oca_options *options;
static oca_engine *engine, *new_engine;
static const oca_snapshot *snapshot;
static oca_lease *lease, *new_lease;
static oca_oauth_flow *flow, *new_flow;
static oca_error *err, *some_error;
static oca_text *some_text, *new_text;
static oca_str new_str;
static bool new_bool;
static size_t new_size;
static uint32_t new_number;
static char buf[OCA_IP_SIZE];
static uint32_t lens[sizeof buf];

static const oca_str text = {"{}", 2}, absent = {NULL, 0}, dangling = {NULL, 5},
                     endless = {"a", SIZE_MAX},
                     not_utf8 = {"a\xff", 2};

/* A good one, and three that are not: without a size, shorter than the first version, and with a
 * field that nobody knows. */
#define STRUCTS(name)                                                                   \
  static oca_##name name, no_size_##name, short_##name;                                 \
  static struct {                                                                       \
    oca_##name known;                                                                   \
    uint64_t more;                                                                      \
  } long_##name;
STRUCTS(request)
STRUCTS(decision)
STRUCTS(lease_request)
STRUCTS(outcome)
STRUCTS(verdict)

static void use(size_t result) {
  static volatile size_t sum;
  sum += result;
}

#include "misuse_all.inc"

#define PREPARE(name)                                                                   \
  name.struct_size = sizeof name;                                                       \
  short_##name.struct_size = sizeof name - 1;                                           \
  long_##name.known = name;                                                             \
  long_##name.known.struct_size = sizeof long_##name;                                   \
  long_##name.more = 1

int main(int argc, char **argv) {
  if (argc != 2)
    return 64;
  lease_request.provider = oca_cstr("openai");
  PREPARE(request);
  PREPARE(decision);
  PREPARE(lease_request);
  PREPARE(outcome);
  PREPARE(verdict);
  options = oca_options_new();
  CHECK(!oca_options_set_config_text(options, oca_cstr(BY_PROXY), NULL));
  CHECK(!oca_options_set_state_dir(options, oca_cstr(argv[1]), NULL));
  CHECK(!oca_engine_open(options, &engine, NULL));
  snapshot = oca_engine_snapshot(engine);
  CHECK(!oca_lease_acquire(engine, &lease_request, &lease, NULL));
  CHECK(!oca_oauth_begin(engine, oca_cstr("openai-codex"), absent, &flow, NULL));
  CHECK(oca_engine_open(NULL, &new_engine, &some_error) == OCA_ERR_INVALID_ARGUMENT);
  CHECK(!oca_redact(engine, text, &some_text, NULL));
  all();
  CHECK(FUNCTIONS > 80);
  /* Whatever was refused has changed nothing. */
  CHECK(oca_lease_state(lease) == OCA_LEASE_STATE_ISSUED && oca_engine_generation(engine) == 1);
  CHECK(!new_engine && !new_lease && !new_flow && !new_text);
  oca_text_free(some_text);
  oca_error_free(some_error);
  oca_oauth_flow_free(flow);
  oca_lease_free(lease);
  oca_snapshot_free(snapshot);
  oca_engine_free(engine);
  oca_options_free(options);
  return summary();
}
