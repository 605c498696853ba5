//! What the browser shows at the end of a sign-in. No script, nothing from elsewhere.

/// Longest text of a provider on a page, in characters.
const MAX_CHARS: usize = 300;

/// A complete HTTP/1.1 response.
pub(super) fn response(status: &str, title: &str, body: &str, extra: &str) -> Vec<u8> {
    let cut: String = body.chars().take(2 * MAX_CHARS).collect();
    let (title, body) = (escape(title), escape(&cut));
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font:16px/1.5 sans-serif;max-width:34em;margin:15vh auto;padding:0 1em}}</style>\
         <h1>{title}</h1><p>{body}</p></html>\n"
    );
    format!(
        "HTTP/1.1 {status}\r\n\
         Content-Type: text/html; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         Cache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n\
         {extra}Connection: close\r\n\r\n{page}",
        page.len()
    )
    .into_bytes()
}

/// The sign-in worked.
pub(super) fn success(label: &str) -> Vec<u8> {
    let body = format!("{label} is connected. You can close this window.");
    response("200 OK", "Signed in", &body, "")
}

/// The sign-in failed.
pub(super) fn failure(status: &str, reason: &str) -> Vec<u8> {
    let reason: String = reason.chars().take(MAX_CHARS).collect();
    let body = format!("{reason} Return to your terminal for details.");
    response(status, "Sign-in failed", &body, "")
}

/// Nobody waits any more.
pub(super) fn neutral() -> Vec<u8> {
    let body = "openclaw-auth is no longer waiting for this sign-in.";
    response("410 Gone", "Sign-in ended", body, "")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_foreign_becomes_markup() {
        let page = failure("400 Bad Request", "<script>alert('x')</script>&\"");
        let page = String::from_utf8(page).unwrap();
        assert!(!page.contains("<script>"));
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;"));
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(head.contains("Cache-Control: no-store"));
        assert!(head.contains("default-src 'none'"));
    }
}
