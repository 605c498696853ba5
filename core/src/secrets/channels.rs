//! Chat channels: one rule set for every channel, known or not.

use serde_json::{Map, Value};

use super::condition::{Activity, Context, ancestors, is_enabled, is_set};
use crate::config::normalise_agent_id;
use crate::json::Path;

/// Fields that hold a secret on any channel, at the channel itself and at its accounts.
pub(super) const FIELDS: &[&str] = &[
    "botToken",
    "appToken",
    "userToken",
    "token",
    "password",
    "webhookSecret",
    "signingSecret",
    "appSecret",
    "encryptKey",
    "verificationToken",
    "appPassword",
    "accessToken",
    "botSecret",
    "apiPassword",
    "clientSecret",
    "authToken",
    "privateKey",
    "channelAccessToken",
    "channelSecret",
    "nickserv.password",
    "pluralkit.token",
    "relay.authToken",
    "voice.tts.providers.*.apiKey",
];

/// What a field needs beyond the general rule.
enum Extra {
    /// No token file is configured instead.
    NoTokenFile,
    /// Another setting is not blank.
    NeedsSetting(&'static str),
    /// A mode setting has, or has not, a value. `(key, default, value, wanted)`
    Mode(&'static str, &'static str, &'static str, bool),
    /// Matrix: a password is used only while no access token is known.
    MatrixPassword,
}

/// `(channel or "*", field, what it needs)`
const EXTRAS: &[(&str, &str, Extra)] = &[
    ("*", "botToken", Extra::NoTokenFile),
    (
        "telegram",
        "webhookSecret",
        Extra::NeedsSetting("webhookUrl"),
    ),
    ("zalo", "webhookSecret", Extra::NeedsSetting("webhookUrl")),
    (
        "slack",
        "appToken",
        Extra::Mode("mode", "socket", "http", false),
    ),
    (
        "slack",
        "signingSecret",
        Extra::Mode("mode", "socket", "http", true),
    ),
    (
        "feishu",
        "encryptKey",
        Extra::Mode("connectionMode", "websocket", "webhook", true),
    ),
    (
        "feishu",
        "verificationToken",
        Extra::Mode("connectionMode", "websocket", "webhook", true),
    ),
    ("matrix", "password", Extra::MatrixPassword),
];

/// Base fields that count whether or not an account inherits them.
const ALWAYS_AT_BASE: &[(&str, &str)] = &[("matrix", "accessToken"), ("matrix", "password")];

/// The answer for one place below a channel.
pub(super) struct ChannelActivity {
    pub(super) active: Activity,
    /// Who needs it: `channel:<channel>/<account>`.
    pub(super) owners: Vec<String>,
}

/// Judges `channels.<channel>.…`.
pub(super) fn activity(context: &Context<'_>, path: &Path) -> ChannelActivity {
    let segments = path.segments();
    let (Some(name), Some(first)) = (segments.get(1), segments.get(2)) else {
        return ChannelActivity {
            active: Ok(()),
            owners: Vec::new(),
        };
    };
    let channel = Channel {
        context,
        name,
        base: context.at(&["channels", name]),
    };
    let account = segments
        .get(3)
        .filter(|_| first == "accounts" && segments.len() > 4);
    match (account, segments.get(4)) {
        (Some(account), Some(field)) => ChannelActivity {
            active: ancestors(context, segments).and_then(|()| channel.extra(field, Some(account))),
            owners: vec![format!("channel:{name}/{account}")],
        },
        _ => channel.base_activity(segments, first),
    }
}

struct Channel<'a> {
    context: &'a Context<'a>,
    name: &'a str,
    base: Option<&'a Value>,
}

impl<'a> Channel<'a> {
    /// The accounts, when they are listed explicitly; entries that are not objects are ignored.
    fn accounts(&self) -> Option<&'a Map<String, Value>> {
        let accounts = self.base?.get("accounts")?.as_object()?;
        (!accounts.is_empty()).then_some(accounts)
    }

