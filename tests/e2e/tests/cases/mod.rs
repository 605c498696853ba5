//! The tests, by topic.

mod canary;
mod demo;
mod forged;
mod main_job;
mod reload;
mod sources;
mod start;
mod vendors;
