package openclawauth

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

type contextKey struct{}

// DecisionFrom returns the decision that let a request in through [Engine.Middleware].
func DecisionFrom(ctx context.Context) (Decision, bool) {
	decision, ok := ctx.Value(contextKey{}).(Decision)
	return decision, ok
}

// Middleware lets requests through to next that may come in, with the decision in their context,
// and answers the others. Put it outermost: whatever rewrites addresses or headers comes after.
func (e *Engine) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		decision := e.Authorize(r)
		if !decision.Allowed {
			decision.Refuse(w, r)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, decision)))
	})
}

// Refuse answers a request that may not come in: after the penalty, with the status, a JSON body
// with code and reason unless they are to be hidden, and the headers that belong to it.
func (d *Decision) Refuse(w http.ResponseWriter, r *http.Request) {
	if d.Penalty > 0 {
		timer := time.NewTimer(d.Penalty)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if d.Challenge {
		challenge := `Bearer realm="openclaw"`
		if strings.HasSuffix(d.Code, "_mismatch") {
			challenge += `, error="invalid_token"`
		}
		header.Set("WWW-Authenticate", challenge)
	}
	if d.RetryAfter > 0 {
		seconds := (d.RetryAfter + time.Second - 1) / time.Second
		header.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	status := d.HTTPStatus
	if status < 400 {
		status = http.StatusForbidden
	}
	type body struct {
		Message string `json:"message"`
		Code    string `json:"code,omitempty"`
		Header  string `json:"header,omitempty"`
		Reason  string `json:"reason,omitempty"`
	}
	answer := body{http.StatusText(status), d.Code, d.Header, d.Reason}
	if d.HideReason {
		answer = body{Message: "Unauthorized"}
	}
	w.WriteHeader(status)
	// A client that is gone cannot be told.
	_ = json.NewEncoder(w).Encode(map[string]body{"error": answer})
}
