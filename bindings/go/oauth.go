package openclawauth

import (
	"context"
	"encoding/json"
	"runtime"
	"sync"
	"time"
)

// OAuthOptions say how to sign in. The zero value will do.
type OAuthOptions struct {
	// Agent whose store takes the profile; the default agent if empty.
	Agent string `json:"agent,omitempty"`
	// ProfileID is chosen by the address of the account if empty.
	ProfileID string `json:"profileId,omitempty"`
	// Replace allows to replace a key or a token under the same id.
	Replace bool `json:"replace,omitempty"`
	// TimeoutMs is when the login is given up; 0 for the setting.
	TimeoutMs int64 `json:"timeoutMs,omitempty"`
}

// Login is a login that worked.
type Login struct {
	AgentID   string `json:"agentId"`
	ProfileID string `json:"profileId"`
	Provider  string `json:"provider"`
	Email     string `json:"email"`
	AccountID string `json:"accountId"`
	// ExpiresAt is the end of the access token in milliseconds since 1970.
	ExpiresAt int64  `json:"expiresAt"`
	StorePath string `json:"storePath"`
	// Warnings are codes of what is worth knowing about the tokens.
	Warnings     []string `json:"warnings"`
	DefaultModel string   `json:"defaultModel"`
}

// OAuthFlow is a login under way: show [OAuthFlow.URL] to the person, wait with [OAuthFlow.Wait] or
// let the person paste an address, and hand it to [OAuthFlow.Complete]. For one goroutine at a time.
type OAuthFlow struct {
	mu         sync.Mutex
	handle     *flowHandle
	cleanup    runtime.Cleanup
	url, state string
}

// OAuth starts a login at a provider.
func (e *Engine) OAuth(ctx context.Context, provider string, options OAuthOptions) (*OAuthFlow, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	handle, err := await(ctx, func() (handle *flowHandle, err error) {
		err = e.with(func(engine *engineHandle) error {
			handle, err = beginFlow(engine, provider, string(text))
			return err
		})
		return handle, err
	}, freeFlow)
	if err != nil {
		return nil, err
	}
	flow := &OAuthFlow{handle: handle}
	flow.url, flow.state = flowTexts(handle)
	flow.cleanup = runtime.AddCleanup(flow, freeFlow, handle)
	return flow, nil
}

// URL is the address to open in a browser. It holds no secret.
func (f *OAuthFlow) URL() string { return f.url }

// State tells answers of this login from others.
func (f *OAuthFlow) State() string { return f.state }

// FlowInfo is what a program shows to the person.
type FlowInfo struct {
	Provider    string `json:"provider"`
	Label       string `json:"label"`
	RedirectURI string `json:"redirectUri"`
	// Addresses are listened on; none when only pasting is possible.
	Addresses []string `json:"addresses"`
	// Remote says that the browser is probably on another machine.
	Remote      bool  `json:"remote"`
	RemainingMs int64 `json:"remainingMs"`
	Ended       bool  `json:"ended"`
	// Warnings are given once.
	Warnings []string `json:"warnings"`
}

// Info tells how the login stands.
func (f *OAuthFlow) Info() (info FlowInfo, err error) {
	err = f.with(func(handle *flowHandle) error { return flowDocument(handle, &info, flowInfo, "", 0) })
	return info, err
}

// Wait waits for the browser until ctx or the time of the login ends. The address that it brought
// holds the authorization code; it is for [OAuthFlow.Complete].
func (f *OAuthFlow) Wait(ctx context.Context) (redirect string, err error) {
	for redirect == "" && err == nil {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		err = f.with(func(handle *flowHandle) error {
			redirect, err = callFlow(handle, flowListen, "", 100)
			return err
		})
	}
	return redirect, err
}

// Complete checks the address that arrived or what a person pasted, exchanges the code and stores
// the profile. After a slip of the person (a wrong link) it can be called again. When ctx ends
// first, the exchange goes on by itself.
func (f *OAuthFlow) Complete(ctx context.Context, redirect string) (Login, error) {
	return await(ctx, func() (login Login, err error) {
		err = f.with(func(handle *flowHandle) error {
			return flowDocument(handle, &login, flowComplete, redirect, 0)
		})
		return login, err
	}, func(Login) {})
}

