//! The depth guard: how deeply a text nests, found without recursion and before any parser that
//! recurses sees it. Works for JSON and JSON5, on valid and invalid text alike.

/// The deepest nesting of the text, or the byte offset of the first bracket that opens a level
/// below `limit`.
pub(crate) fn measure(text: &str, limit: usize) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    let mut deepest = 0usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
                if depth > limit {
                    return Err(at);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' | b'\'' => at = string_end(bytes, at),
            b'/' => at = comment_end(bytes, at),
            _ => {}
        }
        at += 1;
    }
    Ok(deepest)
}

/// Index of the quote that closes the string opened at `start`, or of the last byte.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let quote = bytes.get(start).copied().unwrap_or(b'"');
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            // A string cannot span lines unless the break is escaped; the parser stops here too.
            b'\n' | b'\r' => return at,
            _ if byte == quote => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Index of the last byte of the comment that starts at `start`, or `start` if there is none.
fn comment_end(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start + 1..).unwrap_or_default();
    match rest.first() {
        Some(b'/') => {
            // Also ends at U+2028 and U+2029, which JSON5 counts as line ends.
            let end = rest.iter().enumerate().position(|(i, byte)| {
                matches!(byte, b'\n' | b'\r')
                    || (*byte == 0xE2
                        && rest.get(i + 1) == Some(&0x80)
                        && matches!(rest.get(i + 2), Some(0xA8 | 0xA9)))
            });
            start + 1 + end.unwrap_or(rest.len())
        }
        Some(b'*') => {
            let body = rest.get(1..).unwrap_or_default();
            let end = body.windows(2).position(|pair| pair == b"*/");
            start + 2 + end.map_or(body.len(), |i| i + 1)
        }
        _ => start,
    }
}

#[cfg(test)]
mod tests {
    use super::measure;

    #[test]
    fn measures_the_deepest_level() {
        for (text, depth) in [("1", 0), ("[]", 1), ("[[],[[]],[]]", 3), ("{a:{}}", 2)] {
            assert_eq!(measure(text, 128), Ok(depth), "{text}");
        }
    }

    #[test]
    fn counts_brackets_outside_strings_and_comments() {
        for (text, limit, expected) in [
            ("[[1]]", 2, None),
            ("[[1]]", 1, Some(1)),
            ("{a:{b:1}}", 1, Some(3)),
            ("['[[[', \"{{\\\"{\"]", 1, None),
            ("[ /* [[ */ 1 // [[\n, 2]", 1, None),
            ("[ /* [[ */ [ ]", 1, Some(11)),
            ("[] [] {}", 1, None),
            ("[ // x\u{2028}[]]", 1, Some(9)),
            ("'a\\\n[' [[", 1, Some(8)),
            ("[/", 5, None),
            ("[/*", 5, None),
            ("'\\", 5, None),
        ] {
            assert_eq!(measure(text, limit).err(), expected, "{text}");
        }
    }
}
