//! What a session uses: its model, its profile, and the directive that chooses them.

mod directive;
mod models;
mod pins;
mod split;

pub use directive::Directive;
pub(crate) use directive::find_directive;
pub use models::ModelRef;
pub(crate) use models::{Models, SelectorRow, choice};
pub use pins::{Pin, PinSource, SessionEntry};
pub(crate) use pins::{PinQuery, Sessions, resolve_pin};
