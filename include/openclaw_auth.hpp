// openclaw_auth.hpp: the C interface with C++ ownership. C++17, header only.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Handles free themselves; failures are thrown as Error. Everything else is the C interface:
// capi() gives the handle for it.
#ifndef OPENCLAW_AUTH_HPP
#define OPENCLAW_AUTH_HPP

#include "openclaw_auth.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace openclaw_auth {

/// A text as an argument of the C interface, borrowed for the call.
inline oca_str view(std::string_view text) noexcept {
  oca_str view{};
  view.ptr = text.data() ? text.data() : "";
  view.len = text.size();
  return view;
}

/// What the library returned, borrowed; empty when it is absent.
inline std::string_view view(oca_str text) noexcept {
  return text.ptr ? std::string_view(text.ptr, text.len) : std::string_view();
}

/// Why a call failed.
class Error : public std::runtime_error {
public:
  /// Takes an error of the library over.
  explicit Error(oca_error *error)
      : std::runtime_error(std::string(view(oca_error_message(error)))),
        status_(oca_error_status(error)), code_(view(oca_error_code(error))),
        details_(view(oca_error_details_json(error))),
        retry_after_ms_(oca_error_retry_after_ms(error)) {
    oca_error_free(error);
  }

  /// A failure of a call that gives a status only.
  explicit Error(oca_status status)
      : std::runtime_error(std::string(view(oca_status_name(status)))), status_(status) {}

  oca_status status() const noexcept { return status_; }
  /// Stable code; empty when the call gave a status only.
  const std::string &code() const noexcept { return code_; }
  /// JSON object.
  const std::string &details() const noexcept { return details_; }
  /// Milliseconds until a new try can succeed; 0 if waiting does not help.
  std::uint64_t retry_after_ms() const noexcept { return retry_after_ms_; }

private:
  oca_status status_;
  std::string code_, details_;
  std::uint64_t retry_after_ms_ = 0;
};

namespace detail {

template <auto Free> struct Deleter {
  template <class T> void operator()(T *handle) const noexcept { Free(handle); }
};

template <class T, auto Free> using Handle = std::unique_ptr<T, Deleter<Free>>;

/// Calls f(..., &error) and throws what came of it.
template <class F> void call(F f) {
  oca_error *error = nullptr;
  if (f(&error) != OCA_OK)
    throw Error(error);
}

inline std::string take(oca_text *text) {
  Handle<oca_text, oca_text_free> owner(text);
  return std::string(view(oca_text_view(text)));
}

} // namespace detail

/// Settings of an engine.
class Options {
public:
  Options() : handle_(oca_options_new()) {}

  Options &config_path(std::string_view path) {
    detail::call([&](auto e) { return oca_options_set_config_path(capi(), view(path), e); });
    return *this;
  }
  Options &config_text(std::string_view text) {
    detail::call([&](auto e) { return oca_options_set_config_text(capi(), view(text), e); });
    return *this;
  }
  Options &state_dir(std::string_view dir) {
    detail::call([&](auto e) { return oca_options_set_state_dir(capi(), view(dir), e); });
    return *this;
  }
  Options &env(std::string_view name, std::string_view value) {
    detail::call([&](auto e) { return oca_options_set_env(capi(), view(name), view(value), e); });
    return *this;
  }
  Options &flag(std::uint32_t flag, bool on) {
    detail::call([&](auto e) { return oca_options_set_flag(capi(), flag, on, e); });
    return *this;
  }
  Options &json(std::string_view json) {
    detail::call([&](auto e) { return oca_options_set_json(capi(), view(json), e); });
    return *this;
  }

  oca_options *capi() const noexcept { return handle_.get(); }

private:
  detail::Handle<oca_options, oca_options_free> handle_;
};

/// The secrets and rules of one generation. Views of it live as long as it does.
class Snapshot {
public:
  explicit Snapshot(const oca_snapshot *handle) noexcept : handle_(handle) {}

  std::uint64_t generation() const noexcept { return oca_snapshot_generation(capi()); }

  /// The secret at a configuration path.
  std::string_view secret(std::string_view path) const {
    oca_str secret{};
    if (const oca_status status = oca_snapshot_secret(capi(), view(path), &secret))
      throw Error(status);
    return view(secret);
  }

  const oca_snapshot *capi() const noexcept { return handle_.get(); }

private:
  detail::Handle<const oca_snapshot, oca_snapshot_free> handle_;
};

/// What a credential is wanted for.
struct Wish {
  std::string_view provider, model, agent, session, profile;
  /// See oca_lease_request.extra_json.
  std::string_view extra_json;
  /// OCA_LEASE_* bits.
  std::uint32_t flags = 0;
};

/// One upstream call and the credential that it uses now. Views live until the next report.
class Lease {
public:
  explicit Lease(oca_lease *handle) noexcept : handle_(handle) {}

  /// What to send; empty when the lease is settled.
  std::string_view secret() const noexcept { return view(oca_lease_secret(capi())); }
  std::string_view provider() const noexcept { return view(oca_lease_provider(capi())); }
  std::string_view model() const noexcept { return view(oca_lease_model(capi())); }
  std::string_view profile_id() const noexcept { return view(oca_lease_profile_id(capi())); }
  /// Fit for logs.
  std::string_view source() const noexcept { return view(oca_lease_source(capi())); }
  /// OCA_CREDENTIAL_*.
  std::uint32_t kind() const noexcept { return oca_lease_kind(capi()); }
  std::uint32_t attempt() const noexcept { return oca_lease_attempt(capi()); }

