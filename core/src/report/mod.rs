//! Documents about a configuration, for people and scripts.

mod doctor;
mod security;
mod status;

pub use doctor::{
    DoctorCheck, DoctorFinding, DoctorOptions, DoctorReport, RepairDone, doctor_checks,
};
pub use security::{AccessNames, SecurityOptions, SecurityReport, Verdict, access_names, security};
pub use status::{StatusOptions, StatusReport, short};
