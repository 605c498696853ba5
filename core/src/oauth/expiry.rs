//! When an access token is fresh enough, and when it must be renewed.

/// Longest margin in which the token is not used any more.
const HARD_MARGIN_MS: u64 = 10_000;
/// An issue further in the future than this says nothing.
const MAX_AHEAD_MS: u64 = 24 * 3_600_000;

/// What is known about the life of a token. All times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Validity {
    pub(crate) expires_ms: Option<u64>,
    pub(crate) issued_at_ms: Option<u64>,
    /// Lifetime by the claims of the token itself, for when the issue is not known.
    pub(crate) claimed_lifetime_ms: Option<u64>,
    pub(crate) has_refresh: bool,
}

/// Where in the life of a token a moment lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// Use it.
    Fresh,
    /// Try to refresh; on any failure keep using it.
    Soft,
    /// Refresh or fail.
    Hard,
}

impl Validity {
    /// The window of a moment. `min_valid_ms` raises the soft margin, up to half of the lifetime,
    /// so that tokens of short life are not refreshed on every request.
    pub(crate) fn window(&self, now: u64, margin_ms: u64, min_valid_ms: u64) -> Window {
        let Some(expires) = self.expires_ms else {
            return if self.has_refresh {
                Window::Hard
            } else {
                Window::Fresh
            };
        };
        let lifetime = self.lifetime_ms(now);
        let soft = lifetime.map_or(margin_ms, |lifetime| margin_ms.min(lifetime / 10));
        let wanted = lifetime.map_or(min_valid_ms, |lifetime| min_valid_ms.min(lifetime / 2));
        let left = expires.saturating_sub(now);
        match () {
            () if left <= self.hard_margin_ms(now) => Window::Hard,
            () if left <= soft.max(wanted) => Window::Soft,
            () => Window::Fresh,
        }
    }

    /// Time before the end in which the token is not used any more.
    pub(crate) fn hard_margin_ms(&self, now: u64) -> u64 {
        let lifetime = self.lifetime_ms(now);
        lifetime.map_or(HARD_MARGIN_MS, |lifetime| HARD_MARGIN_MS.min(lifetime / 20))
    }

    fn lifetime_ms(&self, now: u64) -> Option<u64> {
        let believable = |issued: &u64| *issued <= now.saturating_add(MAX_AHEAD_MS);
        let issued = self.issued_at_ms.filter(believable);
        let from_issue = issued.and_then(|issued| self.expires_ms?.checked_sub(issued));
        from_issue
            .filter(|lifetime| *lifetime > 0)
            .or(self.claimed_lifetime_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARGIN_MS: u64 = 300_000;
    const NOW: u64 = 1_795_359_600_000;

    fn known(issued: u64, expires: u64) -> Validity {
        Validity {
            expires_ms: Some(expires),
            issued_at_ms: Some(issued),
            has_refresh: true,
            ..Validity::default()
        }
    }

    #[test]
    fn examples_57_to_65_and_69() {
        let hour = known(NOW, NOW + 3_600_000);
        let minute = known(NOW, NOW + 60_000);
        let unknown = Validity {
            expires_ms: Some(NOW + 240_000),
            has_refresh: true,
            ..Validity::default()
        };
        let claimed = Validity {
            claimed_lifetime_ms: Some(60_000),
            issued_at_ms: None,
            ..minute
        };
        let absurd = Validity {
            issued_at_ms: Some(NOW + MAX_AHEAD_MS * 2),
            ..unknown
        };
        for (name, validity, now, min_valid, expected) in [
            ("57", hour, NOW, 0, Window::Fresh),
            ("57 edge", hour, NOW + 3_299_999, 0, Window::Fresh),
            ("58", hour, NOW + 3_600_000 - 299_999, 0, Window::Soft),
            ("59", hour, NOW + 3_590_000, 0, Window::Hard),
            ("60", minute, NOW + 53_000, 0, Window::Fresh),
            ("61", minute, NOW + 54_000, 0, Window::Soft),
            ("62", minute, NOW + 57_000, 0, Window::Hard),
            (
                "claims give the lifetime",
                claimed,
                NOW + 54_000,
                0,
                Window::Soft,
            ),
            ("63", unknown, NOW, 0, Window::Soft),
            ("an issue in the future", absurd, NOW, 0, Window::Soft),
            (
                "64",
                Validity {
                    expires_ms: None,
                    ..unknown
                },
                NOW,
                0,
                Window::Hard,
            ),
            ("65", Validity::default(), NOW, 0, Window::Fresh),
            ("69 before", minute, NOW + 29_000, 60_000, Window::Fresh),
            ("69", minute, NOW + 31_000, 60_000, Window::Soft),
            ("expired", minute, NOW + 90_000, 0, Window::Hard),
        ] {
            assert_eq!(
                validity.window(now, MARGIN_MS, min_valid),
                expected,
                "{name}"
            );
        }
    }
}
