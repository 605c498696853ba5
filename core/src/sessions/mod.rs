//! What a session uses: its model, its profile, and the directive that chooses them.

mod directive;
mod models;
mod pins;
mod split;

pub use directive::Directive;
pub(crate) use directive::find_directive;
pub use models::ModelRef;
pub(crate) use models::{ChainStep, Models, SelectorRow};
pub use pins::{Pin, PinSource, SessionEntry};
pub(crate) use pins::{PinDecision, PinQuery, Sessions, resolve_pin};
pub(crate) use split::split_profile;
