//! What people are told about changes of the configuration file.

use openclaw_auth::ConfigEdit;

use super::output::note;

/// Says what a person has to do about the configuration. Whether it was changed.
pub(super) fn report_edit(edit: openclaw_auth::Result<ConfigEdit>) -> bool {
    match edit {
        Ok(ConfigEdit::Written) => true,
        Ok(ConfigEdit::ByHand { reason, snippet }) => {
            note(&format!(
                "warning: openclaw.json was left alone ({reason}); add this to it:\n{snippet}"
            ));
            false
        }
        Ok(_) => false,
        Err(error) => {
            note(&format!("warning: {} ({})", error.message(), error.code()));
            false
        }
    }
}
