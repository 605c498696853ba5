//! The border: panics stop here, arguments are checked here, and almost all `unsafe` is here.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::slice;
use std::sync::Arc;

use auth::{Code, Error, SecretText};
use serde_json::{Map, Value};

use crate::error::{oca_error, oca_status};
use crate::text::{oca_str, oca_text};

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why an argument is refused: the `reason` of `invalid_argument`.
#[derive(Clone, Copy)]
pub(crate) enum Reason {
    Absent,
    EmbeddedNul,
    NoStructSize,
    NotUtf8,
    Null,
    TooLong,
    UnknownField,
    UnknownValue,
}

impl Reason {
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Absent => ("absent", "is required"),
            Self::EmbeddedNul => ("embedded_nul", "holds a NUL byte"),
            Self::NoStructSize => ("no_struct_size", "has no usable struct_size"),
            Self::NotUtf8 => ("not_utf8", "is not UTF-8"),
            Self::Null => ("null", "is NULL"),
            Self::TooLong => ("too_long", "is too long"),
            Self::UnknownField => (
                "unknown_field",
                "has a field that this library does not know",
            ),
            Self::UnknownValue => (
                "unknown_value",
                "has a value that this library does not know",
            ),
        }
    }
}

/// The error for an argument.
pub(crate) fn invalid(argument: &str, reason: Reason) -> Error {
    let (word, text) = reason.texts();
    Error::new(
        Code::InvalidArgument,
        format!("argument `{argument}` {text}"),
    )
    .with("argument", argument)
    .with("reason", word)
}

/// Stands for the promise of the caller of an exported function: every pointer argument is NULL or
/// points to what its type says, and stays so for the whole call.
///
/// Only [`run`] and [`read`] make one, so that each exported function has one `unsafe` block, and
/// what it borrows cannot outlive the call.
#[derive(Clone, Copy)]
pub(crate) struct Call<'c>(PhantomData<&'c ()>);

/// Runs the body of a fallible function: stops panics and fills the error slot.
///
/// # Safety
///
/// The pointer arguments that the body uses keep the contract of the header, and so does `slot`.
pub(crate) unsafe fn run(
    slot: *mut *mut oca_error,
    body: impl for<'c> FnOnce(Call<'c>) -> Result<()>,
) -> oca_status {
    let failure = fenced(|| body(Call(PhantomData)))
        .unwrap_or_else(|| Err(panicked()))
        .err();
    let failure = failure.map(|error| Box::new(oca_error::new(&error)));
    let status = failure
        .as_ref()
        .map_or(oca_status::OCA_OK, |error| error.status());
    if !slot.is_null() {
        // SAFETY: not NULL, so by the contract it can take one pointer.
        unsafe { slot.write(failure.map_or(ptr::null_mut(), Box::into_raw)) };
    }
    status
}

/// Runs the body of a function that cannot fail; after a panic its result is `neutral`.
///
/// # Safety
///
/// The pointer arguments that the body uses keep the contract of the header.
pub(crate) unsafe fn read<T>(neutral: T, body: impl for<'c> FnOnce(Call<'c>) -> T) -> T {
    fenced(|| body(Call(PhantomData))).unwrap_or(neutral)
}

/// The result, or `None` after a panic.
pub(crate) fn fenced<T>(body: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => Some(result),
        Err(payload) => {
            // Dropping it could run code that panics again.
            std::mem::forget(payload);
            None
        }
    }
}

/// The error that a panic becomes. Its text is not shown: nobody checked it for secrets.
fn panicked() -> Error {
    Error::new(
        Code::Panic,
        "a defect inside the library was caught; the engine stays usable",
    )
}

