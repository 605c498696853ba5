//! Checks and layers of descriptions.

use zeroize::Zeroizing;

use super::*;

fn env(vars: &[(&str, &str)]) -> EnvView {
    let vars = vars
        .iter()
        .map(|(k, v)| ((*k).to_owned(), Zeroizing::new((*v).to_owned())));
    EnvView::new(vars.collect())
}

fn configured(id: &str, description: &Value) -> Result<Provider> {
    let tree = json!({"oauth": {"providers": {id: description}}});
    Providers::layered(&tree, &env(&[]), &|_| None)
        .get(id)
        .cloned()
}

fn minimal(extra: &Value) -> Value {
    let mut description = json!({
        "authorizeUrl": "https://idp.example.com/auth",
        "tokenUrl": "https://idp.example.com/token",
        "clientId": "c",
        "redirectUri": "http://localhost:1455/cb",
    });
    merge(&mut description, extra);
    description
}

#[test]
fn the_built_in_descriptions_are_valid() {
    let providers = Providers::built_in();
    assert_eq!(
        providers.ids().collect::<Vec<_>>(),
        ["anthropic", "openai-codex"]
    );
    let codex = providers.get("codex").unwrap();
    assert_eq!(codex.id, "openai-codex");
    assert_eq!(codex.redirect_ports, [1455, 1457]);
    assert_eq!(codex.home_authority.as_deref(), Some("auth.openai.com"));
    assert!(!providers.get("anthropic").unwrap().login);
    let error = providers.get("openai-codx").unwrap_err();
    assert_eq!(error.code(), Code::OauthUnknownProvider);
    assert!(
        error.message().contains("did you mean \"openai-codex\"?"),
        "{error}"
    );
}

#[test]
fn descriptions_are_checked() {
    assert!(configured("x", &minimal(&json!({}))).is_ok());
    for (extra, field) in [
        (
            json!({"tokenUrl": "http://idp.example.com/token"}),
            "tokenUrl",
        ),
        (
            json!({"authorizeParams": {"state": "x"}}),
            "authorizeParams",
        ),
        (
            json!({"refreshParams": {"grant_type": "x"}}),
            "refreshParams",
        ),
        (json!({"tokenHeaders": {"Cookie": "x"}}), "tokenHeaders"),
        (json!({"tokenHeaders": {"X": "a\r\nb: c"}}), "tokenHeaders"),
        (json!({"clientId": ""}), "clientId"),
        (json!({"redirectUri": "cb"}), "redirectUri"),
        (json!({"redirectPorts": [70000]}), "redirectPorts"),
        (json!({"tokenFormat": "xml"}), "tokenFormat"),
        (json!({"discovery": true}), "issuer"),
        (
            json!({"email": [{"token": "other", "path": ["email"]}]}),
            "email",
        ),
        (json!({"refresh": {"rotates": "often"}}), "refresh"),
        (json!({"tokenUlr": "x"}), "tokenUlr"),
    ] {
        let error = configured("x", &minimal(&extra)).unwrap_err();
        assert_eq!(error.code(), Code::OauthProviderInvalid);
        assert_eq!(
            error.details().get("field"),
            Some(&json!(field)),
            "{extra} {error}"
        );
    }
    for fine in [
        json!({"tokenUrl": "http://127.0.0.1:44510/token"}),
        json!({"tokenUrl": "http://[::1]:1/token"}),
        json!({"redirectUri": "http://example.com/cb"}),
    ] {
        assert!(configured("x", &minimal(&fine)).is_ok(), "{fine}");
    }
    assert!(configured("X Y", &minimal(&json!({}))).is_err());
}

#[test]
fn layers_win_field_by_field() {
    let tree = json!({"oauth": {"providers": {"openai-codex": {
        "authorizeParams": {"originator": "mine"},
        "scopes": ["openid"],
    }}}});
    let vars = env(&[
        (
            "OPENCLAW_AUTH_OAUTH_OPENAI_CODEX_TOKEN_URL",
            "http://127.0.0.1:44510/token",
        ),
        ("OPENCLAW_AUTH_OAUTH_OPENAI_CODEX_REDIRECT_PORTS", "0, 1455"),
        (
            "OPENCLAW_AUTH_OAUTH_OPENAI_CODEX_AUTHORIZE_PARAMS",
            "a=b%20c",
        ),
        ("OPENCLAW_AUTH_OAUTH_OPENAI_CODEX_CLIENT_SECRET", "s3cret"),
    ]);
    let providers = Providers::layered(&tree, &vars, &|_| None);
    let codex = providers.get("openai-codex").unwrap();
    assert_eq!(codex.scopes, ["openid"]);
    assert_eq!(
        codex.authorize_params.len(),
        4,
        "{:?}",
        codex.authorize_params
    );
    assert!(
        codex
            .authorize_params
            .contains(&("originator".to_owned(), "mine".to_owned()))
    );
    assert_eq!(codex.redirect_ports, [0, 1455]);
    assert_eq!(codex.client_auth, ClientAuth::Body);
    assert_eq!(codex.token_endpoint().unwrap().port(), Some(44510));
    assert_eq!(
        codex.home_authority.as_deref(),
        Some("auth.openai.com"),
        "not redirected"
    );
    assert!(!format!("{codex:?}").contains("s3cret"));
}

#[test]
fn t27_variables_of_a_dotenv_do_not_redirect_tokens() {
    let mut vars = env(&[]);
    let name = "OPENCLAW_AUTH_OAUTH_OPENAI_CODEX_TOKEN_URL";
    let text = format!("{name}=https://evil.test/token\nOTHER=1\n");
    vars.add_dotenv(&text, std::path::Path::new("/s/.env"), &mut Vec::new());
    let providers = Providers::layered(&Value::Null, &vars, &|_| None);
    let url = providers
        .get("openai-codex")
        .unwrap()
        .token_endpoint()
        .unwrap()
        .to_string();
    assert_eq!(url, "https://auth.openai.com/oauth/token");
    assert_eq!(providers.ignored, [name]);
}
