package openclawauth

import (
	"encoding/json"
	"time"
)

// Status is the class of a failure. The numbers are those of oca_status in openclaw_auth.h.
type Status int32

// Classes of failures.
const (
	StatusInvalidArgument Status = 1
	StatusConfig          Status = 2
	StatusSecret          Status = 3
	StatusNotFound        Status = 4
	StatusNoCredential    Status = 5
	StatusUnavailable     Status = 6
	StatusOAuth           Status = 7
	StatusNetwork         Status = 8
	StatusTimeout         Status = 9
	StatusIO              Status = 10
	StatusStore           Status = 11
	StatusWouldBlock      Status = 12
	StatusUnsupported     Status = 14
	StatusState           Status = 15
	StatusPanic           Status = 99
)

// Sentinels for [errors.Is]. One with a code matches that code, one without matches its class.
var (
	// ErrConfig is a configuration that cannot be read or is invalid.
	ErrConfig = &Error{Status: StatusConfig, Message: "the configuration cannot be used"}
	// ErrSecret is a secret that cannot be resolved or is not active.
	ErrSecret = &Error{Status: StatusSecret, Message: "a secret cannot be used"}
	// ErrNotFound is a path or reference that does not exist.
	ErrNotFound = &Error{Status: StatusNotFound, Message: "not found"}
	// ErrNoCredentials is a provider for which there is no usable credential: somebody has to log in.
	ErrNoCredentials = &Error{Status: StatusNoCredential, Message: "no credential"}
	// ErrAllUnavailable says that all credentials have to rest, for [Error.RetryAfter].
	ErrAllUnavailable = &Error{Status: StatusUnavailable, Message: "no credential can be used now"}
	// ErrOAuth is a login or a refresh that was refused.
	ErrOAuth = &Error{Status: StatusOAuth, Message: "the login was refused"}
	// ErrNetwork is a provider that cannot be reached.
	ErrNetwork = &Error{Status: StatusNetwork, Message: "the provider cannot be reached"}
	// ErrStore is a store of profiles that is damaged.
	ErrStore = &Error{Status: StatusStore, Message: "the profile store is damaged"}
	// ErrState is a lease or a login that is past that.
	ErrState = &Error{Status: StatusState, Message: "it is past that"}
	// ErrUnsupported is something that this build cannot do.
	ErrUnsupported = &Error{Status: StatusUnsupported, Message: "not supported by this build"}
	// ErrClosed is the use of an engine or snapshot after Close.
	ErrClosed = &Error{Status: StatusState, Code: "closed", Message: "used after Close"}
)

// Error is a failure with a stable code. Compare with [errors.Is] and the sentinels of this
// package, or take the code with [errors.As]. It never holds a secret.
type Error struct {
	// Status is the class of the failure.
	Status Status
	// Code is stable: docs/errors.md of the project lists all.
	Code string
	// Message is one sentence for people; it may change.
	Message string
	// Details is a JSON object with what the code refers to; it may be nil.
	Details json.RawMessage
	// RetryAfter is the time after which a new try can succeed; 0 if waiting does not help.
	RetryAfter time.Duration
}

// Error returns the code and the message.
func (e *Error) Error() string {
	if e.Code == "" {
		return "openclawauth: " + e.Message
	}
	return "openclawauth: " + e.Code + ": " + e.Message
}

// Is reports whether target is an [*Error] with the same code or, if it has none, of the same class.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	if !ok {
		return false
	}
	if other.Code != "" {
		return e.Code == other.Code
	}
	return e.Status == other.Status
}

// Timeout reports whether a time limit passed, as [net.Error] has it.
func (e *Error) Timeout() bool { return e.Status == StatusTimeout }