// TokenRequest is a request that the program sends itself.
type TokenRequest struct {
	Method string            `json:"method"`
	URL    string            `json:"url"`
	Header map[string]string `json:"headers"`
	// Body holds the authorization code.
	Body string `json:"body"`
}

// Request is the token request, for programs with an HTTP client of their own; the answer is for
// [OAuthFlow.Accept].
func (f *OAuthFlow) Request(redirect string) (request TokenRequest, err error) {
	err = f.with(func(handle *flowHandle) error {
		return flowDocument(handle, &request, flowRequest, redirect, 0)
	})
	return request, err
}

// Accept takes the answer to [OAuthFlow.Request] and stores the profile.
func (f *OAuthFlow) Accept(status int, body string) (login Login, err error) {
	err = f.with(func(handle *flowHandle) error {
		return flowDocument(handle, &login, flowAccept, body, uint64(status))
	})
	return login, err
}

// Close gives the login up, unless it is complete. The second Close does nothing.
func (f *OAuthFlow) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.handle != nil {
		f.cleanup.Stop()
		freeFlow(f.handle)
		f.handle = nil
	}
	return nil
}

func (f *OAuthFlow) with(call func(*flowHandle) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.handle == nil {
		return ErrClosed
	}
	return call(f.handle)
}

func flowDocument(handle *flowHandle, into any, call flowCall, text string, number uint64) error {
	answer, err := callFlow(handle, call, text, number)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(answer), into)
}

// OAuthToken is an access token. Printing it does not show it.
type OAuthToken struct {
	// ExpiresAt is its end in milliseconds since 1970; 0 if that is not known.
	ExpiresAt int64
	AccountID string
	// Source is "stored", "refreshed", "adopted", "peer" or "external:<program>".
	Source string

	access string
}

// Access is the token itself. Go cannot wipe it: do not keep it, do not log it.
func (t OAuthToken) Access() string { return t.access }

// String shows where the token comes from.
func (t OAuthToken) String() string { return t.Source }

// GoString hides the token too.
func (t OAuthToken) GoString() string { return t.Source }

// OAuthToken is the access token of a profile, refreshed when it would not be valid for minValid
// more, or always with force. When ctx ends first, the refresh goes on by itself.
func (e *Engine) OAuthToken(ctx context.Context, agent, profile string, minValid time.Duration, force bool) (OAuthToken, error) {
	return e.token(ctx, func(handle *engineHandle) (string, error) {
		return oauthToken(handle, agent, profile, minValid.Milliseconds(), force)
	})
}

// OAuthUnauthorized is another access token than the one that the provider has just refused.
func (e *Engine) OAuthUnauthorized(ctx context.Context, agent, profile, refused string) (OAuthToken, error) {
	return e.token(ctx, func(handle *engineHandle) (string, error) {
		return callEngine(handle, callUnauthorized, agent, profile, refused)
	})
}

func (e *Engine) token(ctx context.Context, call func(*engineHandle) (string, error)) (OAuthToken, error) {
	return await(ctx, func() (OAuthToken, error) {
		var found struct {
			Access, AccountID, Source string
			ExpiresAt                 int64
		}
		err := e.with(func(handle *engineHandle) error {
			text, err := call(handle)
			if err != nil {
				return err
			}
			return json.Unmarshal([]byte(text), &found)
		})
		return OAuthToken{found.ExpiresAt, found.AccountID, found.Source, found.Access}, err
	}, func(OAuthToken) {})
}

// OAuthLink links a profile to the login of another program, "codex-cli" or "claude-cli".
func (e *Engine) OAuthLink(ctx context.Context, agent, program string) (Login, error) {
	return await(ctx, func() (login Login, err error) {
		err = e.document(&login, callLink, agent, program)
		return login, err
	}, func(Login) {})
}

// OAuthProviders lists the providers that can be signed in to or refreshed.
func (e *Engine) OAuthProviders() (providers []string, err error) {
	err = e.document(&providers, callProviders)
	return providers, err
}
