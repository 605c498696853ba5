//! Which library this is.

use std::ffi::CStr;

use crate::boundary::fixed;
use crate::text::oca_str;

/// Version of the C interface. It grows whenever something is added.
pub const OCA_ABI_VERSION: u32 = 1;

/// Version of the C interface of the loaded library. A program needs at least the
/// OCA_ABI_VERSION that it was compiled with.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn oca_abi_version() -> u32 {
    OCA_ABI_VERSION
}

/// Version of the library, for example "0.1.0". Static.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn oca_version() -> oca_str {
    fixed(VERSION)
}

/// What the library was built from, as a JSON object: version, target, debug, features. Static.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn oca_build_info() -> oca_str {
    fixed(BUILD_INFO)
}

const VERSION: &CStr = nul(concat!(env!("CARGO_PKG_VERSION"), "\0"));

const BUILD_INFO: &CStr = nul(concat!(
    "{\"schemaVersion\":1,\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\",\"target\":\"",
    env!("OCA_TARGET"),
    "\",\"profile\":\"",
    env!("OCA_PROFILE"),
    "\",\"features\":[",
    env!("OCA_FEATURES"),
    "]}\0"
));

const fn nul(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    }
}
