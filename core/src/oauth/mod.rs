//! OAuth: signing in to model providers, keeping tokens fresh, and never losing a login.

mod claims;
mod discovery;
mod expiry;
mod external;
mod journal;
mod login;
mod pasted;
mod provider;
mod redact;
mod refresh;
mod response;
mod settings;
mod tokens;
