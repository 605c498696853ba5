//! Checks of folders, files and who may use them.

use std::path::Path;

use super::DoctorFinding as Found;
use super::place::Place;
use super::repair::Repair;
use super::table::Check;
use crate::host::FileKind;

/// Any access by others than the owner.
const OTHERS: u32 = 0o077;
const WORLD_WRITE: u32 = 0o002;
const GROUP_WRITE: u32 = 0o020;
/// Folders that are copied to other machines.
const SYNCED: &[&str] = &[
    "Mobile Documents",
    "iCloud Drive",
    "Dropbox",
    "OneDrive",
    "Google Drive",
    "GoogleDrive",
];

pub(super) fn state_missing(place: &Place, check: &'static Check) -> Vec<Found> {
    let state = &place.places.state;
    if place.host.files.stat(state).is_ok() {
        return Vec::new();
    }
    let message = format!("{} does not exist", place.shown(state));
    vec![at(check, message, state).repaired_by(Repair::CreateFolder(state.clone()))]
}

pub(super) fn state_not_writable(place: &Place, check: &'static Check) -> Vec<Found> {
    let state = &place.places.state;
    let Ok(meta) = place.host.files.stat(state) else {
        return Vec::new();
    };
    let uid = place.host.env.effective_uid();
    let own = meta.uid == uid && meta.mode & 0o200 == 0;
    let of_others = meta.uid != uid && meta.mode & (WORLD_WRITE | GROUP_WRITE) == 0;
    match uid != 0 && (own || of_others) {
        true => vec![at(
            check,
            format!("{} cannot be written", place.shown(state)),
            state,
        )],
        false => Vec::new(),
    }
}

/// One of three checks, the first that holds.
pub(super) fn state_mode(place: &Place, check: &'static Check) -> Vec<Found> {
    let state = &place.places.state;
    let Ok(meta) = place.host.files.stat(state) else {
        return Vec::new();
    };
    let mode = meta.mode & 0o777;
    let id = match mode {
        mode if mode & WORLD_WRITE != 0 => "fs.state_dir.perms_world_writable",
        mode if mode & GROUP_WRITE != 0 => "fs.state_dir.perms_group_writable",
        mode if mode & OTHERS != 0 => "fs.state_dir.perms_readable",
        _ => return Vec::new(),
    };
    match check.id == id {
        true => vec![has_mode(place, check, state, mode, 0o700)],
        false => Vec::new(),
    }
}

pub(super) fn state_symlink(place: &Place, check: &'static Check) -> Vec<Found> {
    let state = &place.places.state;
    let is_link = |path: &Path| {
        let meta = place.host.files.lstat(path);
        meta.is_ok_and(|meta| meta.kind == FileKind::Symlink)
    };
    match is_link(state) {
        true => vec![at(
            check,
            format!("{} is a link", place.shown(state)),
            state,
        )],
        false => Vec::new(),
    }
}

pub(super) fn state_owner(place: &Place, check: &'static Check) -> Vec<Found> {
    let state = &place.places.state;
    let uid = place.host.env.effective_uid();
    match place.host.files.stat(state) {
        Ok(meta) if meta.uid != uid && uid != 0 => {
            let message = format!("{} belongs to user {}", place.shown(state), meta.uid);
            vec![at(check, message, state)]
        }
        _ => Vec::new(),
    }
}

/// One of three checks, the first that holds.
pub(super) fn config_mode(place: &Place, check: &'static Check) -> Vec<Found> {
    if !place.is_from_files() {
        return Vec::new();
    }
    let extension = place.places.state.join("openclaw-auth.json5");
    let mut found = Vec::new();
    for file in [&place.places.config, &extension] {
        let Ok(meta) = place.host.files.stat(file) else {
            continue;
        };
        let mode = meta.mode & 0o777;
        let id = match mode {
            mode if mode & (WORLD_WRITE | GROUP_WRITE) != 0 => "fs.config.perms_writable",
            mode if mode & 0o004 != 0 => "fs.config.perms_world_readable",
            mode if mode & 0o040 != 0 => "fs.config.perms_group_readable",
            _ => continue,
        };
        if check.id == id {
            found.push(has_mode(place, check, file, mode, 0o600));
        }
    }
    found
}

