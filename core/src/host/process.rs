use super::*;
pub(super) struct RealProcesses;
impl Processes for RealProcesses { fn run(&self,_:&RunRequest)->Result<RunOutput,RunError>{Err(RunError::Timeout)} }
