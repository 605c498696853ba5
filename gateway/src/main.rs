//! The `openclaw-auth` program: command line and reference gateway.
#![forbid(unsafe_code)]

mod cli;
mod probe;
mod server;
mod waiting;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
