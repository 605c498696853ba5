//go:build cgo

package openclawauth

/*
#include <openclaw_auth.h>
*/
import "C"

import (
	"net/http"
	"runtime"
	"strings"
	"time"
	"unsafe"
)

type (
	leaseHandle = C.oca_lease
	flowHandle  = C.oca_oauth_flow
)

// optional borrows a Go string for one call; empty is absent.
func optional(s string) C.oca_str {
	if s == "" {
		return absent
	}
	return view(s)
}

// callEngine runs a call that takes texts and gives a text, or nothing.
func callEngine(engine *engineHandle, call engineCall, args ...string) (string, error) {
	var failure *C.oca_error
	var out *C.oca_text
	var status C.oca_status
	arg := func(i int) string { return args[i] }
	switch call {
	case callProfiles:
		status = C.oca_profiles_json(engine, optional(arg(0)), optional(arg(1)), &out, &failure)
	case callOrder:
		status = C.oca_profile_order_json(engine, optional(arg(0)), view(arg(1)), optional(arg(2)),
			optional(arg(3)), &out, &failure)
	case callKeys:
		status = C.oca_keys_json(engine, view(arg(0)), &out, &failure)
	case callPut:
		status = C.oca_profile_put(engine, optional(arg(0)), view(arg(1)), view(arg(2)), &failure)
	case callRemove:
		status = C.oca_profile_remove(engine, optional(arg(0)), view(arg(1)), &failure)
	case callSetOrder:
		status = C.oca_profile_set_order(engine, optional(arg(0)), view(arg(1)), optional(arg(2)), &failure)
	case callClear:
		status = C.oca_profile_clear_cooldown(engine, optional(arg(0)), optional(arg(1)),
			optional(arg(2)), &failure)
	case callChat:
		status = C.oca_session_directive(engine, optional(arg(0)), view(arg(1)), view(arg(2)),
			optional(arg(3)), &out, &failure)
	case callModels:
		status = C.oca_session_models_json(engine, optional(arg(0)), view(arg(1)), &out, &failure)
	case callSession:
		status = C.oca_session_json(engine, view(arg(0)), &out, &failure)
	case callSetSession:
		status = C.oca_session_set(engine, view(arg(0)), view(arg(1)), &failure)
	case callExport:
		status = C.oca_sessions_export_json(engine, &out, &failure)
	case callImport:
		status = C.oca_sessions_import(engine, view(arg(0)), &failure)
	case callProviders:
		status = C.oca_oauth_providers_json(engine, &out, &failure)
	case callLink:
		status = C.oca_oauth_link(engine, optional(arg(0)), view(arg(1)), &out, &failure)
	case callUnauthorized:
		status = C.oca_oauth_unauthorized_json(engine, optional(arg(0)), view(arg(1)), view(arg(2)),
			&out, &failure)
	case callRedact:
		status = C.oca_redact(engine, view(arg(0)), &out, &failure)
	case callStatus:
		status = C.oca_status_json(engine, optional(arg(0)), &out, &failure)
	case callDoctor:
		status = C.oca_doctor_json(engine, optional(arg(0)), doctorFlags(arg(1)), &out, &failure)
	case callSetRegistry:
		status = C.oca_engine_set_registry(engine, view(arg(0)), &failure)
	}
	return given(status, &out, &failure)
}

// given is the text of a call; empty if there is none.
func given(status C.oca_status, out **C.oca_text, failure **C.oca_error) (string, error) {
	if err := check(status, failure); err != nil || *out == nil {
		return "", err
	}
	return take(*out), nil
}

// doctorFlags makes flags of words.
func doctorFlags(words string) (flags C.uint32_t) {
	if strings.Contains(words, "exec") {
		flags |= C.OCA_FLAG_ALLOW_EXEC
	}
	if strings.Contains(words, "network") {
		flags |= C.OCA_FLAG_ALLOW_NETWORK
	}
	return flags
}

func statusCheck(engine *engineHandle, agent string, warnMs uint64) (int, error) {
	var failure *C.oca_error
	var found C.uint32_t
	status := C.oca_status_check(engine, optional(agent), C.uint64_t(warnMs), &found, &failure)
	err := check(status, &failure)
	return int(found), err
}

func eligibility(engine *engineHandle, agent, profile, provider string) (string, error) {
	var failure *C.oca_error
	var word C.oca_str
	status := C.oca_profile_eligibility(engine, optional(agent), view(profile), view(provider), &word, &failure)
	if err := check(status, &failure); err != nil {
		return "", err
	}
	return text(word), nil
}

func flush(engine *engineHandle) (bool, error) {
	var failure *C.oca_error
	var done C.bool
	err := check(C.oca_engine_flush(engine, &done, &failure), &failure)
	return bool(done), err
}

func oauthToken(engine *engineHandle, agent, profile string, minValidMs int64, force bool) (string, error) {
	var failure *C.oca_error
	var out *C.oca_text
	status := C.oca_oauth_token_json(engine, optional(agent), view(profile),
		C.uint64_t(max(minValidMs, 0)), C.bool(force), &out, &failure)
	return given(status, &out, &failure)
}

