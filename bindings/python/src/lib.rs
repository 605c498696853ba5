//! The compiled half of the Python package: carries values across the border and decides nothing.
//! What is public in Python is documented in its stub, `python/openclaw_auth/_native.pyi`.
#![forbid(unsafe_code)]

mod access;
mod boundary;
mod convert;
mod engine;
mod lease;
mod oauth;
mod options;
mod profiles;
mod report;
mod snapshot;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::access::Decision;
    #[pymodule_export]
    use super::boundary::after_fork;
    #[pymodule_export]
    use super::engine::Engine;
    #[pymodule_export]
    use super::lease::{Lease, Verdict, classify};
    #[pymodule_export]
    use super::oauth::OAuthFlow;
    #[pymodule_export]
    use super::options::Options;
    #[pymodule_export]
    use super::snapshot::Snapshot;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