    fn base_activity(&self, segments: &[String], first: &str) -> ChannelActivity {
        let default_owner = vec![format!("channel:{}/default", self.name)];
        let above = ancestors(self.context, segments);
        let always = ALWAYS_AT_BASE.contains(&(self.name, first));
        let accounts = self.accounts().filter(|_| !always);
        let (Ok(()), Some(accounts)) = (&above, accounts) else {
            let active = above.and_then(|()| self.extra(first, None));
            return ChannelActivity {
                active,
                owners: default_owner,
            };
        };
        let mut reason = format!("no account of channels.{} is enabled", self.name);
        let mut owners = Vec::new();
        for (id, account) in accounts.iter().filter(|(_, account)| account.is_object()) {
            if !is_enabled(Some(account)) {
                continue;
            }
            if account.get(first).is_some() {
                reason = format!(
                    "every enabled account of channels.{} has its own {first}",
                    self.name
                );
                continue;
            }
            match self.inherited_extra(first, id) {
                Ok(()) => owners.push(format!("channel:{}/{id}", self.name)),
                Err(why) => reason = why,
            }
        }
        if owners.is_empty() {
            return ChannelActivity {
                active: Err(reason),
                owners: default_owner,
            };
        }
        ChannelActivity {
            active: Ok(()),
            owners,
        }
    }

    /// The extra condition of a base field for an account that inherits it.
    fn inherited_extra(&self, field: &str, account: &str) -> Activity {
        match self.extra_of(field) {
            // The base's own token file replaces the base's token for everybody.
            Some(Extra::NoTokenFile) => self
                .extra(field, None)
                .and_then(|()| self.extra(field, Some(account))),
            Some(_) => self.extra(field, Some(account)),
            None => Ok(()),
        }
    }

    fn extra_of(&self, field: &str) -> Option<&'static Extra> {
        let row = EXTRAS.iter().find(|(channel, name, _)| {
            (*channel == "*" || *channel == self.name) && *name == field
        });
        row.map(|(_, _, extra)| extra)
    }

    fn extra(&self, field: &str, account: Option<&str>) -> Activity {
        match self.extra_of(field) {
            None => Ok(()),
            Some(Extra::NoTokenFile) => {
                let file = self.own("tokenFile", account);
                if is_set(file) {
                    Err(format!("{} is configured", self.path("tokenFile", account)))
                } else {
                    Ok(())
                }
            }
            Some(Extra::NeedsSetting(key)) => {
                if is_set(self.effective(key, account)) {
                    Ok(())
                } else {
                    Err(format!("{} is not configured", self.path(key, None)))
                }
            }
            Some(Extra::Mode(key, default, value, wanted)) => {
                let mode = self
                    .effective(key, account)
                    .and_then(Value::as_str)
                    .unwrap_or(default);
                let mode = mode.trim().to_lowercase();
                if (mode == *value) == *wanted {
                    Ok(())
                } else {
                    Err(format!("{} is \"{mode}\"", self.path(key, None)))
                }
            }
            Some(Extra::MatrixPassword) => self.matrix_password(account),
        }
    }

    fn matrix_password(&self, account: Option<&str>) -> Activity {
        let env = |name: &str| {
            self.context
                .env
                .non_blank(name)
                .is_some()
                .then(|| format!("{name} is set"))
        };
        let configured = |account: Option<&str>| {
            let path = self.path("accessToken", account);
            is_set(self.own("accessToken", account)).then(|| format!("{path} is configured"))
        };
        let better = match account {
            None => configured(None)
                .or_else(|| env("MATRIX_ACCESS_TOKEN"))
                .or_else(|| env("MATRIX_DEFAULT_ACCESS_TOKEN"))
                .or_else(|| configured(Some("default"))),
            Some(account) => configured(Some(account))
                .or_else(|| env(&format!("MATRIX_{}_ACCESS_TOKEN", matrix_env_part(account))))
                .or_else(|| {
                    if account == "default" {
                        configured(None)
                    } else {
                        None
                    }
                })
                .or_else(|| {
                    if account == "default" {
                        env("MATRIX_ACCESS_TOKEN")
                    } else {
                        None
                    }
                }),
        };
        better.map_or(Ok(()), Err)
    }

    /// A setting of the account, or of the channel.
    fn own(&self, key: &str, account: Option<&str>) -> Option<&'a Value> {
        match account {
            Some(account) => self.base?.get("accounts")?.get(account)?.get(key),
            None => self.base?.get(key),
        }
    }

    /// The account's own setting if it has the key, else the channel's.
    fn effective(&self, key: &str, account: Option<&str>) -> Option<&'a Value> {
        self.own(key, account).or_else(|| self.own(key, None))
    }

    fn path(&self, key: &str, account: Option<&str>) -> Path {
        match account {
            Some(account) => Path::new(["channels", self.name, "accounts", account, key]),
            None => Path::new(["channels", self.name, key]),
        }
    }
}