// pinned borrows texts for structs that go to C by address.
type pinned struct{ runtime.Pinner }

func (p *pinned) optional(s string) C.oca_str {
	if s == "" {
		return absent
	}
	return p.view(s)
}

func (p *pinned) view(s string) C.oca_str {
	if s == "" {
		return C.oca_str{ptr: (*C.char)(unsafe.Pointer(&nothing))}
	}
	p.Pin(unsafe.StringData(s))
	return view(s)
}

func acquireLease(engine *engineHandle, r *LeaseRequest) (*leaseHandle, error) {
	extra, err := r.extra()
	if err != nil {
		return nil, err
	}
	var pin pinned
	defer pin.Unpin()
	request := C.oca_lease_request{
		struct_size: C.size_t(unsafe.Sizeof(C.oca_lease_request{})),
		provider:    pin.optional(r.Provider),
		model:       pin.optional(r.Model),
		agent:       pin.optional(r.Agent),
		session:     pin.optional(r.Session),
		profile:     pin.optional(r.Profile),
		extra_json:  pin.optional(extra),
	}
	for flag, on := range map[C.uint32_t]bool{
		C.OCA_LEASE_NEW_SESSION: r.NewSession,
		C.OCA_LEASE_NO_REFRESH:  r.NoRefresh,
		C.OCA_LEASE_NO_ENV:      r.NoEnv,
	} {
		if on {
			request.flags |= flag
		}
	}
	var failure *C.oca_error
	var lease *C.oca_lease
	if err := check(C.oca_lease_acquire(engine, &request, &lease, &failure), &failure); err != nil {
		return nil, err
	}
	return lease, nil
}

func freeLease(lease *leaseHandle) { C.oca_lease_free(lease) }

// readLease copies what a lease holds now.
func readLease(lease *leaseHandle) Credential {
	if C.oca_lease_state(lease) != C.OCA_LEASE_STATE_ISSUED {
		return Credential{}
	}
	credential := Credential{
		Kind:      kinds[C.oca_lease_kind(lease)%C.uint32_t(len(kinds))],
		Provider:  text(C.oca_lease_provider(lease)),
		Model:     text(C.oca_lease_model(lease)),
		ProfileID: text(C.oca_lease_profile_id(lease)),
		Source:    text(C.oca_lease_source(lease)),
		Attempt:   int(C.oca_lease_attempt(lease)),
		secret:    text(C.oca_lease_secret(lease)),
	}
	if at := C.oca_lease_expires_at_ms(lease); at != 0 {
		credential.Expires = time.UnixMilli(int64(at))
	}
	return credential
}

var kinds = [6]CredentialKind{
	C.OCA_CREDENTIAL_API_KEY: CredentialAPIKey,
	C.OCA_CREDENTIAL_TOKEN:   CredentialToken,
	C.OCA_CREDENTIAL_OAUTH:   CredentialOAuth,
	C.OCA_CREDENTIAL_AWS_SDK: CredentialAWS,
	C.OCA_CREDENTIAL_NONE:    CredentialNone,
}

// leaseDocument is the description of a lease, or of its end.
func leaseDocument(lease *leaseHandle, end bool) (string, error) {
	var failure *C.oca_error
	var out *C.oca_text
	if end {
		status := C.oca_lease_exhausted_json(lease, &out, &failure)
		return given(status, &out, &failure)
	}
	status := C.oca_lease_metadata_json(lease, &out, &failure)
	return given(status, &out, &failure)
}

func reportLease(lease *leaseHandle, o *Outcome) (Verdict, error) {
	var pin pinned
	defer pin.Unpin()
	outcome, err := outcomeOf(&pin, o)
	if err != nil {
		return Verdict{}, err
	}
	var failure *C.oca_error
	verdict := C.oca_verdict{struct_size: C.size_t(unsafe.Sizeof(C.oca_verdict{}))}
	if err := check(C.oca_lease_report(lease, &outcome, &verdict, &failure), &failure); err != nil {
		return Verdict{}, err
	}
	given := Verdict{
		Kind:       VerdictKind(verdict.kind),
		HTTPStatus: int(verdict.http_status),
		Retryable:  verdict.retryable == 1,
		Delay:      time.Duration(verdict.delay_ms) * time.Millisecond,
		RetryAfter: time.Duration(verdict.retry_after_ms) * time.Millisecond,
	}
	for reason, number := range outcomeKinds {
		if number == verdict.reason {
			given.Reason = reason
		}
	}
	return given, nil
}

func classify(engine *engineHandle, provider, model string, o *Outcome) (string, error) {
	var pin pinned
	defer pin.Unpin()
	outcome, err := outcomeOf(&pin, o)
	if err != nil {
		return "", err
	}
	var failure *C.oca_error
	var out *C.oca_text
	status := C.oca_classify_json(engine, optional(provider), optional(model), &outcome, &out, &failure)
	return given(status, &out, &failure)
}

