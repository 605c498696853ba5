//! Every target on its corpus, and on a bounded number of mutations of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail loudly and use the machine"
)]

use openclaw_auth_fuzz::TARGETS;

/// Inputs that have the right shape, for all targets.
const SEEDS: &[&[u8]] = &[
    b"",
    b"{}",
    b"{ a: [1, 2.5, 'x', null, true], // c\n 'b': { $include: ['x.json5'] }, c: \"${KEY}\", d: '$${X}' }",
    b"{ models: { providers: { 'my.p': { apiKey: { source: 'env', provider: 'default', id: 'KEY' }, headers: { Authorization: 'Bearer ${KEY}' } } } } }",
    b"{ channels: { slack: { mode: 'http', accounts: { a: { enabled: false, token: '$KEY' } } } }, agents: { list: [ { id: 'x', sandbox: { ssh: { identityData: 'k' } } } ] } }",
    b"{ secrets: { providers: { f: { source: 'file', path: '~/x', mode: 'singleValue', maxBytes: 5 }, x: { source: 'exec', command: '/x', args: ['${KEY}'], passEnv: [] } }, resolution: { maxProviderConcurrency: 3 } } }",
    b"{ gateway: { trustedProxies: ['10.0.0.0/8', '::ffff:10.0.0.1'], auth: { mode: 'trusted-proxy', trustedProxy: { userHeader: 'x-user', allowUsers: ['*@a.b'] } }, controlUi: { allowedOrigins: ['https://a.b'] } } }",
    b"{ access: { allowedHosts: ['a'], trustedProxy: { proxySecret: { value: 'x' } } }, gateway: { tls: { minVersion: '1.2' } } }",
    b"export A=b #c\nB=\"x\\ny\"\nC='m\nn'\nD: e\n=x\n\xff",
    b"{\"a\":{\"b\":\"v\"},\"c\":[1,{\"d\":null}]}",
    b"{\"protocolVersion\":1,\"values\":{\"a\":\"v\"},\"errors\":{\"a\":{\"code\":\"NOT_FOUND\"}}}",
    b"models.providers[\"my.proxy\"].apiKey",
    b"/models/providers/my~1proxy/~0",
    b"{\"remote\":\"10.0.0.1:5\",\"headers\":[[\"X-Forwarded-User\",\"nick@example.com\"],[\"X-Forwarded-Proto\",\"https\"],[\"Origin\",\"null\"]],\"kind\":\"websocket\",\"tls\":true}",
    b"X-Forwarded-User: nick@example.com\nX-Forwarded-Proto: https\nX-Forwarded-For: 1.2.3.4, [::1]:5\nForwarded: for=\"[2001:db8::1]:4\";proto=https\nAuthorization: Basic YTpi",
    b"\xef\xbb\xbf{a:1}",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

const ROUNDS: usize = 150;

/// A small generator with a fixed start: failures can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (below.max(1) as u64)).unwrap()
    }
}

fn mutate(random: &mut Random, seed: &[u8]) -> Vec<u8> {
    const PIECES: &[&[u8]] = &[
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b"'",
        b":",
        b",",
        b"${",
        b"}",
        b"\\",
        b"\n",
        b"\0",
        b"\xff",
        b"//",
        b"/*",
        b"$include",
        b"__proto__",
        b"1e999",
        b"NaN",
        b"\xe2\x80\xa8",
        b"source",
        b"id",
        b"__OPENCLAW_REDACTED__",
        b"~",
        b"..",
    ];
    let mut data = seed.to_vec();
    for _ in 0..=random.next(6) {
        let at = random.next(data.len() + 1);
        match random.next(5) {
            0 if at < data.len() => drop(data.remove(at)),
            1 if at < data.len() => data[at] = u8::try_from(random.next(256)).unwrap(),
            2 => data.truncate(at),
            3 => {
                let other = SEEDS[random.next(SEEDS.len())];
                let from = random.next(other.len() + 1);
                let piece = &other[from..(from + random.next(30)).min(other.len())];
                data.splice(at..at, piece.iter().copied());
            }
            _ => drop(data.splice(at..at, PIECES[random.next(PIECES.len())].iter().copied())),
        }
    }
    data
}

#[test]
fn every_target_survives_its_corpus_and_mutations() {
    for (name, target) in TARGETS {
        let mut random = Random(0x1234_5678_9abc_def1);
        for seed in SEEDS {
            target(seed);
            for _ in 0..ROUNDS {
                let data = mutate(&mut random, seed);
                let fine = std::panic::catch_unwind(|| target(&data)).is_ok();
                assert!(fine, "{name} fails on {:?}", String::from_utf8_lossy(&data));
            }
        }
    }
}
