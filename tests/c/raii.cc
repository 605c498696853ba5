// The C++ layer: ownership, errors, views. Compiled as C++17 and C++20.
#include <openclaw_auth.hpp>

#include "check.h"

namespace oca = openclaw_auth;

static_assert(!std::is_copy_constructible_v<oca::Engine>);
static_assert(std::is_nothrow_move_constructible_v<oca::Engine>);
static_assert(std::is_nothrow_move_constructible_v<oca::Snapshot>);

int main() {
  oca::Options options;
  options.config_text(BY_PROXY).env("UNUSED", "value").flag(OCA_FLAG_ALLOW_EXEC, false);
  oca::Engine first = oca::Engine::open(options);
  oca::Engine engine = std::move(first);
  oca::Engine other = engine.clone();
  CHECK(engine.generation() == 1 && !other.degraded());

  oca::Snapshot snapshot = engine.snapshot();
  CHECK(snapshot.secret("models.providers.openai.apiKey") == "sk-canary-0123456789");
  try {
    (void)snapshot.secret("no.such");
    CHECK(!"thrown");
  } catch (const oca::Error &error) {
    CHECK(error.status() == OCA_ERR_NOT_FOUND && error.code().empty());
  }

  oca_header user = header("X-Forwarded-User", "nick");
  oca_request request = new_request("10.0.0.1:1", &user, 1);
  oca_decision decision = other.authorize(request);
  CHECK(decision.allowed == 1 && std::string_view(decision.user) == "nick");
  request.struct_size = 0;
  CHECK(other.authorize(request).allowed == 0);

  // Nothing has changed, so the generation stays and there is no second event.
  CHECK(engine.reload().find("\"unchanged\":true") != std::string::npos);
  CHECK(snapshot.generation() == 1 && engine.snapshot().generation() == 1);
  CHECK(engine.next_event()->find("SECRETS_ACTIVATED") != std::string::npos);
  CHECK(!engine.next_event());

  try {
    oca::Engine::open(oca::Options().config_text("{ a: 1,\n b: }"));
    CHECK(!"thrown");
  } catch (const oca::Error &error) {
    CHECK(error.status() == OCA_ERR_CONFIG && error.code() == "config_parse_error");
    CHECK(error.details().find("\"line\":2") != std::string::npos && *error.what());
    CHECK(error.retry_after_ms() == 0);
  }

  oca::Options lending;
  lending.env("OPENAI_API_KEYS", "sk-one-0123,sk-two-4567").flag(OCA_FLAG_READ_ONLY, true);
  oca::Engine lender = oca::Engine::open(lending);
  oca::Wish wish;
  wish.provider = "openai";
  oca::Lease lease = lender.lease(wish);
  CHECK(lease.secret() == "sk-one-0123" && lease.kind() == OCA_CREDENTIAL_API_KEY);
  oca_verdict verdict = lease.send([](const oca::Lease &now) {
    oca_outcome outcome{};
    outcome.struct_size = sizeof outcome;
    outcome.kind = now.attempt() == 1 ? OCA_OUTCOME_CLASSIFY : OCA_OUTCOME_OK;
    outcome.http_status = now.attempt() == 1 ? 429 : 200;
    return outcome;
  });
  CHECK(verdict.kind == OCA_VERDICT_DONE && lease.secret().empty() && lease.attempt() == 2);
  CHECK(!lease.exhausted() && lender.redact("sk-two-4567") != "sk-two-4567");
  CHECK(lender.status().find("\"agentId\"") != std::string::npos);
  try {
    wish.provider = "nobody";
    lender.lease(wish);
    CHECK(!"thrown");
  } catch (const oca::Error &error) {
    CHECK(error.status() == OCA_ERR_NO_CREDENTIAL && error.code() == "no_credentials");
  }
  try {
    lender.login("nobody");
    CHECK(!"thrown");
  } catch (const oca::Error &error) {
    CHECK(error.code() == "oauth_unknown_provider");
  }
  return summary();
}
