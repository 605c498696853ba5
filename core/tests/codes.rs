//! `docs/errors.md` is the list of codes in readable form. `UPDATE=1 cargo test -p openclaw-auth
//! --test codes` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail loudly and use the machine"
)]

use std::fmt::Write as _;

use openclaw_auth::{Class, Code, Kind};

const TITLES: &[(Class, &str)] = &[
    (Class::Config, "Configuration"),
    (Class::Secret, "Secrets"),
    (Class::Access, "Access"),
    (Class::Gateway, "Gateway"),
    (Class::Internal, "Internal"),
];

fn page() -> String {
    let mut page = String::from(
        "# Error codes\n\n\
         Codes are stable: once released they are never renamed or reused, and they are the same in every\n\
         language. Codes in lower case refuse or fail; codes in capitals only report something. Match on codes,\n\
         never on texts.\n",
    );
    let mut classes: Vec<Class> = Code::ALL.iter().map(|info| info.class).collect();
    classes.sort();
    classes.dedup();
    for class in classes {
        let title = TITLES
            .iter()
            .find(|(known, _)| *known == class)
            .map_or(class.as_str(), |(_, title)| title);
        write!(
            page,
            "\n## {title}\n\n| code | meaning | what to do |\n|---|---|---|\n"
        )
        .unwrap();
        for kind in [Kind::Failure, Kind::Report] {
            for info in Code::ALL
                .iter()
                .filter(|info| info.class == class && info.kind == kind)
            {
                writeln!(
                    page,
                    "| `{}` | {} | {} |",
                    info.text, info.meaning, info.remedy
                )
                .unwrap();
            }
        }
    }
    page
}

#[test]
fn the_page_of_codes_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/errors.md is not current: run this test with UPDATE=1"
    );
}
