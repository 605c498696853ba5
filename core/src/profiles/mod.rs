//! Auth profiles: the credentials of an agent, whether and in which order they are used, and what
//! happened to them.

mod agent;
mod credential;
mod edit;
mod eligibility;
mod order;
mod record;
mod store;
mod usage;
mod view;

pub(crate) use agent::{AgentProfiles, Notice};
pub use credential::Kind;
pub(crate) use credential::{Expiry, Material};
pub use edit::{NewCredential, ProfileMaterial};
pub(crate) use edit::{clear_cooldown, put_profile, remove_profile, set_order};
pub use eligibility::Eligibility;
pub(crate) use eligibility::{Verdict, policy_violations};
pub use order::OrderSource;
pub(crate) use order::{OrderQuery, Ranked, resolve_order};
pub(crate) use record::Record;
#[cfg(feature = "testing")]
pub(crate) use store::StoreVersion;
pub(crate) use store::{
    Document, Durability, FileStore, HeldStore, LockFailure, LockFile, ProfileStore, Pulse,
    Repaired, StoreOptions, is_stale_lock,
};
pub use usage::Clear;
pub(crate) use usage::{
    Blocking, BlockingKind, Subject, UsageEvent, apply, blocking, unavailable_reason,
};
pub(crate) use view::{Memory, Profile, View};