impl<'c> Call<'c> {
    /// What a handle points to.
    pub(crate) fn borrow<T>(self, handle: *const T, name: &str) -> Result<&'c T> {
        self.peek(handle).ok_or_else(|| invalid(name, Reason::Null))
    }

    /// The same where NULL is allowed.
    pub(crate) fn peek<T>(self, handle: *const T) -> Option<&'c T> {
        // SAFETY: the promise of `self`: NULL or valid for the call.
        unsafe { handle.as_ref() }
    }

    /// Another share of what a handle points to.
    pub(crate) fn share<T>(self, handle: *const T, name: &str) -> Result<Arc<T>> {
        self.borrow(handle, name)?;
        // SAFETY: not NULL, so a handle that was made by `Arc::into_raw` and is still alive.
        unsafe { Arc::increment_strong_count(handle) };
        // SAFETY: the share that was just counted.
        Ok(unsafe { Arc::from_raw(handle) })
    }

    /// What a handle for exclusive use points to.
    pub(crate) fn borrow_mut<T>(self, handle: *mut T, name: &str) -> Result<&'c mut T> {
        // SAFETY: the promise of `self`: NULL or valid, and used by nobody else during the call.
        unsafe { handle.as_mut() }.ok_or_else(|| invalid(name, Reason::Null))
    }

    /// An output for a handle or a text: NULL until it is filled.
    pub(crate) fn out<T>(self, out: *mut *mut T, name: &str) -> Result<&'c mut *mut T> {
        let out = self.borrow_mut(out, name)?;
        *out = ptr::null_mut();
        Ok(out)
    }

    /// The same for an output that may be left out.
    pub(crate) fn optional_out<T>(self, out: *mut *mut T) -> Option<&'c mut *mut T> {
        // SAFETY: the promise of `self`: NULL or valid for the call.
        let out = unsafe { out.as_mut() }?;
        *out = ptr::null_mut();
        Some(out)
    }

    /// The bytes of a view; `None` when it is absent.
    #[inline]
    pub(crate) fn bytes(self, view: oca_str, name: &str) -> Result<Option<&'c [u8]>> {
        if view.ptr.is_null() {
            return match view.len {
                0 => Ok(None),
                _ => Err(invalid(name, Reason::Null)),
            };
        }
        if isize::try_from(view.len).is_err() {
            return Err(invalid(name, Reason::TooLong));
        }
        // SAFETY: the promise of `self` for a pointer and its length, which fits an object.
        Ok(Some(unsafe {
            slice::from_raw_parts(view.ptr.cast(), view.len)
        }))
    }

    /// The bytes of a view that [`Call::bytes`] has accepted before; absent is empty.
    #[inline]
    pub(crate) fn checked(self, view: oca_str) -> &'c [u8] {
        self.bytes(view, "").ok().flatten().unwrap_or_default()
    }

    /// A text that may be absent.
    pub(crate) fn text(self, view: oca_str, name: &str) -> Result<Option<&'c str>> {
        self.bytes(view, name)?
            .map(|bytes| str::from_utf8(bytes).map_err(|_| invalid(name, Reason::NotUtf8)))
            .transpose()
    }

    /// A text that is required.
    pub(crate) fn need(self, view: oca_str, name: &str) -> Result<&'c str> {
        self.text(view, name)?
            .ok_or_else(|| invalid(name, Reason::Absent))
    }

    /// A required text without NUL bytes: a path or an identifier.
    pub(crate) fn plain(self, view: oca_str, name: &str) -> Result<&'c str> {
        let text = self.need(view, name)?;
        match text.contains('\0') {
            true => Err(invalid(name, Reason::EmbeddedNul)),
            false => Ok(text),
        }
    }

    /// An array; NULL is allowed for an empty one.
    pub(crate) fn array<T>(self, first: *const T, len: usize, name: &str) -> Result<&'c [T]> {
        if first.is_null() {
            return match len {
                0 => Ok(&[]),
                _ => Err(invalid(name, Reason::Null)),
            };
        }
        let size = len.checked_mul(size_of::<T>());
        if size.is_none_or(|size| isize::try_from(size).is_err()) {
            return Err(invalid(name, Reason::TooLong));
        }
        // SAFETY: the promise of `self` for a pointer and its length, which fits an object.
        Ok(unsafe { slice::from_raw_parts(first, len) })
    }

    /// A buffer to write into; NULL is allowed for an empty one.
    pub(crate) fn buffer(self, buf: *mut c_char, cap: usize, name: &str) -> Result<&'c mut [u8]> {
        if buf.is_null() {
            return match cap {
                0 => Ok(&mut []),
                _ => Err(invalid(name, Reason::Null)),
            };
        }
        // No answer is longer, and what lies behind is not touched.
        let cap = cap.min(LARGEST_STRUCT);
        // SAFETY: the promise of `self` for a pointer and its size; used by nobody else.
        Ok(unsafe { slice::from_raw_parts_mut(buf.cast(), cap) })
    }

    /// An output struct of the caller, with its size checked.
    pub(crate) fn place<T: Grows>(self, out: *mut T, name: &str) -> Result<Place<'c, T>> {
        // Only the size is looked at: the rest need not have been written yet.
        let size = *self.borrow(out.cast::<usize>().cast_const(), name)?;
        match size < size_of::<T>() {
            true => Err(invalid(name, Reason::NoStructSize)),
            false => Ok(Place(out, PhantomData)),
        }
    }

    /// A struct that can grow: a shorter one is filled up with zeros, a longer one is accepted if
    /// what this library does not know is zero.
    pub(crate) fn grown<T: Grows>(self, given: *const T, name: &str) -> Result<T> {
        if given.is_null() {
            return Err(invalid(name, Reason::Null));
        }
        // SAFETY: the promise of `self`: at least the size field is there.
        let size = unsafe { given.cast::<usize>().read() };
        if !(T::FIRST_SIZE..=LARGEST_STRUCT).contains(&size) {
            return Err(invalid(name, Reason::NoStructSize));
        }
        let bytes = self.array(given.cast::<u8>(), size, name)?;
        let known = size.min(size_of::<T>());
        if bytes.iter().skip(known).any(|byte| *byte != 0) {
            return Err(invalid(name, Reason::UnknownField));
        }
        let mut copy = MaybeUninit::<T>::zeroed();
        // SAFETY: `known` is at most the size of each side, and the copy is a local of its own.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), copy.as_mut_ptr().cast(), known) };
        // SAFETY: by the contract of `Grows`, zeros and whatever a caller wrote are valid.
        Ok(unsafe { copy.assume_init() })
    }
}

