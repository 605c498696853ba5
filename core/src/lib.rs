//! Credentials for AI-agent gateways: configuration with secret references goes in, an immutable
//! snapshot of resolved secrets and access rules comes out.
#![forbid(unsafe_code)]

pub mod access;
pub mod error;
pub mod host;
pub mod text;

pub use error::{Class, Code, Error, Result};
pub use text::SecretText;
