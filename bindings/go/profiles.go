package openclawauth

import (
	"context"
	"encoding/json"
)

// Profiles is what an agent has stored, and its keys; secrets are masked.
type Profiles struct {
	AgentID   string `json:"agentId"`
	StorePath string `json:"authStorePath"`
	// Degraded says that the store could not be read or written lately.
	Degraded bool      `json:"degraded"`
	Profiles []Profile `json:"profiles"`
	// Rejected are the entries that cannot be understood.
	Rejected []struct {
		ID     string `json:"id"`
		Reason string `json:"reason"`
	} `json:"rejected"`
	// Env are the keys of the environment and the configuration.
	Env []struct {
		ID       string         `json:"id"`
		Provider string         `json:"provider"`
		Kind     CredentialKind `json:"kind"`
		Masked   string         `json:"masked"`
		Source   string         `json:"source"`
	} `json:"env"`
}

// Profile is a stored credential. Times are in milliseconds since 1970; 0 stands for none.
type Profile struct {
	ID       string         `json:"id"`
	Provider string         `json:"provider"`
	Type     CredentialKind `json:"type"`
	Masked   string         `json:"masked"`
	Label    string         `json:"label"`
	// Eligible says whether it may be used at all; ReasonCode says why not.
	Eligible   bool   `json:"eligible"`
	ReasonCode string `json:"reasonCode"`
	ExpiresAt  int64  `json:"expiresAt"`
	// UnavailableUntil is the end of its cooldown; Reason is what it rests for.
	UnavailableUntil int64  `json:"unavailableUntil"`
	Reason           Reason `json:"reason"`
	ErrorCount       int    `json:"errorCount"`
	LastUsed         int64  `json:"lastUsed"`
	LastGood         bool   `json:"lastGood"`
}

// Order is the order in which the profiles of a provider are tried.
type Order struct {
	AgentID  string `json:"agentId"`
	Provider string `json:"provider"`
	// Stored is the order that somebody has set; nil if nobody has.
	Stored []string `json:"order"`
	// Effective is the one that counts now.
	Effective []string `json:"effective"`
	// Source says where it comes from.
	Source string `json:"source"`
}

// NewCredential is a key or a token to be stored: Type is [CredentialAPIKey] with Key or KeyRef, or
// [CredentialToken] with Token or TokenRef. References are written "source:provider:id".
type NewCredential struct {
	Type        CredentialKind `json:"type"`
	Provider    string         `json:"provider"`
	Key         string         `json:"key,omitempty"`
	KeyRef      string         `json:"keyRef,omitempty"`
	Token       string         `json:"token,omitempty"`
	TokenRef    string         `json:"tokenRef,omitempty"`
	Expires     int64          `json:"expires,omitempty"`
	Email       string         `json:"email,omitempty"`
	DisplayName string         `json:"displayName,omitempty"`
	// Replace allows to replace what has the same id.
	Replace bool `json:"replace,omitempty"`
}

// Profiles lists what an agent (empty: the default agent) has for a provider (empty: for all).
func (e *Engine) Profiles(agent, provider string) (found Profiles, err error) {
	err = e.document(&found, callProfiles, agent, provider)
	return found, err
}

// ProfileOrder is the order in which a lease would try the profiles of a provider now. model and
// prefer, a profile to put first, may be empty.
func (e *Engine) ProfileOrder(agent, provider, model, prefer string) (order Order, err error) {
	err = e.document(&order, callOrder, agent, provider, model, prefer)
	return order, err
}

// Eligibility says whether a profile may be used for a provider: "ok", or why not.
func (e *Engine) Eligibility(agent, profile, provider string) (word string, err error) {
	err = e.with(func(handle *engineHandle) error {
		word, err = eligibility(handle, agent, profile, provider)
		return err
	})
	return word, err
}

// Key is a credential beyond the stored profiles.
type Key struct {
	ID   string         `json:"id"`
	Kind CredentialKind `json:"kind"`
}

// Keys lists the keys of a provider from environment and configuration, without their values.
func (e *Engine) Keys(provider string) (keys []Key, err error) {
	err = e.document(&keys, callKeys, provider)
	return keys, err
}

// PutProfile stores a key or a token under an id and ends its cooldowns. It blocks for the lock of
// the store.
func (e *Engine) PutProfile(ctx context.Context, agent, id string, credential NewCredential) error {
	text, err := json.Marshal(credential)
	if err != nil {
		return err
	}
	return e.change(ctx, callPut, agent, id, string(text))
}

// RemoveProfile removes a profile with its usage and its place in the orders.
func (e *Engine) RemoveProfile(ctx context.Context, agent, id string) error {
	return e.change(ctx, callRemove, agent, id)
}

// SetProfileOrder stores the order of a provider; nil takes it away.
func (e *Engine) SetProfileOrder(ctx context.Context, agent, provider string, ids []string) error {
	text := ""
	if ids != nil {
		list, err := json.Marshal(ids)
		if err != nil {
			return err
		}
		text = string(list)
	}
	return e.change(ctx, callSetOrder, agent, provider, text)
}

// ClearCooldown ends the windows of a profile (empty: of all). what is "cooldown", "disabled",
// "models", or empty for all of them.
func (e *Engine) ClearCooldown(ctx context.Context, agent, id, what string) error {
	return e.change(ctx, callClear, agent, id, what)
}

// Flush writes the use of credentials that waits for the store. Call it before the program ends.
// It reports whether nothing is left.
func (e *Engine) Flush() (done bool, err error) {
	err = e.with(func(handle *engineHandle) error {
		done, err = flush(handle)
		return err
	})
	return done, err
}

// Redact masks every secret in a text that the engine knows.
func (e *Engine) Redact(text string) (shown string, err error) {
	err = e.with(func(handle *engineHandle) error {
		shown, err = callEngine(handle, callRedact, text)
		return err
	})
	return shown, err
}

// SetRegistry exchanges what the program has registered; see [Config.Registry]. It counts from the
// next reload.
func (e *Engine) SetRegistry(registry json.RawMessage) error {
	return e.change(context.Background(), callSetRegistry, string(registry))
}

// document reads the JSON of a call.
func (e *Engine) document(into any, call engineCall, args ...string) error {
	return e.with(func(handle *engineHandle) error {
		text, err := callEngine(handle, call, args...)
		if err != nil || text == "" {
			return err
		}
		return json.Unmarshal([]byte(text), into)
	})
}

// change runs a call that may block.
func (e *Engine) change(ctx context.Context, call engineCall, args ...string) error {
	_, err := await(ctx, func() (struct{}, error) {
		return struct{}{}, e.document(nil, call, args...)
	}, func(struct{}) {})
	e.log()
	return err
}
