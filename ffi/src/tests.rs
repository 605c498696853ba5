//! Checks that only Rust can make; the programs in `tests/c` use the interface as C programs do.

use std::ffi::CStr;
use std::mem::zeroed;
use std::ptr;

use crate::access::*;
use crate::engine::*;
use crate::error::*;
use crate::lease::*;
use crate::oauth::*;
use crate::options::*;
use crate::snapshot::*;
use crate::text::*;
use crate::version::*;

const HEADER: &str = include_str!("../../include/openclaw_auth.h");

/// Names and values of a release never change; new ones are added.
#[test]
fn constants_keep_their_values() {
    for (name, value) in [
        ("OCA_USER_SIZE", 520),
        ("OCA_IP_SIZE", 48),
        ("OCA_HEADER_NAME_SIZE", 136),
        ("OCA_CHECK_OK", 0),
        ("OCA_CHECK_EXPIRED", 1),
        ("OCA_CHECK_EXPIRING", 2),
        ("OCA_CONNECTION_HTTP", 0),
        ("OCA_CONNECTION_WEBSOCKET", 1),
        ("OCA_REQUEST_TLS", 1),
        ("OCA_REQUEST_FOLDED", 2),
        ("OCA_DECISION_LOCAL_DIRECT", 1),
        ("OCA_DECISION_CHALLENGE", 2),
        ("OCA_DECISION_HIDE_REASON", 4),
        ("OCA_METHOD_NONE", 0),
        ("OCA_METHOD_TOKEN", 1),
        ("OCA_METHOD_PASSWORD", 2),
        ("OCA_METHOD_TRUSTED_PROXY", 3),
        ("OCA_HEALTH_OK", 0),
        ("OCA_HEALTH_DEGRADED", 1),
        ("OCA_LEASE_NO_REFRESH", 4),
        ("OCA_LEASE_NO_ENV", 8),
        ("OCA_LEASE_NEW_SESSION", 16),
        ("OCA_LEASE_STATE_ISSUED", 1),
        ("OCA_LEASE_STATE_SETTLED", 3),
        ("OCA_CREDENTIAL_API_KEY", 1),
        ("OCA_CREDENTIAL_TOKEN", 2),
        ("OCA_CREDENTIAL_OAUTH", 3),
        ("OCA_CREDENTIAL_AWS_SDK", 4),
        ("OCA_CREDENTIAL_NONE", 5),
        ("OCA_VERDICT_DONE", 0),
        ("OCA_VERDICT_RETRY", 1),
        ("OCA_VERDICT_EXHAUSTED", 3),
        ("OCA_FLAG_INHERIT_ENV", 1),
        ("OCA_FLAG_ALLOW_EXEC", 2),
        ("OCA_FLAG_ALLOW_NETWORK", 4),
        ("OCA_FLAG_READ_ONLY", 8),
        ("OCA_OUTCOME_OK", 0),
        ("OCA_OUTCOME_CLASSIFY", 1),
        ("OCA_OUTCOME_RATE_LIMIT", 2),
        ("OCA_OUTCOME_OVERLOADED", 3),
        ("OCA_OUTCOME_BILLING", 4),
        ("OCA_OUTCOME_AUTH", 5),
        ("OCA_OUTCOME_AUTH_PERMANENT", 6),
        ("OCA_OUTCOME_TIMEOUT", 7),
        ("OCA_OUTCOME_SERVER_ERROR", 8),
        ("OCA_OUTCOME_NETWORK", 9),
        ("OCA_OUTCOME_FORMAT", 10),
        ("OCA_OUTCOME_MODEL_NOT_FOUND", 11),
        ("OCA_OUTCOME_SESSION_EXPIRED", 12),
        ("OCA_OUTCOME_CONTEXT_OVERFLOW", 13),
        ("OCA_OUTCOME_CANCELLED", 14),
        ("OCA_OUTCOME_UNKNOWN", 15),
        ("OCA_TRANSPORT_NONE", 0),
        ("OCA_TRANSPORT_TIMEOUT", 1),
        ("OCA_TRANSPORT_CONNECT", 2),
        ("OCA_TRANSPORT_DNS", 3),
        ("OCA_TRANSPORT_TLS", 4),
        ("OCA_TRANSPORT_RESET", 5),
        ("OCA_TRANSPORT_CANCELLED", 6),
        ("OCA_ABI_VERSION", 1),
    ] {
        let line = format!("#define {name} {value}\n");
        assert!(HEADER.contains(&line), "{line}");
    }
    for (name, value) in [
        ("OCA_OK", 0),
        ("OCA_ERR_INVALID_ARGUMENT", 1),
        ("OCA_ERR_CONFIG", 2),
        ("OCA_ERR_SECRET", 3),
        ("OCA_ERR_NOT_FOUND", 4),
        ("OCA_ERR_NO_CREDENTIAL", 5),
        ("OCA_ERR_UNAVAILABLE", 6),
        ("OCA_ERR_OAUTH", 7),
        ("OCA_ERR_NETWORK", 8),
        ("OCA_ERR_TIMEOUT", 9),
        ("OCA_ERR_IO", 10),
        ("OCA_ERR_STORE", 11),
        ("OCA_ERR_WOULD_BLOCK", 12),
        ("OCA_ERR_BUFFER_TOO_SMALL", 13),
        ("OCA_ERR_UNSUPPORTED", 14),
        ("OCA_ERR_STATE", 15),
        ("OCA_ERR_PANIC", 99),
    ] {
        assert!(HEADER.contains(&format!("  {name} = {value},\n")), "{name}");
        assert_eq!(text(oca_status_name(value)), name);
    }
    assert_eq!(text(oca_status_name(-1)), "OCA_ERR_UNKNOWN");
}

