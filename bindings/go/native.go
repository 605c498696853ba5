//go:build cgo

package openclawauth

/*
#include <openclaw_auth.h>

#cgo noescape oca_authorize_packed
#cgo nocallback oca_authorize_packed
#cgo noescape oca_snapshot_secret
#cgo nocallback oca_snapshot_secret
*/
import "C"

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"time"
	"unsafe"
)

type (
	engineHandle   = C.oca_engine
	snapshotHandle = C.oca_snapshot
)

// view borrows a Go string for one call.
func view(s string) C.oca_str {
	if s == "" {
		// Empty is not absent.
		return C.oca_str{ptr: (*C.char)(unsafe.Pointer(&nothing))}
	}
	return C.oca_str{ptr: (*C.char)(unsafe.Pointer(unsafe.StringData(s))), len: C.size_t(len(s))}
}

var (
	absent  C.oca_str
	nothing byte
)

func text(s C.oca_str) string { return C.GoStringN(s.ptr, C.int(s.len)) }

// take copies an owned text and frees it.
func take(owned *C.oca_text) string {
	defer C.oca_text_free(owned)
	return text(C.oca_text_view(owned))
}

// check makes a Go error of a status and frees the error of the library. The slot is passed, not
// its content: operands of one call are evaluated in no fixed order.
func check(status C.oca_status, slot **C.oca_error) error {
	if status == C.OCA_OK {
		return nil
	}
	err := *slot
	defer C.oca_error_free(err)
	return &Error{
		Status:     Status(status),
		Code:       text(C.oca_error_code(err)),
		Message:    text(C.oca_error_message(err)),
		Details:    json.RawMessage(text(C.oca_error_details_json(err))),
		RetryAfter: time.Duration(C.oca_error_retry_after_ms(err)) * time.Millisecond,
	}
}

func openEngine(config *Config) (*engineHandle, error) {
	if C.oca_abi_version() < C.OCA_ABI_VERSION {
		return nil, ErrUnsupported
	}
	options := C.oca_options_new()
	defer C.oca_options_free(options)
	if err := apply(options, config); err != nil {
		return nil, err
	}
	var failure *C.oca_error
	var engine *C.oca_engine
	if err := check(C.oca_engine_open(options, &engine, &failure), &failure); err != nil {
		return nil, err
	}
	return engine, nil
}

// apply moves the settings over.
func apply(options *C.oca_options, config *Config) error {
	var failure *C.oca_error
	settings, err := config.settings()
	if err != nil {
		return err
	}
	if err := check(C.oca_options_set_json(options, view(settings), &failure), &failure); err != nil {
		return err
	}
	switch {
	case config.ConfigText != "":
		err = check(C.oca_options_set_config_text(options, view(config.ConfigText), &failure), &failure)
	case config.ConfigPath != "":
		err = check(C.oca_options_set_config_path(options, view(config.ConfigPath), &failure), &failure)
	default:
		err = check(C.oca_options_set_config_path(options, absent, &failure), &failure)
	}
	if err != nil {
		return err
	}
	if config.StateDir != "" {
		err := check(C.oca_options_set_state_dir(options, view(config.StateDir), &failure), &failure)
		if err != nil {
			return err
		}
	}
	for name, value := range config.Env {
		err := check(C.oca_options_set_env(options, view(name), view(value), &failure), &failure)
		if err != nil {
			return err
		}
	}
	for flag, on := range map[C.uint32_t]bool{
		C.OCA_FLAG_INHERIT_ENV:   !config.NoProcessEnv,
		C.OCA_FLAG_ALLOW_EXEC:    !config.NoExec,
		C.OCA_FLAG_ALLOW_NETWORK: !config.NoNetwork,
		C.OCA_FLAG_READ_ONLY:     config.ReadOnly,
	} {
		err := check(C.oca_options_set_flag(options, flag, C.bool(on), &failure), &failure)
		if err != nil {
			return err
		}
	}
	if config.Registry != nil {
		registry := view(string(config.Registry))
		if err := check(C.oca_options_set_registry(options, registry, &failure), &failure); err != nil {
			return err
		}
	}
	if config.manualClock != 0 {
		now := C.uint64_t(config.manualClock)
		return check(C.oca_options_set_manual_clock(options, now, &failure), &failure)
	}
	return nil
}

func freeEngine(engine *engineHandle) { C.oca_engine_free(engine) }

func reloadEngine(engine *engineHandle) (string, error) {
	var failure *C.oca_error
	var report *C.oca_text
	if err := check(C.oca_engine_reload(engine, &report, &failure), &failure); err != nil {
		return "", err
	}
	return take(report), nil
}

func generationOf(engine *engineHandle) uint64 { return uint64(C.oca_engine_generation(engine)) }

func isDegraded(engine *engineHandle) bool {
	return C.oca_engine_health(engine) != C.OCA_HEALTH_OK
}

func filesChanged(engine *engineHandle) (bool, error) {
	var failure *C.oca_error
	var changed C.bool
	err := check(C.oca_engine_files_changed(engine, &changed, &failure), &failure)
	return bool(changed), err
}

func nextEvent(engine *engineHandle) (string, bool, error) {
	var failure *C.oca_error
	var event *C.oca_text
	err := check(C.oca_engine_next_event(engine, &event, &failure), &failure)
	if err != nil || event == nil {
		return "", false, err
	}
	return take(event), true, nil
}

func advance(engine *engineHandle, ms uint64) error {
	var failure *C.oca_error
	return check(C.oca_engine_clock_advance(engine, C.uint64_t(ms), &failure), &failure)
}

