//! Functions that only the tests of this library call: feature `test-hooks`, never in a release.
#![expect(
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "the point is a panic that must not get out"
)]

use std::net::IpAddr;

use crate::boundary::{Reason, invalid, read, run};
use crate::error::{oca_error, oca_status};
use crate::host::OwnAddresses;
use crate::options::oca_options;
use crate::text::oca_str;

/// Panics inside the fence: of a fallible function when `err` is not NULL, else of an accessor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_test_panic(err: *mut *mut oca_error) -> oca_status {
    const TEXT: &str = "a panic with sk-canary-in-a-panic in its text";
    if err.is_null() {
        // SAFETY: no pointer is used.
        return unsafe { read(oca_status::OCA_OK, |_| panic!("{TEXT}")) };
    }
    // SAFETY: the caller keeps the contract of the header.
    unsafe { run(err, |_| panic!("{TEXT}")) }
}

/// Replaces the addresses of this host by a list with commas; with `fails` they cannot be found
/// out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_test_set_own_addresses(
    options: *mut oca_options,
    list: oca_str,
    fails: bool,
    err: *mut *mut oca_error,
) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        run(err, |call| {
            let options = call.borrow_mut(options, "options")?;
            let list = call.text(list, "list")?.unwrap_or_default();
            let addresses: Option<Vec<IpAddr>> = list
                .split(',')
                .filter(|text| !text.is_empty())
                .map(|text| text.parse().ok())
                .collect();
            let addresses = addresses.ok_or_else(|| invalid("list", Reason::UnknownValue))?;
            options.own_addresses = Some(OwnAddresses((!fails).then_some(addresses)));
            Ok(())
        })
    }
}