#[test]
fn versions_agree() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(text(oca_version()), version);
    assert!(HEADER.contains(&format!("#define OCA_VERSION_STRING \"{version}\"\n")));
    let parts: Vec<&str> = version.split('.').collect();
    for (name, part) in ["MAJOR", "MINOR", "PATCH"].iter().zip(parts) {
        assert!(HEADER.contains(&format!("#define OCA_VERSION_{name} {part}\n")));
    }
    let info: serde_json::Value = serde_json::from_str(&text(oca_build_info())).unwrap();
    assert_eq!(info["version"], version);
    assert!(info["target"].as_str().unwrap().contains('-'), "{info}");
}

#[test]
fn handles_cross_threads_as_the_header_says() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    shared::<oca_engine>();
    shared::<auth::Snapshot>();
    shared::<oca_error>();
    shared::<oca_text>();
    moved::<oca_options>();
    moved::<oca_lease>();
    moved::<oca_oauth_flow>();
}

fn text(view: oca_str) -> String {
    // SAFETY: texts of the library have a NUL behind them.
    let text = unsafe { CStr::from_ptr(view.ptr) };
    assert_eq!(text.count_bytes(), view.len);
    text.to_str().unwrap().to_owned()
}

fn view(text: &str) -> oca_str {
    oca_str {
        ptr: text.as_ptr().cast(),
        len: text.len(),
    }
}

fn open(config: &str) -> *mut oca_engine {
    let (mut engine, mut err) = (ptr::null_mut(), ptr::null_mut());
    let options = oca_options_new();
    // SAFETY: a live handle, and views of live texts.
    let status = unsafe { oca_options_set_config_text(options, view(config), &raw mut err) };
    assert_eq!(status, oca_status::OCA_OK);
    // SAFETY: as above.
    let status = unsafe { oca_engine_open(options, &raw mut engine, &raw mut err) };
    assert_eq!(status, oca_status::OCA_OK);
    // SAFETY: not freed before.
    unsafe { oca_options_free(options) };
    engine
}

const CONFIG: &str = "{ models: { providers: { p: { apiKey: 'sk-canary-0123' } } }, \
    gateway: { trustedProxies: ['10.0.0.0/8'], auth: { mode: 'trusted-proxy', \
    trustedProxy: { userHeader: 'x-forwarded-user', allowUsers: ['nick@example.com'] } } } }";

const LINES: [(&str, &str); 12] = [
    ("Host", "claw.example.com"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ("Accept", "text/html"),
    ("Accept-Language", "en"),
    ("Accept-Encoding", "gzip, br"),
    ("Cookie", "session=0123456789abcdef"),
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "claw.example.com"),
    ("X-Forwarded-User", "nick@example.com"),
    ("X-Request-Id", "0123456789abcdef"),
    ("Connection", "keep-alive"),
];

