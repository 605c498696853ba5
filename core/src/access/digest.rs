//! Comparing shared secrets.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The SHA-256 of a shared secret, or of a text presented as one.
///
/// Comparing digests takes the same time whatever the two texts and their lengths are.
#[derive(Clone, Copy)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Whether both were made from the same text. Constant time.
    pub(super) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_match_and_nothing_is_shown() {
        let digest = Digest::of(b"s3cr3t");
        assert!(digest.matches(&Digest::of(b"s3cr3t")));
        for other in [&b"s3cr3"[..], b"s3cr3t ", b"S3cr3t", b""] {
            assert!(!digest.matches(&Digest::of(other)));
        }
        assert_eq!(format!("{digest:?}"), "[redacted]");
    }
}
