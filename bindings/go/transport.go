package openclawauth

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Transport is an [http.RoundTripper] that sends each request with a leased credential, and sends
// it again with the next one when the answer is a rate limit. Other failures are reported, and
// returned as they are. Answers are streamed; of those with status 400 and above the beginning is
// read to find out what they mean.
//
// A request is sent again only if its body can be: it has none, it has GetBody, or its length is
// known and at most ReplayLimit.
type Transport struct {
	// Engine lends the credentials.
	Engine *Engine
	// Request says what for. Its Provider is required, unless RequestFor is set.
	Request LeaseRequest
	// RequestFor says it for each request instead; an empty Provider sends it without a credential.
	RequestFor func(*http.Request) LeaseRequest
	// Base sends; [http.DefaultTransport] if nil.
	Base http.RoundTripper
	// Apply puts the credential into a request. If nil, it becomes the Authorization header with
	// "Bearer", or for API keys of Anthropic and Google the header that they want.
	Apply func(*http.Request, Credential)
	// RetryOn says whether to send again when the engine has another credential. If nil, after rate
	// limits only.
	RetryOn func(Verdict) bool
	// ReplayLimit is the longest body without GetBody that is kept to be sent again; 1 MiB if 0,
	// none if negative.
	ReplayLimit int64
}

// peekLimit is how much of an error body is looked at.
const peekLimit = 64 << 10

// RoundTrip sends a request as [http.RoundTripper] has it. When no credential can be lent, it
// returns the [*Error] and sends nothing.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	request := t.Request
	if t.RequestFor != nil {
		request = t.RequestFor(r)
	}
	if request.Provider == "" && len(request.Models) == 0 {
		return t.base().RoundTrip(r)
	}
	body, err := t.body(r)
	if err != nil {
		return nil, err
	}
	lease, err := t.Engine.Lease(r.Context(), request)
	if err != nil {
		body.drop()
		return nil, err
	}
	defer lease.Close()
	for {
		attempt, err := body.attempt(r)
		if err != nil {
			return nil, err
		}
		t.apply(attempt, lease.Credential())
		response, failure := t.base().RoundTrip(attempt)
		outcome := OutcomeOf(response, failure)
		verdict, err := lease.Report(outcome)
		if err != nil || verdict.Kind != Retry || !body.replayable() || !t.retries(verdict) {
			return response, failure
		}
		drop(response)
		if err := wait(r.Context(), verdict.Delay); err != nil {
			return nil, err
		}
	}
}

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return http.DefaultTransport
}

func (t *Transport) retries(verdict Verdict) bool {
	if t.RetryOn != nil {
		return t.RetryOn(verdict)
	}
	return verdict.Reason == RateLimit
}

func (t *Transport) apply(r *http.Request, credential Credential) {
	if t.Apply != nil {
		t.Apply(r, credential)
		return
	}
	if credential.Secret() == "" {
		return
	}
	if name := keyHeaders[credential.Provider]; name != "" && credential.Kind == CredentialAPIKey {
		r.Header.Set(name, credential.Secret())
		return
	}
	r.Header.Set("Authorization", "Bearer "+credential.Secret())
}

// keyHeaders are where providers want API keys that are no bearer tokens.
var keyHeaders = map[string]string{
	"anthropic": "X-Api-Key",
	"google":    "X-Goog-Api-Key",
}

// replay is the body of a request, perhaps more than once.
type replay struct {
	// first is what the caller gave; nil when it was used.
	first io.ReadCloser
	again func() (io.ReadCloser, error)
}

func (t *Transport) body(r *http.Request) (*replay, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return &replay{again: func() (io.ReadCloser, error) { return r.Body, nil }}, nil
	}
	if r.GetBody != nil {
		return &replay{r.Body, r.GetBody}, nil
	}
	limit := t.ReplayLimit
	if limit == 0 {
		limit = 1 << 20
	}
	if r.ContentLength < 0 || r.ContentLength > limit {
		return &replay{first: r.Body}, nil
	}
	content, err := io.ReadAll(io.LimitReader(r.Body, r.ContentLength+1))
	if err = errors.Join(err, r.Body.Close()); err != nil {
		return nil, err
	}
	again := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	return &replay{again: again}, nil
}

func (b *replay) replayable() bool { return b.again != nil }

// drop closes a body that was not sent.
func (b *replay) drop() {
	if b.first != nil {
		_ = b.first.Close()
	}
}

// attempt is the request with a body of its own; the given one is never changed.
func (b *replay) attempt(r *http.Request) (*http.Request, error) {
	attempt := r.Clone(r.Context())
	if b.first != nil {
		attempt.Body, b.first = b.first, nil
		return attempt, nil
	}
	body, err := b.again()
	attempt.Body = body
	return attempt, err
}

// drop reads a little of an answer that is thrown away, so that its connection can be used again.
func drop(response *http.Response) {
	if response != nil {
		_, _ = io.CopyN(io.Discard, response.Body, peekLimit)
		_ = response.Body.Close()
	}
}

func wait(ctx context.Context, delay time.Duration) error {
	if delay <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// OutcomeOf describes what came of an HTTP request. Of an answer with status 400 and above it reads
// the beginning of the body, which can be read again afterwards.
func OutcomeOf(response *http.Response, err error) Outcome {
	if err != nil || response == nil {
		return Outcome{Failed: true, Transport: transportFailure(err)}
	}
	outcome := Outcome{Status: response.StatusCode, Header: response.Header}
	if response.StatusCode < 400 {
		return outcome
	}
	outcome.Failed = true
	head, err := io.ReadAll(io.LimitReader(response.Body, peekLimit))
	outcome.Body = head
	rest := io.Reader(response.Body)
	if err != nil {
		// Whoever reads on meets the same failure.
		rest = failing{err}
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), response.Body}
	return outcome
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// transportFailure names a failure below HTTP.
func transportFailure(err error) string {
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var certificate x509.CertificateInvalidError
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &dns):
		return "dns"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &record), errors.As(err, &alert), errors.As(err, &authority),
		errors.As(err, &host), errors.As(err, &certificate):
		return "tls"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "reset"
	case err != nil && strings.Contains(err.Error(), "tls:"):
		return "tls"
	}
	return "connect"
}
