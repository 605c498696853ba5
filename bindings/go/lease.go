package openclawauth

import (
	"context"
	"encoding/json"
	"net/http"
	"runtime"
	"sync"
	"time"
)

// LeaseRequest says what a credential is wanted for. Provider is required, unless there are Models.
type LeaseRequest struct {
	// Provider, for example "openai".
	Provider string
	// Model may be empty. Cooldowns can concern one model.
	Model string
	// Models are tried in turn, each "provider/model", instead of Provider and Model.
	Models []string
	// Agent whose profiles are used; the default agent if empty.
	Agent string
	// Session keeps to one profile; it may be empty.
	Session string
	// Profile is the only one to use, if set.
	Profile string
	// Prefer is the profile to try first.
	Prefer string
	// Exclude lists candidates that must not be used.
	Exclude []string
	// Probe is "auto", "force" or "never"; empty for the setting.
	Probe string
	// MinValid is how long a token must still be valid; 0 for the setting.
	MinValid time.Duration
	// MaxAttempts is the longest chain; 0 for the setting.
	MaxAttempts int
	// CompactionCount says how often the session has been compacted.
	CompactionCount int
	// NewSession says that the session has just been started anew.
	NewSession bool
	// NoRefresh leaves tokens that have run out as they are.
	NoRefresh bool
	// NoEnv uses stored profiles only.
	NoEnv bool
}

// extra is what the library takes as JSON; empty if there is nothing.
func (r *LeaseRequest) extra() (string, error) {
	extra := struct {
		Models          []string `json:"models,omitempty"`
		Prefer          string   `json:"prefer,omitempty"`
		Exclude         []string `json:"exclude,omitempty"`
		Probe           string   `json:"probe,omitempty"`
		MinValidMs      int64    `json:"minValidMs,omitempty"`
		MaxAttempts     int      `json:"maxAttempts,omitempty"`
		CompactionCount int      `json:"compactionCount,omitempty"`
	}{r.Models, r.Prefer, r.Exclude, r.Probe, r.MinValid.Milliseconds(), r.MaxAttempts, r.CompactionCount}
	text, err := json.Marshal(extra)
	if string(text) == "{}" {
		return "", err
	}
	return string(text), err
}

// CredentialKind says what a credential is.
type CredentialKind string

// Kinds of credentials. The secret of the last two is empty.
const (
	CredentialAPIKey CredentialKind = "api_key"
	CredentialToken  CredentialKind = "token"
	CredentialOAuth  CredentialKind = "oauth"
	CredentialAWS    CredentialKind = "aws_sdk"
	CredentialNone   CredentialKind = "none"
)

// Credential is what a lease holds. Printing it does not show the secret.
type Credential struct {
	// Kind of the credential.
	Kind CredentialKind
	// Provider, in normal form.
	Provider string
	// Model to ask; it changes when a chain of models goes on.
	Model string
	// ProfileID is empty for a key of the environment or the configuration.
	ProfileID string
	// Source is where it comes from, fit for logs: "profile:anthropic:work", "env:OPENAI_API_KEY".
	Source string
	// Expires is the end of a token; the zero time if it has none.
	Expires time.Time
	// Attempt is 1 for the first credential of the lease, then one more for each.
	Attempt int

	secret string
}

// Secret is what to send. Go cannot wipe it: do not keep it, do not log it.
func (c Credential) Secret() string { return c.secret }

// String shows where the credential comes from.
func (c Credential) String() string { return c.Source }

// GoString hides the secret too.
func (c Credential) GoString() string { return c.Source }

// Lease is one upstream call and the credential that it uses now. It is for one goroutine at a
// time; any number may be out. Close it in any case.
type Lease struct {
	mu      sync.Mutex
	handle  *leaseHandle
	cleanup runtime.Cleanup
	current Credential
}

