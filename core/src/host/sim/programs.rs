//! Programs that are closures.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::host::{FileKind, Processes, RunError, RunOutput, RunRequest};

use super::World;
use super::disk::EXECUTE;

/// What a simulated program does.
pub(super) type Program = dyn Fn(&RunRequest) -> Result<RunOutput, RunError> + Send + Sync;

pub(super) struct SimProcesses(pub(super) Arc<World>);

impl Processes for SimProcesses {
    fn run(&self, request: &RunRequest) -> Result<RunOutput, RunError> {
        if request.cancel.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        let program = self.find(&request.program)?;
        self.0.runs.lock().push(request.clone());
        let start = self.0.clock.monotonic();
        // No lock is held here: the program may use the machine, and run for long.
        let mut output = program(request)?;
        output.elapsed = self.0.clock.monotonic().saturating_sub(start);
        // The same order of checks as on a real machine. The output came at the end, so the
        // program was silent all the time.
        if (output.stdout.len() + output.stderr.len()) as u64 > request.max_output {
            Err(RunError::OutputLimit)
        } else if output.elapsed >= request.timeout {
            Err(RunError::Timeout)
        } else if output.elapsed >= request.silence {
            Err(RunError::Silent)
        } else if request.cancel.is_cancelled() {
            Err(RunError::Cancelled)
        } else {
            Ok(output)
        }
    }
}

impl SimProcesses {
    fn find(&self, path: &Path) -> Result<Arc<Program>, RunError> {
        let uid = self.0.process.lock().uid;
        let disk = self.0.disk.lock();
        let place = disk.walk(path, true, uid).map_err(|error| {
            spawn(match error.kind() {
                io::ErrorKind::NotFound => "ENOENT",
                io::ErrorKind::NotADirectory => "ENOTDIR",
                io::ErrorKind::PermissionDenied => "EACCES",
                _ => "ELOOP",
            })
        })?;
        let node = place
            .inode
            .and_then(|inode| disk.node(inode))
            .ok_or_else(|| spawn("ENOENT"))?;
        // Not even root may run what nobody may.
        if node.kind != FileKind::Regular || node.mode & 0o111 == 0 || !node.allows(uid, EXECUTE) {
            return Err(spawn("EACCES"));
        }
        let programs = self.0.programs.lock();
        // By the name that was asked for first: a registered link may differ from its target.
        let program = programs.get(path).or_else(|| programs.get(&place.path));
        program.cloned().ok_or_else(|| spawn("ENOEXEC"))
    }
}

fn spawn(name: &str) -> RunError {
    RunError::Spawn(name.to_owned())
}
