//! Engines, and the table through which all threads of the process find them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use napi::bindgen_prelude::{AsyncTask, External};
use napi_derive::napi;
use openclaw_auth::{Code, Engine, Error, Options, Result};
use parking_lot::{Mutex, RwLock};

use crate::boundary::{Handle, Job, closed, elsewhere, guard};
use crate::clock::ManualClock;
use crate::options;

/// An engine and what belongs to it.
pub(crate) struct Shared {
    pub(crate) core: Engine,
    pub(crate) options: Options,
    clock: Option<Arc<ManualClock>>,
}

impl Shared {
    pub(crate) fn advance(&self, ms: u64) -> Result<()> {
        let message = "the engine runs on the clock of the machine";
        let clock = self.clock.as_ref();
        let clock = clock.ok_or_else(|| Error::new(Code::ClockNotManual, message))?;
        clock.advance(ms);
        Ok(())
    }
}

/// An engine under its number, and how many objects of JavaScript hold it.
struct Slot {
    shared: Arc<Shared>,
    holders: Mutex<usize>,
}

/// Hot functions take a number: it crosses in a fifth of the time of an object. Numbers are never
/// used again, and 0 is none.
static SLOTS: LazyLock<RwLock<HashMap<u32, Slot>>> = LazyLock::new(RwLock::default);
static NEXT: AtomicU32 = AtomicU32::new(1);

/// The engine with this number.
pub(crate) fn engine(slot: u32) -> Result<Arc<Shared>> {
    with(slot, |shared| Ok(Arc::clone(shared)))
}

/// Uses the engine with this number, for calls that do not wait.
pub(crate) fn with<T>(slot: u32, body: impl FnOnce(&Arc<Shared>) -> Result<T>) -> Result<T> {
    let slots = SLOTS.read();
    body(&slots.get(&slot).ok_or_else(|| closed("engine"))?.shared)
}

/// What an `Engine` of JavaScript holds. The engine goes with its last holder, in whatever thread.
pub(crate) struct Holder {
    slot: u32,
    released: bool,
}

impl Holder {
    fn release(&mut self) {
        if std::mem::replace(&mut self.released, true) {
            return;
        }
        let mut slots = SLOTS.write();
        let Some(slot) = slots.get(&self.slot) else {
            return;
        };
        let left = {
            let mut holders = slot.holders.lock();
            *holders -= 1;
            *holders
        };
        let gone = match left {
            0 => slots.remove(&self.slot),
            _ => None,
        };
        // Dropping an engine takes its time; others need not wait for that.
        drop(slots);
        drop(gone);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.release();
    }
}

fn open(json: &str) -> Result<Holder> {
    let (options, clock) = options::read(json)?;
    let shared = Shared {
        core: Engine::open(options.clone())?,
        options,
        clock,
    };
    let slot = NEXT.fetch_add(1, Ordering::Relaxed);
    SLOTS.write().insert(
        slot,
        Slot {
            shared: Arc::new(shared),
            holders: Mutex::new(1),
        },
    );
    Ok(Holder {
        slot,
        released: false,
    })
}

/// Opens an engine. Blocks.
#[napi(catch_unwind)]
pub(crate) fn open_sync(options: String) -> napi::Result<External<Holder>> {
    guard(|| open(&options).map(External::new))
}

/// Opens an engine on another thread.
#[napi(catch_unwind)]
pub(crate) fn open_async(options: String) -> AsyncTask<Job<Handle<Holder>>> {
    elsewhere(move || open(&options).map(Handle))
}

/// Another holder of an open engine.
#[napi(catch_unwind)]
pub(crate) fn attach(slot: u32) -> napi::Result<External<Holder>> {
    guard(|| {
        let slots = SLOTS.read();
        let known = slots.get(&slot).ok_or_else(|| closed("engine"))?;
        *known.holders.lock() += 1;
        Ok(External::new(Holder {
            slot,
            released: false,
        }))
    })
}

/// The number of a held engine.
#[napi(catch_unwind)]
pub(crate) fn slot_of(holder: &External<Holder>) -> u32 {
    holder.slot
}

/// Gives an engine back.
#[napi(catch_unwind)]
pub(crate) fn close(holder: &mut External<Holder>) {
    holder.release();
}

/// The secret at a configuration path.
#[napi(catch_unwind)]
pub(crate) fn secret(slot: u32, path: String) -> napi::Result<String> {
    guard(|| {
        with(slot, |shared| {
            let snapshot = shared.core.snapshot();
            snapshot
                .secret(&path)
                .map(|secret| secret.expose().to_owned())
        })
    })
}