// Lease lends the credential for an upstream call. [ErrNoCredentials] means that somebody has to
// log in, [ErrAllUnavailable] that all credentials have to rest for [Error.RetryAfter]. It waits for
// the refresh of an OAuth token; when ctx ends first, the refresh goes on by itself.
func (e *Engine) Lease(ctx context.Context, request LeaseRequest) (*Lease, error) {
	handle, err := await(ctx, func() (handle *leaseHandle, err error) {
		err = e.with(func(engine *engineHandle) error {
			handle, err = acquireLease(engine, &request)
			return err
		})
		return handle, err
	}, freeLease)
	if err != nil {
		return nil, err
	}
	lease := &Lease{handle: handle, current: readLease(handle)}
	lease.cleanup = runtime.AddCleanup(lease, freeLease, handle)
	return lease, nil
}

// Credential is the one to send now; the zero value after a report that ends the lease.
func (l *Lease) Credential() Credential {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// Secret is that of the credential to send now.
func (l *Lease) Secret() string { return l.Credential().secret }

// Metadata tells everything about the credential but itself: account, labels, warnings.
func (l *Lease) Metadata() (metadata LeaseMetadata, err error) {
	err = l.with(func(handle *leaseHandle) error {
		text, err := leaseDocument(handle, false)
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(text), &metadata)
	})
	return metadata, err
}

// LeaseMetadata describes a leased credential.
type LeaseMetadata struct {
	// LeaseID and ChainID identify the lease and the upstream call, for logs.
	LeaseID string `json:"leaseId"`
	ChainID string `json:"chainId"`
	// CandidateID is the profile, or the key such as "env:OPENAI_API_KEYS#2".
	CandidateID string `json:"candidateId"`
	// Account is what is known of the account behind the credential.
	Account struct {
		AccountID     string `json:"accountId"`
		Email         string `json:"email"`
		ProjectID     string `json:"projectId"`
		EnterpriseURL string `json:"enterpriseUrl"`
	} `json:"meta"`
	// Probe says that the credential is on trial before the end of its cooldown.
	Probe bool `json:"probe"`
	// Warning is "in_cooldown", "expires_soon" or empty.
	Warning string `json:"warning"`
	// Skipped are the candidates that were passed over.
	Skipped []Attempt `json:"skipped"`
	// SwitchedModel says that the model is another one than before.
	SwitchedModel bool `json:"switchedModel"`
}

// VerdictKind says what to do after a report.
type VerdictKind int

// What to do after a report.
const (
	// Done: the call went well.
	Done VerdictKind = 0
	// Retry: wait Delay and send again with the credential that the lease holds now.
	Retry VerdictKind = 1
	// Exhausted: nothing is left to try.
	Exhausted VerdictKind = 3
)

// Verdict is what follows a report.
type Verdict struct {
	// Kind says what to do.
	Kind VerdictKind
	// Reason of the failure, stable, for example "rate_limit"; empty when done.
	Reason Reason
	// HTTPStatus to answer the own caller with when exhausted.
	HTTPStatus int
	// Retryable says that the same request may succeed later.
	Retryable bool
	// Delay is how long to wait before the retry.
	Delay time.Duration
	// RetryAfter is the time until another try makes sense when exhausted; 0 if that is not known.
	RetryAfter time.Duration
}

// Report tells what came of the call and says what to do next. After a failure it may write the
// store and refresh a token, which cannot be interrupted. A second report after the end is
// [ErrState] with code "lease_finished".
func (l *Lease) Report(outcome Outcome) (verdict Verdict, err error) {
	err = l.with(func(handle *leaseHandle) error {
		verdict, err = reportLease(handle, &outcome)
		if err == nil {
			l.current = readLease(handle)
		}
		return err
	})
	return verdict, err
}

// End is the end of a call for which nothing is left to try.
type End struct {
	// Reason of the last failure.
	Reason Reason `json:"reason"`
	// Retryable says that the same request may succeed later.
	Retryable bool `json:"retryable"`
	// SoonestAvailableAt is when the first credential is available again, in milliseconds since
	// 1970; 0 if that is not known.
	SoonestAvailableAt int64 `json:"soonestAvailableAt"`
	// RetryAfterMs is how long to wait, in milliseconds; 0 if that is not known.
	RetryAfterMs int64 `json:"retryAfterMs"`
	// Advice is "wait", "top_up", "reauth", "retry", "next_model", "fix_request", "compact",
	// "new_session" or "stop".
	Advice string `json:"advice"`
	// HTTPStatus to answer the own caller with.
	HTTPStatus int `json:"httpStatus"`
	// Attempts are what was tried and what was passed over.
	Attempts []Attempt `json:"attempts"`
	// Message is for a person, without secrets.
	Message string `json:"message"`
}

