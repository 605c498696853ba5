//! The limiter's memory does not grow with the number of attackers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use openclaw_auth::access::{Attempt, Key, Limiter, Limits, Rule, Subject};

#[test]
fn a_million_addresses_stay_within_eight_megabytes() {
    let limiter = Limiter::new();
    let limits = Limits::default();
    let used = allocation_counter::measure(|| {
        for n in 0..1_000_000_u32 {
            let ip: IpAddr = match n % 2 {
                0 => Ipv4Addr::from_bits(n).into(),
                _ => Ipv6Addr::from_bits(u128::from(n) << 64).into(),
            };
            let key = Key::new("test", Subject::address(ip));
            let now = Duration::from_micros(u64::from(n));
            let attempt = limiter.settle(key, Rule::Lockout, &limits, now, false);
            assert!(
                matches!(attempt, Attempt::Wrong { .. }),
                "new clients are never refused"
            );
        }
    });
    assert!(
        limiter.keys() <= limits.max_entries,
        "{} keys",
        limiter.keys()
    );
    assert!(
        used.bytes_max < 8 * 1024 * 1024,
        "{} bytes at the most",
        used.bytes_max
    );
    assert!(limiter.keys() > limits.max_entries / 2, "the table is used");
}
