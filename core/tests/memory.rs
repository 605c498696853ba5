//! After everything is dropped, no secret is left in the memory of the process: not in the
//! values, not in the texts they were read from, not on the way between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail loudly and use the machine"
)]
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

use openclaw_auth::{AuditOptions, Engine, Options, Proposal};
use zeroize::Zeroizing;

/// A secret that stands nowhere in the program: put together when needed, wiped after use.
fn canary(number: u8) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(64));
    let mut state = 0x9E37_79B9_7F4A_7C15u64 ^ (u64::from(number) << 32);
    for _ in 0..40 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let at = u8::try_from(state >> 59).unwrap() % 26;
        text.push(char::from(b'a' + at));
    }
    text
}

/// A text with canaries in it, in a buffer that never grows.
fn filled(template: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(template.len() + 1024));
    for (index, part) in template.split('%').enumerate() {
        if index % 2 == 0 {
            text.push_str(part);
        } else {
            text.push_str(&canary(part.parse().unwrap()));
        }
    }
    text
}

fn write(path: &Path, template: &str, mode: u32) {
    fs::write(path, filled(template).as_bytes()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Where the canaries are found in the writable memory of this process.
fn scan(count: u8) -> Vec<String> {
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    // The needles are halves, compared one after the other: whole ones must not exist.
    let needles: Vec<(Zeroizing<String>, u8)> = (0..count).map(|n| (half(n), n)).collect();
    let mut found = Vec::new();
    let mut buffer = Zeroizing::new(vec![0u8; 1 << 20]);
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        if !rights.starts_with("rw") || line.contains("[vvar") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let mut at = u64::from_str_radix(start, 16).unwrap();
        let end = u64::from_str_radix(end, 16).unwrap();
        while at < end {
            let want = usize::try_from((end - at).min(1 << 20)).unwrap();
            let Ok(got) = memory.read_at(&mut buffer[..want], at) else {
                break;
            };
            if got == 0 {
                break;
            }
            for (needle, number) in &needles {
                let hay = &buffer[..got];
                for offset in find(hay, needle.as_bytes()) {
                    // A half inside the scanner's own tables does not count.
                    let rest = &hay[offset + needle.len()..];
                    if follows(rest, *number) {
                        let name = line.split_whitespace().nth(5).unwrap_or("anonymous");
                        found.push(format!("canary {number} in {name}"));
                    }
                }
            }
            // Overlap, so that nothing is missed at a border.
            at += u64::try_from(got.saturating_sub(64).max(1)).unwrap();
            if got < want || at + 64 >= end {
                break;
            }
        }
    }
    found
}

fn half(number: u8) -> Zeroizing<String> {
    Zeroizing::new(canary(number).get(..16).unwrap().to_owned())
}

fn follows(rest: &[u8], number: u8) -> bool {
    let whole = canary(number);
    rest.len() >= 8 && rest.starts_with(&whole.as_bytes()[16..24])
}

fn find<'a>(hay: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let first = needle[0];
    let mut from = 0;
    std::iter::from_fn(move || {
        while let Some(at) = hay[from..].iter().position(|b| *b == first) {
            let at = from + at;
            from = at + 1;
            if hay[at..].starts_with(needle) {
                return Some(at);
            }
        }
        None
    })
}

const CONFIG: &str = "{
  secrets: { providers: {
    f: { source: 'file', path: 'HOME/secrets.json' },
    s: { source: 'file', path: 'HOME/single', mode: 'singleValue' },
    x: { source: 'exec', command: 'HOME/program', jsonOnly: false },
    j: { source: 'exec', command: 'HOME/protocol', jsonOnly: true },
  } },
  env: { BLOCK: '%1%' },
  models: { providers: {
    literal: { apiKey: '%2%', headers: { 'x-api-key': \"%3%\" } },
    block: { apiKey: '${BLOCK}' },
    dotenv: { apiKey: 'Bearer ${DOTENV}' },
    file: { apiKey: { source: 'file', provider: 'f', id: '/a/b' } },
    single: { apiKey: { source: 'file', provider: 's', id: 'value' } },
    exec: { apiKey: { source: 'exec', provider: 'x', id: 'k' } },
    protocol: { apiKey: { source: 'exec', provider: 'j', id: 'k' } },
    off: { enabled: false, apiKey: '%8%' },
  } },
  channels: { googlechat: { serviceAccount: { private_key: '%9%' } } },
}";
const CANARIES: u8 = 11;

#[test]
fn no_secret_is_left_after_everything_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().canonicalize().unwrap();
    let shown = home.to_str().unwrap();
    write(
        &home.join("openclaw.json"),
        &CONFIG.replace("HOME", shown),
        0o600,
    );
    write(&home.join(".env"), "DOTENV=%4%\n", 0o600);
    write(
        &home.join("secrets.json"),
        "{\"a\":{\"b\":\"%5%\"},\"unused\":\"%10%\"}",
        0o600,
    );
    write(&home.join("single"), "%6%\n", 0o600);
    write(&home.join("program"), "#!/bin/sh\necho %7%\n", 0o700);
    let protocol =
        "#!/bin/sh\ncat > /dev/null\necho '{\"protocolVersion\":1,\"values\":{\"k\":\"%0%\"}}'\n";
    write(&home.join("protocol"), protocol, 0o700);
    assert_eq!(
        scan(CANARIES),
        Vec::<String>::new(),
        "the test itself keeps secrets"
    );

    let options = || {
        Options::new()
            .config_path(home.join("openclaw.json"))
            .state_dir(&home)
    };
    let engine = Engine::open(options()).unwrap();
    let held = scan(CANARIES);
    for number in (0..CANARIES).filter(|number| *number != 10) {
        let name = format!("canary {number} ");
        assert!(
            held.iter().any(|found| found.starts_with(&name)),
            "{number} is not in use: {held:?}"
        );
    }
    // Reloads, trials and audits come and go.
    write(&home.join("single"), "%7%\n", 0o600);
    engine.reload().unwrap();
    assert!(
        engine
            .preflight(&Proposal::current().allow_exec(true))
            .is_ok()
    );
    drop(options().audit(AuditOptions::default()));
    drop(engine);
    assert_eq!(scan(CANARIES), Vec::<String>::new());
}