/// An account id as part of a variable name: letters and digits in capitals, anything else as
/// `_X<hex>_`.
fn matrix_env_part(account: &str) -> String {
    let id = match account.trim() {
        "" => "default".to_owned(),
        id => normalise_agent_id(id),
    };
    id.chars()
        .map(|c| match c {
            'a'..='z' | '0'..='9' => c.to_ascii_uppercase().to_string(),
            other => format!("_X{:X}_", u32::from(other)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use zeroize::Zeroizing;

    use super::*;
    use crate::config::EnvView;

    fn judge(tree: &Value, path: &str, env: &[(&str, &str)]) -> String {
        let vars: BTreeMap<String, Zeroizing<String>> = env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), Zeroizing::new((*v).to_owned())))
            .collect();
        let env = EnvView::new(vars);
        let context = Context {
            tree,
            env: &env,
            plugins: None,
            predicates: &BTreeMap::new(),
        };
        let found = activity(&context, &Path::parse(path).unwrap());
        match found.active {
            Ok(()) => found.owners.join(" "),
            Err(reason) => format!("no: {reason}"),
        }
    }

    #[test]
    fn token_files_replace_bot_tokens() {
        let tree = json!({"channels": {"telegram": {"botToken": "b", "accounts": {
            "a": {"tokenFile": "/t"}, "b": {}, "c": {"botToken": "own"}, "d": {"enabled": false},
        }}}});
        assert_eq!(
            judge(&tree, "channels.telegram.botToken", &[]),
            "channel:telegram/b"
        );
        assert_eq!(
            judge(&tree, "channels.telegram.accounts.a.botToken", &[]),
            "no: channels.telegram.accounts.a.tokenFile is configured"
        );
        let tree =
            json!({"channels": {"x": {"botToken": "b", "tokenFile": "/t", "accounts": {"a": {}}}}});
        assert_eq!(
            judge(&tree, "channels.x.botToken", &[]),
            "no: channels.x.tokenFile is configured"
        );
    }

    #[test]
    fn modes_are_looked_up_per_account() {
        let tree = json!({"channels": {"slack": {"mode": "HTTP", "appToken": "a", "accounts": {
            "w": {}, "s": {"mode": "socket"},
        }}}});
        assert_eq!(
            judge(&tree, "channels.slack.appToken", &[]),
            "channel:slack/s"
        );
        assert_eq!(
            judge(&tree, "channels.slack.signingSecret", &[]),
            "channel:slack/w"
        );
        let tree = json!({"channels": {"feishu": {"encryptKey": "k"}}});
        assert_eq!(
            judge(&tree, "channels.feishu.encryptKey", &[]),
            "no: channels.feishu.connectionMode is \"websocket\""
        );
    }

    #[test]
    fn matrix_passwords_give_way_to_tokens() {
        let tree = json!({"channels": {"matrix": {"password": "p", "accounts": {"my.bot": {"password": "q"}}}}});
        let path = "channels.matrix.accounts[\"my.bot\"].password";
        assert_eq!(judge(&tree, path, &[]), "channel:matrix/my.bot");
        assert_eq!(
            judge(&tree, path, &[("MATRIX_MY_X2D_BOT_ACCESS_TOKEN", "t")]),
            "no: MATRIX_MY_X2D_BOT_ACCESS_TOKEN is set"
        );
        assert_eq!(
            judge(&tree, "channels.matrix.password", &[]),
            "channel:matrix/default"
        );
        assert_eq!(
            judge(
                &tree,
                "channels.matrix.password",
                &[("MATRIX_ACCESS_TOKEN", "t")]
            ),
            "no: MATRIX_ACCESS_TOKEN is set"
        );
    }
}