// outcomeOf makes a C struct whose texts stay where they are until pin lets go.
func outcomeOf(pin *pinned, o *Outcome) (C.oca_outcome, error) {
	outcome := C.oca_outcome{
		struct_size: C.size_t(unsafe.Sizeof(C.oca_outcome{})),
		kind:        C.OCA_OUTCOME_OK,
		http_status: C.uint32_t(max(o.Status, 0)),
		message:     pin.optional(o.Message),
		code:        pin.optional(o.Code),
		error_type:  pin.optional(o.Type),
	}
	if o.Failed {
		outcome.kind = C.OCA_OUTCOME_CLASSIFY
	}
	if o.Reason != "" {
		kind, known := outcomeKinds[o.Reason]
		if !known {
			return outcome, invalid("reason")
		}
		outcome.kind = kind
	}
	if o.Transport != "" {
		transport, known := transports[o.Transport]
		if !known {
			return outcome, invalid("transport")
		}
		outcome.transport = transport
	}
	if len(o.Body) > 0 {
		outcome.body = pin.view(unsafe.String(unsafe.SliceData(o.Body), len(o.Body)))
	}
	if lines := headerLines(pin, o.Header, o.Failed); len(lines) > 0 {
		pin.Pin(unsafe.SliceData(lines))
		outcome.headers, outcome.headers_len = unsafe.SliceData(lines), C.size_t(len(lines))
	}
	return outcome, nil
}

func invalid(what string) error {
	return &Error{Status: StatusInvalidArgument, Code: "invalid_argument", Message: what + " is not known"}
}

// headerLines are all lines after a failure; of a success those that speak of limits.
func headerLines(pin *pinned, header http.Header, failed bool) (lines []C.oca_header) {
	for name, values := range header {
		if failed || strings.Contains(name, "Ratelimit") || strings.Contains(name, "Rate-Limit") {
			for _, value := range values {
				lines = append(lines, C.oca_header{name: pin.view(name), value: pin.view(value)})
			}
		}
	}
	return lines
}

var outcomeKinds = map[Reason]C.uint32_t{
	RateLimit:       C.OCA_OUTCOME_RATE_LIMIT,
	Overloaded:      C.OCA_OUTCOME_OVERLOADED,
	Billing:         C.OCA_OUTCOME_BILLING,
	Auth:            C.OCA_OUTCOME_AUTH,
	AuthPermanent:   C.OCA_OUTCOME_AUTH_PERMANENT,
	TimedOut:        C.OCA_OUTCOME_TIMEOUT,
	ServerError:     C.OCA_OUTCOME_SERVER_ERROR,
	Network:         C.OCA_OUTCOME_NETWORK,
	Format:          C.OCA_OUTCOME_FORMAT,
	ModelNotFound:   C.OCA_OUTCOME_MODEL_NOT_FOUND,
	SessionExpired:  C.OCA_OUTCOME_SESSION_EXPIRED,
	ContextOverflow: C.OCA_OUTCOME_CONTEXT_OVERFLOW,
	Cancelled:       C.OCA_OUTCOME_CANCELLED,
	Unknown:         C.OCA_OUTCOME_UNKNOWN,
}

var transports = map[string]C.uint32_t{
	"timeout":   C.OCA_TRANSPORT_TIMEOUT,
	"connect":   C.OCA_TRANSPORT_CONNECT,
	"dns":       C.OCA_TRANSPORT_DNS,
	"tls":       C.OCA_TRANSPORT_TLS,
	"reset":     C.OCA_TRANSPORT_RESET,
	"cancelled": C.OCA_TRANSPORT_CANCELLED,
}

func beginFlow(engine *engineHandle, provider, options string) (*flowHandle, error) {
	var failure *C.oca_error
	var flow *C.oca_oauth_flow
	status := C.oca_oauth_begin(engine, view(provider), view(options), &flow, &failure)
	if err := check(status, &failure); err != nil {
		return nil, err
	}
	return flow, nil
}

func freeFlow(flow *flowHandle) { C.oca_oauth_flow_free(flow) }

func flowTexts(flow *flowHandle) (url, state string) {
	return text(C.oca_oauth_flow_url(flow)), text(C.oca_oauth_flow_state(flow))
}

func callFlow(flow *flowHandle, call flowCall, argument string, number uint64) (string, error) {
	var failure *C.oca_error
	var out *C.oca_text
	var status C.oca_status
	switch call {
	case flowInfo:
		status = C.oca_oauth_flow_json(flow, &out, &failure)
	case flowListen:
		status = C.oca_oauth_flow_listen(flow, C.uint64_t(number), &out, &failure)
	case flowComplete:
		status = C.oca_oauth_flow_complete(flow, view(argument), &out, &failure)
	case flowRequest:
		status = C.oca_oauth_flow_request_json(flow, view(argument), &out, &failure)
	case flowAccept:
		status = C.oca_oauth_flow_accept_response(flow, C.uint32_t(number), view(argument), &out, &failure)
	}
	return given(status, &out, &failure)
}
