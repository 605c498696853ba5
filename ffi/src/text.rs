//! Texts: borrowed views and owned texts.

use std::ffi::c_char;
use std::ptr;

use auth::{CText, SecretText};

use crate::boundary::{free, read};

/// A borrowed text: UTF-8 bytes and their number. Absent is {NULL, 0}; empty has a pointer.
/// oca_cstr() makes one from a C string.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct oca_str {
    /// First byte, or NULL.
    pub ptr: *const c_char,
    /// Number of bytes, without the NUL behind texts of the library.
    pub len: usize,
}

impl oca_str {
    pub(crate) const ABSENT: Self = Self {
        ptr: ptr::null(),
        len: 0,
    };

    /// A view of a text that lives in a handle.
    pub(crate) fn of(text: &CText) -> Self {
        let text = text.as_c_str();
        Self {
            ptr: text.as_ptr(),
            len: text.count_bytes(),
        }
    }

    /// A view of a secret that lives in a handle.
    pub(crate) fn of_secret(secret: &SecretText) -> Self {
        Self {
            ptr: secret.expose_with_nul().as_ptr().cast(),
            len: secret.len(),
        }
    }
}

/// A text that the caller owns. Free it with oca_text_free(), which also wipes it.
pub struct oca_text(SecretText);

impl oca_text {
    pub(crate) fn new(text: &str) -> Self {
        Self(SecretText::new(text.to_owned()))
    }

    pub(crate) fn from_secret(secret: SecretText) -> Self {
        Self(secret)
    }
}

/// The bytes of an owned text; absent for NULL. Lives as long as the text.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_text_view(text: *const oca_text) -> oca_str {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(oca_str::ABSENT, |call| {
            call.peek(text)
                .map_or(oca_str::ABSENT, |text| oca_str::of_secret(&text.0))
        })
    }
}

/// Wipes and frees a text. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_text_free(text: *mut oca_text) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { free(text) }
}
