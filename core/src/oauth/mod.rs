//! OAuth: signing in to model providers, keeping tokens fresh, and never losing a login.
//!
//! [`LoginFlow`] is one sign-in; [`Refresher`] keeps the tokens of profiles fresh. Everything
//! that is special about a provider is data ([`provider`]), and so is where other programs keep
//! their logins ([`external`]).

mod callback;
mod claims;
mod discovery;
mod expiry;
mod external;
mod flow;
mod journal;
mod login;
mod pages;
mod pasted;
mod profile_id;
mod provider;
mod redact;
mod refresh;
mod response;
mod settings;
mod setup_token;
mod tokens;
mod userinfo;

pub(crate) use claims::Identity;
pub(crate) use expiry::{Validity, Window};
pub(crate) use external::program as external_program;
pub use flow::LoginFlow;
pub(crate) use flow::SignedIn;
pub(crate) use journal::Journal;
pub(crate) use login::fresh as fresh_credential;
pub(crate) use profile_id::{Newcomer, check_id as check_profile_id, choose as choose_profile_id};
pub(crate) use refresh::{Fresh, Job, Refresher, Source, Want};
pub(crate) use settings::Scene;
pub use setup_token::{
    TokenProblem, check_setup_token, clean_pasted, parse_duration, profile_slug,
};

use crate::text::SecretText;

/// How long an access token lives by its own claims, in milliseconds.
pub(crate) fn claimed_lifetime_ms(access: &SecretText) -> Option<u64> {
    claims::Claims::of(access.expose(), None).lifetime_ms()
}