func snapshotOf(engine *engineHandle) *snapshotHandle { return C.oca_engine_snapshot(engine) }

func freeSnapshot(snapshot *snapshotHandle) { C.oca_snapshot_free(snapshot) }

func snapshotGeneration(snapshot *snapshotHandle) uint64 {
	return uint64(C.oca_snapshot_generation(snapshot))
}

func secretAt(snapshot *snapshotHandle, path string) (string, error) {
	var secret C.oca_str
	status := C.oca_snapshot_secret(snapshot, view(path), &secret)
	if status == C.OCA_OK {
		return text(secret), nil
	}
	return "", secretError(status, path)
}

func secretByRef(snapshot *snapshotHandle, reference string) (string, error) {
	var secret C.oca_str
	status := C.oca_snapshot_secret_by_ref(snapshot, view(reference), &secret)
	if status == C.OCA_OK {
		return text(secret), nil
	}
	err := secretError(status, reference)
	if err.Status == StatusNotFound {
		err.Code = "secret_ref_not_in_snapshot"
	}
	return "", err
}

// secretError is for the calls that give a status only; each of them has one code.
func secretError(status C.oca_status, what string) *Error {
	err := &Error{Status: Status(status)}
	switch err.Status {
	case StatusSecret:
		err.Code, err.Message = "secret_inactive", what+": not active"
	case StatusNotFound:
		err.Code, err.Message = "secret_path_unknown", what+": there is no such secret"
	default:
		err.Code, err.Message = "invalid_argument", "the path cannot be read"
	}
	return err
}

func diagnosticsOf(snapshot *snapshotHandle) (string, error) {
	var failure *C.oca_error
	var list *C.oca_text
	err := check(C.oca_snapshot_diagnostics_json(snapshot, &list, &failure), &failure)
	if err != nil {
		return "", err
	}
	return take(list), nil
}

func wantedHeaders(engine *engineHandle) (string, uint64) {
	snapshot := C.oca_engine_snapshot(engine)
	defer C.oca_snapshot_free(snapshot)
	return text(C.oca_snapshot_wanted_headers(snapshot)), uint64(C.oca_snapshot_generation(snapshot))
}

// authorizePacked judges what a packer holds; see oca_authorize_packed.
func authorizePacked(engine *engineHandle, p *packer, out *Decision) {
	var decision C.oca_decision
	decision.struct_size = C.size_t(unsafe.Sizeof(decision))
	view := C.oca_str{
		ptr: (*C.char)(unsafe.Pointer(unsafe.SliceData(p.bytes))), len: C.size_t(len(p.bytes)),
	}
	lens := (*C.uint32_t)(unsafe.SliceData(p.lens))
	// The status says the same as the decision: whatever goes wrong is a refusal.
	C.oca_authorize_packed(engine, C.uint32_t(p.kind), C.uint32_t(p.flags), view, lens,
		C.size_t(len(p.lens)), &decision)
	read(&decision, out)
}

// authorizeNothing judges a request of which nothing is known.
func authorizeNothing(engine *engineHandle, out *Decision) {
	var decision C.oca_decision
	decision.struct_size = C.size_t(unsafe.Sizeof(decision))
	C.oca_authorize(engine, nil, &decision)
	read(&decision, out)
}

// read fills a decision that is zero.
func read(d *C.oca_decision, decision *Decision) {
	decision.Generation = uint64(d.generation)
	if d.allowed == 1 {
		decision.Allowed = true
		decision.Method = methods[d.method&3]
		decision.LocalPeer = d.flags&C.OCA_DECISION_LOCAL_DIRECT != 0
		decision.ClientIP = address(d.client_ip[:])
		decision.PeerIP = address(d.peer_ip[:])
		decision.User = string(inline(d.user[:]))
		return
	}
	decision.HTTPStatus = int(d.http_status)
	decision.WebSocketCloseCode = int(d.ws_close_code)
	decision.Code = text(d.code)
	decision.Reason = text(d.reason)
	decision.Header = string(inline(d.header[:]))
	decision.Challenge = d.flags&C.OCA_DECISION_CHALLENGE != 0
	decision.HideReason = d.flags&C.OCA_DECISION_HIDE_REASON != 0
	decision.Penalty = time.Duration(d.penalty_ms) * time.Millisecond
	decision.RetryAfter = time.Duration(d.retry_after_ms) * time.Millisecond
}

var methods = [4]Method{
	C.OCA_METHOD_NONE:          MethodNone,
	C.OCA_METHOD_TOKEN:         MethodToken,
	C.OCA_METHOD_PASSWORD:      MethodPassword,
	C.OCA_METHOD_TRUSTED_PROXY: MethodTrustedProxy,
}

// inline is the text in an array. C.GoString would send the whole decision to the heap.
func inline(chars []C.char) []byte {
	text := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(chars))), len(chars))
	return text[:max(bytes.IndexByte(text, 0), 0)]
}

// address reads an address as the library writes it. netip.ParseAddr keeps its argument in errors,
// so it would take a copy; the common case does without.
func address(chars []C.char) netip.Addr {
	text := inline(chars)
	if len(text) == 0 {
		return netip.Addr{}
	}
	if bytes.IndexByte(text, ':') >= 0 {
		// What cannot be read is the zero value, which means unknown.
		address, _ := netip.ParseAddr(string(text))
		return address
	}
	var parts [4]byte
	at := 0
	for _, c := range text {
		if c == '.' {
			at++
		} else {
			parts[at&3] = parts[at&3]*10 + c - '0'
		}
	}
	return netip.AddrFrom4(parts)
}