  /// Tells what came of the call. Blocks after a failure.
  oca_verdict report(const oca_outcome &outcome) {
    oca_verdict verdict{};
    verdict.struct_size = sizeof verdict;
    detail::call([&](auto e) { return oca_lease_report(capi(), &outcome, &verdict, e); });
    return verdict;
  }

  /// Calls send(*this), which gives an oca_outcome, until nothing is left to retry. Waiting for
  /// oca_verdict.delay_ms is up to send: it is 0 but for providers out of capacity.
  template <class F> oca_verdict send(F send) {
    oca_verdict verdict{};
    do
      verdict = report(send(*this));
    while (verdict.kind == OCA_VERDICT_RETRY);
    return verdict;
  }

  /// After OCA_VERDICT_EXHAUSTED: what was tried, as JSON.
  std::optional<std::string> exhausted() const {
    oca_text *text = nullptr;
    detail::call([&](auto e) { return oca_lease_exhausted_json(capi(), &text, e); });
    return text ? std::optional(detail::take(text)) : std::nullopt;
  }

  oca_lease *capi() const noexcept { return handle_.get(); }

private:
  detail::Handle<oca_lease, oca_lease_free> handle_;
};

/// A login under way.
class Flow {
public:
  explicit Flow(oca_oauth_flow *handle) noexcept : handle_(handle) {}

  /// Address to open in the browser.
  std::string_view url() const noexcept { return view(oca_oauth_flow_url(capi())); }
  std::string_view state() const noexcept { return view(oca_oauth_flow_state(capi())); }

  /// The address that the browser brought, if it came in time. Blocks.
  std::optional<std::string> listen(std::uint64_t timeout_ms) {
    oca_text *text = nullptr;
    detail::call([&](auto e) { return oca_oauth_flow_listen(capi(), timeout_ms, &text, e); });
    return text ? std::optional(detail::take(text)) : std::nullopt;
  }

  /// Stores the profile and tells about it, as JSON. Blocks.
  std::string complete(std::string_view redirect) {
    oca_text *text = nullptr;
    detail::call([&](auto e) { return oca_oauth_flow_complete(capi(), view(redirect), &text, e); });
    return detail::take(text);
  }

  oca_oauth_flow *capi() const noexcept { return handle_.get(); }

private:
  detail::Handle<oca_oauth_flow, oca_oauth_flow_free> handle_;
};

/// Everything that belongs to one configuration. Movable; clone() copies the handle on purpose.
class Engine {
public:
  /// Blocks.
  static Engine open(const Options &options) {
    oca_engine *handle = nullptr;
    detail::call([&](auto e) { return oca_engine_open(options.capi(), &handle, e); });
    return Engine(handle);
  }

  explicit Engine(oca_engine *handle) noexcept : handle_(handle) {}

  Engine clone() const noexcept { return Engine(oca_engine_clone(capi())); }
  Snapshot snapshot() const noexcept { return Snapshot(oca_engine_snapshot(capi())); }
  std::uint64_t generation() const noexcept { return oca_engine_generation(capi()); }
  bool degraded() const noexcept { return oca_engine_health(capi()) != OCA_HEALTH_OK; }

  /// Gives the report as JSON. Blocks.
  std::string reload() const {
    oca_text *report = nullptr;
    detail::call([&](auto e) { return oca_engine_reload(capi(), &report, e); });
    return detail::take(report);
  }

  /// The oldest waiting event as JSON.
  std::optional<std::string> next_event() const {
    oca_text *event = nullptr;
    detail::call([&](auto e) { return oca_engine_next_event(capi(), &event, e); });
    return event ? std::optional(detail::take(event)) : std::nullopt;
  }

  /// Lends a credential. May block for the refresh of a token.
  Lease lease(const Wish &wish) const {
    const auto text = [](std::string_view text) { return text.empty() ? oca_str{} : view(text); };
    oca_lease_request request{};
    request.struct_size = sizeof request;
    request.provider = text(wish.provider);
    request.model = text(wish.model);
    request.agent = text(wish.agent);
    request.session = text(wish.session);
    request.profile = text(wish.profile);
    request.extra_json = text(wish.extra_json);
    request.flags = wish.flags;
    oca_lease *handle = nullptr;
    detail::call([&](auto e) { return oca_lease_acquire(capi(), &request, &handle, e); });
    return Lease(handle);
  }

  /// Starts a login; see oca_oauth_begin() for the options.
  Flow login(std::string_view provider, std::string_view options_json = "{}") const {
    oca_oauth_flow *handle = nullptr;
    detail::call([&](auto e) {
      return oca_oauth_begin(capi(), view(provider), view(options_json), &handle, e);
    });
    return Flow(handle);
  }

  /// Models, credentials and how long they last, as JSON; an empty agent is the default agent.
  std::string status(std::string_view agent = {}) const {
    oca_text *text = nullptr;
    const oca_str which = agent.empty() ? oca_str{} : view(agent);
    detail::call([&](auto e) { return oca_status_json(capi(), which, &text, e); });
    return detail::take(text);
  }

  /// The text with every known secret masked.
  std::string redact(std::string_view text) const {
    oca_text *shown = nullptr;
    detail::call([&](auto e) { return oca_redact(capi(), view(text), &shown, e); });
    return detail::take(shown);
  }

  /// Whatever happens, the decision says no unless the request may come in.
  oca_decision authorize(const oca_request &request) const noexcept {
    oca_decision decision{};
    decision.struct_size = sizeof decision;
    (void)!oca_authorize(capi(), &request, &decision);
    return decision;
  }

  const oca_engine *capi() const noexcept { return handle_.get(); }

private:
  detail::Handle<oca_engine, oca_engine_free> handle_;
};

} // namespace openclaw_auth

#endif
