//! Bytes as text and back: `%XX` for all that is not printable ASCII; and path patterns.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

/// What is escaped beside bytes that are not ASCII.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b'"').add(b'\\');

/// Escapes bytes outside printable ASCII, and `%` `"` `\`.
pub fn escape(bytes: &[u8]) -> String {
    percent_encode(bytes, ESCAPED).to_string()
}

/// Reads what [`escape`] writes; `None` for any other spelling.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let out: Vec<u8> = percent_decode_str(text).collect();
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