#[test]
fn hot_calls_allocate_nothing() {
    let engine = open(CONFIG);
    let lines = LINES.map(|(name, value)| oca_header {
        name: view(name),
        value: view(value),
    });
    // SAFETY: zeros are valid for structs of numbers and raw pointers.
    let mut request: oca_request = unsafe { zeroed() };
    request.struct_size = size_of::<oca_request>();
    request.remote = view("10.1.2.3:4711");
    request.headers = lines.as_ptr();
    request.headers_len = lines.len();
    let mut packed = String::from("10.1.2.3:4711");
    let mut lens = vec![13, u32::MAX, u32::MAX, u32::MAX];
    for part in LINES.iter().flat_map(|(name, value)| [name, value]) {
        packed += part;
        lens.push(u32::try_from(part.len()).unwrap());
    }
    // SAFETY: as above.
    let mut decision: oca_decision = unsafe { zeroed() };
    decision.struct_size = size_of::<oca_decision>();
    let mut address = [0; OCA_IP_SIZE];
    let (mut len, mut secret) = (0, oca_str::ABSENT);

    let mut once = || {
        // SAFETY: every pointer leads to a live thing of its type.
        let status = unsafe { oca_authorize(engine, &raw const request, &raw mut decision) };
        assert_eq!((status, decision.allowed), (oca_status::OCA_OK, 1));
        decision.allowed = 0;
        // SAFETY: as above.
        let status = unsafe {
            let (bytes, count) = (view(&packed), lens.len());
            oca_authorize_packed(engine, 0, 0, bytes, lens.as_ptr(), count, &raw mut decision)
        };
        assert_eq!((status, decision.allowed), (oca_status::OCA_OK, 1));
        // SAFETY: as above.
        let status = unsafe {
            let (buf, cap) = (address.as_mut_ptr(), address.len());
            oca_client_ip(engine, &raw const request, buf, cap, &raw mut len)
        };
        assert_eq!((status, len), (oca_status::OCA_OK, 11));
        // SAFETY: as above.
        assert!(unsafe { oca_is_trusted_proxy(engine, view("10.9.9.9")) });
        // SAFETY: as above.
        let snapshot = unsafe { oca_engine_snapshot(engine) };
        let path = view("models.providers.p.apiKey");
        // SAFETY: as above.
        let status = unsafe { oca_snapshot_secret(snapshot, path, &raw mut secret) };
        assert_eq!((status, secret.len), (oca_status::OCA_OK, 14));
        // SAFETY: given back once.
        unsafe { oca_snapshot_free(snapshot) };
    };
    // The first call on a thread may set its thread-local state up.
    once();
    let counted = allocation_counter::measure(once);
    assert_eq!(counted.count_total, 0);

    // SAFETY: still within the decision.
    let user = unsafe { CStr::from_ptr(decision.user.as_ptr()) };
    assert_eq!(user.to_bytes(), b"nick@example.com");
    assert_eq!(decision.method, OCA_METHOD_TRUSTED_PROXY);
    // SAFETY: given back once.
    unsafe { oca_engine_free(engine) };
}

#[test]
fn a_longer_struct_is_taken_when_the_rest_is_zero() {
    #[repr(C)]
    struct Longer {
        request: oca_request,
        more: u64,
    }
    let engine = open(CONFIG);
    // SAFETY: zeros are valid for structs of numbers and raw pointers.
    let mut longer: Longer = unsafe { zeroed() };
    longer.request.struct_size = size_of::<Longer>();
    // SAFETY: as above.
    let mut decision: oca_decision = unsafe { zeroed() };
    decision.struct_size = size_of::<oca_decision>();
    for (more, status, code) in [
        (0, oca_status::OCA_OK, "trusted_proxy_untrusted_source"),
        (1, oca_status::OCA_ERR_INVALID_ARGUMENT, "invalid_argument"),
    ] {
        longer.more = more;
        let request: *const Longer = &raw const longer;
        // SAFETY: live things; the request is as long as it says.
        let found = unsafe { oca_authorize(engine, request.cast(), &raw mut decision) };
        assert_eq!((found, decision.allowed), (status, 0));
        assert_eq!(text(decision.code), code);
    }
    // SAFETY: given back once.
    unsafe { oca_engine_free(engine) };
}
