//! OAuth: signing in to model providers, keeping tokens fresh, and never losing a login.

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
mod provider;
mod redact;
mod refresh;
mod response;
mod settings;
mod tokens;