// Attempt is one step of a call.
type Attempt struct {
	CandidateID string `json:"candidateId"`
	Provider    string `json:"provider"`
	Model       string `json:"model"`
	// Outcome is "failed" or "skipped".
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Rule    string `json:"rule"`
	At      int64  `json:"at"`
	Message string `json:"message"`
}

// End tells what was tried, after [Exhausted]; nil before.
func (l *Lease) End() (end *End, err error) {
	err = l.with(func(handle *leaseHandle) error {
		text, err := leaseDocument(handle, true)
		if err != nil || text == "" {
			return err
		}
		return json.Unmarshal([]byte(text), &end)
	})
	return end, err
}

// Close gives the lease back; without a report the credential counts as not used. The second Close
// does nothing. A lease that nobody can reach any more is closed by the garbage collector.
func (l *Lease) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handle != nil {
		l.cleanup.Stop()
		freeLease(l.handle)
		l.handle, l.current = nil, Credential{}
	}
	return nil
}

func (l *Lease) with(call func(*leaseHandle) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handle == nil {
		return ErrClosed
	}
	return call(l.handle)
}

// Reason says why a call failed.
type Reason string

// Reasons of failures. The empty one leaves it to the library to find out.
const (
	RateLimit       Reason = "rate_limit"
	Overloaded      Reason = "overloaded"
	Billing         Reason = "billing"
	Auth            Reason = "auth"
	AuthPermanent   Reason = "auth_permanent"
	TimedOut        Reason = "timeout"
	ServerError     Reason = "server_error"
	Network         Reason = "network"
	Format          Reason = "format"
	ModelNotFound   Reason = "model_not_found"
	SessionExpired  Reason = "session_expired"
	ContextOverflow Reason = "context_overflow"
	Cancelled       Reason = "cancelled"
	Unknown         Reason = "unknown"
)

// Outcome is what came of an upstream call. The zero value is a success.
type Outcome struct {
	// Failed says that the call failed. [OutcomeOf] finds out for HTTP.
	Failed bool
	// Reason of the failure, if the caller knows it.
	Reason Reason
	// Status of the answer; 0 if there was none.
	Status int
	// Transport is a failure below HTTP: "timeout", "connect", "dns", "tls", "reset" or
	// "cancelled".
	Transport string
	// Message is an error text.
	Message string
	// Body of the answer, at best its first 64 KiB.
	Body []byte
	// Code and Type of the provider's error, if the caller has parsed them.
	Code, Type string
	// Header of the answer.
	Header http.Header
}

// Classification is what a failure means.
type Classification struct {
	Reason Reason `json:"reason"`
	// Scope is what the failure says something about: "account", "model", "provider" or "request".
	Scope string `json:"scope"`
	Quota bool   `json:"quota"`
	// RotatesKeys and RotatesProfiles say whether another credential may help.
	RotatesKeys     bool `json:"rotatesKeys"`
	RotatesProfiles bool `json:"rotatesProfiles"`
	// Penalizes says whether the credential has to rest.
	Penalizes    bool   `json:"penalizes"`
	RetryAfterMs int64  `json:"retryAfterMs"`
	RetrySource  string `json:"retrySource"`
	Status       int    `json:"status"`
	Code         string `json:"code"`
	Message      string `json:"message"`
	Rule         string `json:"rule"`
}

// Classify says what a failure means by the settings of the engine, and changes nothing.
func (e *Engine) Classify(provider, model string, outcome Outcome) (found Classification, err error) {
	err = e.with(func(handle *engineHandle) error {
		text, err := classify(handle, provider, model, &outcome)
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(text), &found)
	})
	return found, err
}
