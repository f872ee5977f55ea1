//! Bytes as text and back: `%XX` for all that is not printable ASCII; and path patterns.

/// Escapes bytes outside printable ASCII, and `%` `"` `\`.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &b in bytes {
        match b {
            b'%' | b'"' | b'\\' => out.push_str(&format!("%{b:02X}")),
            0x20..=0x7e => out.push(char::from(b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// Reads what [`escape`] writes; `None` for any other spelling.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let digit = |b: u8| char::from(b).to_digit(16);
            out.push((digit(bytes.next()?)? * 16 + digit(bytes.next()?)?) as u8);
        } else {
            out.push(b);
        }
    }
    (escape(&out) == text).then_some(out)
}

/// Matches a path: `*` stands for any bytes but `/`, `**` for any bytes at all.
pub fn glob(pattern: &[u8], path: &[u8]) -> bool {
    // Places in the pattern reached after each byte of the path: no recursion, so no blow-up.
    let mut at = vec![false; pattern.len() + 1];
    at[0] = true;
    let skip_stars = |at: &mut Vec<bool>| {
        for i in 0..pattern.len() {
            if at[i] && pattern[i] == b'*' {
                at[i + 1] = true;
            }
        }
    };
    skip_stars(&mut at);
    for &b in path {
        let mut next = vec![false; pattern.len() + 1];
        for i in (0..pattern.len()).filter(|&i| at[i]) {
            match pattern[i] {
                b'*' => {
                    let double = pattern.get(i + 1) == Some(&b'*') || (i > 0 && pattern[i - 1] == b'*');
                    if b != b'/' || double {
                        next[i] = true;
                    }
                }
                p if p == b => next[i + 1] = true,
                _ => {}
            }
        }
        skip_stars(&mut next);
        at = next;
    }
    at[pattern.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_round_trips_in_one_spelling() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&all)), Some(all));
        for other in ["%41", "%0a", "\u{e9}", "%", "%4"] {
            assert_eq!(unescape(other), None, "{other}");
        }
    }

    #[test]
    fn globs() {
        for (pattern, path, want) in [
            ("etc/*.conf", "etc/a.conf", true),
            ("etc/*.conf", "etc/x/a.conf", false),
            ("etc/**", "etc/x/a.conf", true),
            ("etc/**", "usr/etc/x", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("*", "", true),
        ] {
            assert_eq!(
                glob(pattern.as_bytes(), path.as_bytes()),
                want,
                "{pattern} {path}"
            );
        }
    }
}
