//! Configuration: from files and environment to one checked tree of settings.
//!
//! [`read`] finds and reads everything (`openclaw.json`, its includes, `openclaw-auth.json5`,
//! `.env`); [`Source::substitute`] fills in `${VAR}`; [`Source::finish`] sorts the issues, finds
//! their places in the text and wipes the text.

mod blocklist;
mod dotenv;
mod edit;
mod edit_models;
mod env;
mod extension;
mod include;
mod issue;
mod locate;
mod oauth;
mod provider_id;
mod read;
mod routing;
mod substitute;

pub(crate) use dotenv::parse as parse_dotenv;
pub(crate) use edit::{ProfileEntry, hides, name_profile, set_default_model, use_claude_cli};
pub use edit_models::FallbackList;
pub(crate) use edit_models::{
    add_agent, add_bindings, remove_agent, remove_alias, select_model, set_alias, set_fallbacks,
    unname_profile,
};
pub use env::{EnvOrigin, EnvView};
pub use issue::{Issue, Severity};
pub use locate::Locations;
pub(crate) use locate::{agent_dirs, expand_home, normalise_agent_id};
pub(crate) use oauth::OauthSettings;
pub(crate) use provider_id::{Aliases, auth_provider, normalise_provider, provider_entry};
pub(crate) use read::{Input, ReadOptions, Source, Watched, read, report_misplaced};
pub use routing::Probe;
pub(crate) use routing::{ConfigProfile, EnvCandidates, Inherit, Routing};
pub(crate) use substitute::{Part, is_env_name, split_references};