pub(super) fn credentials_mode(place: &Place, check: &'static Check) -> Vec<Found> {
    let open = place.credential_files().into_iter();
    let open = open.filter(|(_, meta)| meta.kind == FileKind::Regular && meta.mode & OTHERS != 0);
    open.map(|(file, meta)| has_mode(place, check, &file, meta.mode & 0o777, 0o600))
        .collect()
}

pub(super) fn dotenv_unreadable(place: &Place, check: &'static Check) -> Vec<Found> {
    let file = place.places.state.join(".env");
    let exists = place.host.files.lstat(&file).is_ok();
    let opened = place.host.files.canonical(&file);
    let opened = opened.and_then(|file| place.host.files.open(&file));
    match opened {
        Err(error) if exists => {
            let message = format!("{} cannot be read: {}", place.shown(&file), error.kind());
            vec![at(check, message, &file)]
        }
        _ => Vec::new(),
    }
}

pub(super) fn cloud_synced(place: &Place, check: &'static Check) -> Vec<Found> {
    let state = &place.places.state;
    let real = place
        .host
        .files
        .canonical(state)
        .unwrap_or_else(|_| state.clone());
    let part = real.components().find_map(|part| {
        let part = part.as_os_str().to_str()?;
        SYNCED.iter().find(|name| part.starts_with(**name))
    });
    part.map(|name| {
        let message = format!(
            "{} lies in a synchronized folder ({name})",
            place.shown(state)
        );
        at(check, message, state)
    })
    .into_iter()
    .collect()
}

pub(super) fn read_only(place: &Place, check: &'static Check) -> Vec<Found> {
    let mut found = Vec::new();
    for look in place.looks() {
        let Ok(scene) = &look.scene else { continue };
        let store = scene.agent.path();
        let (Some(folder), Ok(file)) = (store.parent(), place.host.files.stat(store)) else {
            continue;
        };
        let Ok(meta) = place.host.files.stat(folder) else {
            continue;
        };
        let uid = place.host.env.effective_uid();
        let is_mount = meta.device != file.device;
        let is_closed = uid != 0 && meta.uid == uid && meta.mode & 0o200 == 0;
        if is_mount || is_closed {
            let message = format!("{} cannot be replaced", place.shown(store));
            found.push(at(check, message, store).of(&look.id));
        }
    }
    found
}

pub(super) fn home(place: &Place, check: &'static Check) -> Vec<Found> {
    let vars = place.host.env.vars();
    let home = vars.get("HOME").map(|home| home.trim());
    let message = match home {
        Some("undefined") => "HOME is the word undefined",
        None | Some("") => "HOME is not set",
        Some(_) => return Vec::new(),
    };
    vec![Found::new(check, message)]
}

pub(super) fn root(place: &Place, check: &'static Check) -> Vec<Found> {
    let state = &place.places.state;
    match place.host.files.stat(state) {
        Ok(meta) if place.host.env.effective_uid() == 0 && meta.uid != 0 => {
            let message = format!(
                "this runs as root, and {} belongs to user {}",
                place.shown(state),
                meta.uid
            );
            vec![at(check, message, state)]
        }
        _ => Vec::new(),
    }
}

fn at(check: &'static Check, message: String, path: &Path) -> Found {
    Found::new(check, message).at(path.display().to_string())
}

/// A file or folder with a mode that it should not have. Only what lies in the state folder, or
/// is the configuration itself, is repaired.
fn has_mode(place: &Place, check: &'static Check, path: &Path, mode: u32, better: u32) -> Found {
    let message = format!("{} has mode {mode:o}", place.shown(path));
    let found = at(check, message, path).hint(format!("chmod {better:o}"));
    let is_ours = path.starts_with(&place.places.state) || path == place.places.config;
    match is_ours {
        true => found.repaired_by(Repair::Mode(path.to_owned(), better)),
        false => found,
    }
}