/// Where an output struct goes. It is as big as the struct, and nobody else uses it.
pub(crate) struct Place<'c, T>(*mut T, PhantomData<&'c mut T>);

impl<'c, T: Grows> Place<'c, T> {
    pub(crate) fn put(self, value: T) {
        // SAFETY: `Call::place` has checked pointer and size, by the promise of the call.
        unsafe { self.0.write(value) };
    }

    /// Sets it to zeros.
    pub(crate) fn clear(self) -> &'c mut T {
        // SAFETY: `Call::place` has checked pointer and size, by the promise of the call.
        unsafe { self.0.write_bytes(0, 1) };
        // SAFETY: just written, and zeros are valid by the contract of `Grows`.
        unsafe { &mut *self.0 }
    }
}

/// Larger ones are taken for a missing size.
const LARGEST_STRUCT: usize = 4096;

/// A struct of the interface that begins with its size.
///
/// # Safety
///
/// `#[repr(C)]`, the first field is `struct_size: usize`, and every bit pattern is valid: numbers
/// and raw pointers only.
pub(crate) unsafe trait Grows: Copy {
    /// Size of the struct in the first version of the interface.
    const FIRST_SIZE: usize;
}

/// Gives an owned thing to the caller.
pub(crate) fn into_handle<T>(thing: T) -> *mut T {
    Box::into_raw(Box::new(thing))
}

/// Takes an owned thing back and drops it.
///
/// # Safety
///
/// NULL, or from [`into_handle`] and not given back before.
pub(crate) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        fenced(|| {
            // SAFETY: not NULL, so from `into_handle` and given back once.
            drop(unsafe { Box::from_raw(handle) });
        });
    }
}

/// Gives one share of a thing back.
///
/// # Safety
///
/// NULL, or from [`Arc::into_raw`] and not given back before.
pub(crate) unsafe fn release<T>(handle: *const T) {
    if !handle.is_null() {
        fenced(|| {
            // SAFETY: not NULL, so from `Arc::into_raw` and given back once.
            drop(unsafe { Arc::from_raw(handle) });
        });
    }
}

/// A JSON document of the library, as owned text.
pub(crate) fn document(value: Value) -> *mut oca_text {
    let versioned = match value {
        Value::Object(fields) => {
            let mut all = Map::from_iter([("schemaVersion".to_owned(), Value::from(1))]);
            all.extend(fields);
            Value::Object(all)
        }
        other => other,
    };
    // Some documents hold a secret, so the text moves into the one that is wiped.
    into_handle(oca_text::from_secret(SecretText::new(
        versioned.to_string(),
    )))
}

/// A view of a static text.
pub(crate) const fn fixed(text: &'static CStr) -> oca_str {
    oca_str {
        ptr: text.as_ptr(),
        len: text.count_bytes(),
    }
}
