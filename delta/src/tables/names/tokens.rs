//! Parts of symbol names that a rebuild changes although the name is the same: hashes of crates and modules.
//!
//! Rust v0 crate disambiguators (`Cs<base 62>_`, RFC 2603), legacy hashes (`17h<16 hex digits>E`), `.llvm.<digits>`
//! of ThinLTO's promotion, `anon.<hex>` and names of code generation units; numbers of a kernel's `__UNIQUE_ID`, which
//! count what a file includes, so that they shift.

use crate::maps::HashMap;
use std::borrow::Cow;

/// A token: where it starts and ends in its name.
pub type Span = (usize, usize);

/// Fewest hexadecimal digits that are a hash.
const HEX: usize = 16;
/// Most digits of a number that counts.
const DIGITS: usize = 9;
/// Bytes that a token remembered counts for, beside the token.
const PLACE: u64 = 40;
/// Longest token, in bytes.
pub const LONGEST: usize = 64;

fn run(name: &[u8], from: usize, of: impl Fn(u8) -> bool) -> usize {
    from + name[from..].iter().take_while(|&&b| of(b)).count()
}

fn is_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

/// Whether a name is mangled in Rust's v0 scheme.
pub fn is_v0(name: &[u8]) -> bool {
    name.starts_with(b"_R")
}

/// Whether the tokens of a name are numbers, each of which moves as far as the last one did: one that ends it, and one
/// before that if there is a dot between them.
pub fn is_counted(name: &[u8]) -> bool {
    name.starts_with(b"__UNIQUE_ID_")
}

/// The tokens of a counted name.
fn numbers(name: &[u8], out: &mut Vec<Span>) {
    let mut end = name.len();
    while let Some(span) = number(&name[..end]).filter(|&(_, to)| to == end && out.len() < 2) {
        out.insert(0, span);
        if !is_behind_dot(name, span) {
            break;
        }
        end = span.0 - 1;
    }
}

/// Whether a number stands behind a dot.
pub fn is_behind_dot(name: &[u8], (from, _): Span) -> bool {
    name[..from].ends_with(b".")
}

/// Finds the tokens of a name, in order.
pub fn find(name: &[u8], out: &mut Vec<Span>) {
    out.clear();
    if is_counted(name) {
        return numbers(name, out);
    }
    let v0 = is_v0(name);
    let mut at = 0;
    while at < name.len() {
        let rest = &name[at..];
        let to = if v0 && rest.starts_with(b"Cs") {
            let to = run(name, at + 2, |b| b.is_ascii_alphanumeric());
            at += 2;
            if name.get(to) == Some(&b'_') { to } else { at }
        } else if rest.starts_with(b".llvm.") {
            at += 6;
            run(name, at, |b| b.is_ascii_digit())
        } else if is_hex(rest[0]) && !(at > 0 && is_word(name, at - 1)) {
            let to = run(name, at, is_hex);
            if to - at >= HEX {
                to
            } else {
                at = to;
                continue;
            }
        } else {
            at += 1;
            continue;
        };
        if to > at && to - at <= LONGEST {
            out.push((at, to));
        }
        at = to.max(at);
    }
}

/// Whether the byte before a run of digits makes it part of a word.
fn is_word(name: &[u8], at: usize) -> bool {
    name[at].is_ascii_alphanumeric() && !name[..=at].ends_with(b"17h")
}

/// The last number of a name that is no token: where its digits start and end. Compilers number what they make.
pub fn number(name: &[u8]) -> Option<Span> {
    let name = name
        .iter()
        .rposition(|&b| b == b'.')
        .filter(|&at| name[..at].ends_with(b".llvm"))
        .map_or(name, |at| &name[..at]);
    let end = name.iter().rposition(u8::is_ascii_digit)? + 1;
    let start = name[..end]
        .iter()
        .rposition(|b| !b.is_ascii_digit())
        .map_or(0, |at| at + 1);
    let counts = end - start <= DIGITS && (name[start] != b'0' || end - start == 1);
    counts.then_some((start, end))
}

/// Whether a name may be one of a series.
pub fn ends_in_number(name: &[u8]) -> bool {
    let end = |end: usize| end == name.len() || name[end..].starts_with(b".llvm.");
    number(name).is_some_and(|span| end(span.1))
}

/// Whether two names differ in nothing but their number.
pub fn is_numbered_like(a: &[u8], b: &[u8]) -> bool {
    let (Some((from, to)), Some((first, end))) = (number(a), number(b)) else {
        return false;
    };
    from == first && a[..from] == b[..from] && a[to..] == b[end..]
}

/// The value of a number found by [`number`].
pub fn value(name: &[u8], (from, to): Span) -> u64 {
    name[from..to].iter().fold(0, |v, b| v * 10 + u64::from(b - b'0'))
}

/// The name with another number.
pub fn renumber(name: &[u8], (from, to): Span, number: u64, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&name[..from]);
    out.extend_from_slice(number.to_string().as_bytes());
    out.extend_from_slice(&name[to..]);
}

fn mix(state: u64, value: u64) -> u64 {
    let x = (state ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^ (x >> 29)
}

/// A hash of bytes.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    let mut h = bytes.len() as u64;
    for chunk in chunks.by_ref() {
        h = mix(h, u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
    }
    chunks.remainder().iter().fold(h, |h, &b| mix(h, u64::from(b)))
}

/// A hash of a name without its tokens, and without the back references of Rust v0 that they move.
pub fn template(name: &[u8], spans: &mut Vec<Span>) -> u64 {
    find(name, spans);
    let mut h = spans.len() as u64;
    let mut from = 0;
    let piece = |mut from: usize, to: usize, mut h: u64| {
        if is_v0(name) {
            while let Some((at, end)) = back_reference(&name[..to], from) {
                h = mix(digest(&name[from..at]), h);
                from = end;
            }
        }
        mix(digest(&name[from..to]), h)
    };
    for &(start, end) in spans.iter() {
        h = piece(from, start, h);
        from = end;
    }
    piece(from, name.len(), h)
}

/// The next `B<base 62>_` from `at` on: the digits and the underscore.
fn back_reference(name: &[u8], at: usize) -> Option<Span> {
    let mut at = at;
    loop {
        at += name.get(at..)?.iter().position(|&b| b == b'B')? + 1;
        let to = run(name, at, |b| b.is_ascii_alphanumeric());
        if name.get(to) == Some(&b'_') && to - at <= 4 {
            return Some((at, to + 1));
        }
    }
}

fn base_62(digits: &[u8]) -> usize {
    let value = |b: u8| match b {
        b'0'..=b'9' => b - b'0',
        b'a'..=b'z' => b - b'a' + 10,
        _ => b.wrapping_sub(b'A').wrapping_add(36),
    };
    match digits {
        [] => 0,
        _ => {
            1 + digits.iter().fold(0usize, |n, &b| {
                n.saturating_mul(62).saturating_add(value(b).into())
            })
        }
    }
}

fn put_base_62(mut number: usize, out: &mut Vec<u8>) {
    if number == 0 {
        return;
    }
    number -= 1;
    let first = out.len();
    loop {
        let digit = (number % 62) as u8;
        out.push(match digit {
            0..=9 => b'0' + digit,
            10..=35 => b'a' + digit - 10,
            _ => b'A' + digit - 36,
        });
        number /= 62;
        if number == 0 {
            break;
        }
    }
    out[first..].reverse();
}

/// Writes `old` with its tokens replaced, and the back references of Rust v0 following what moved.
pub fn replace<'t>(old: &[u8], spans: &[Span], tokens: impl Fn(usize) -> &'t [u8], out: &mut Vec<u8>) {
    out.clear();
    let v0 = is_v0(old);
    let moved = v0
        && spans
            .iter()
            .enumerate()
            .any(|(i, &(a, b))| tokens(i).len() != b - a);
    // Where old positions went, for back references count bytes behind `_R`.
    let mut places: Vec<(usize, usize)> = Vec::new();
    let plain = |from: usize, to: usize, out: &mut Vec<u8>, places: &mut Vec<(usize, usize)>| {
        places.push((from, out.len()));
        let mut from = from;
        while moved && let Some((at, end)) = back_reference(&old[..to], from) {
            out.extend_from_slice(&old[from..at]);
            let target = base_62(&old[at..end - 1]) + 2;
            let after = places.partition_point(|p| p.0 <= target);
            let (was, is) = after.checked_sub(1).map_or((0, 0), |i| places[i]);
            put_base_62((target - was + is).saturating_sub(2), out);
            out.push(b'_');
            places.push((end, out.len()));
            from = end;
        }
        out.extend_from_slice(&old[from..to]);
    };
    let mut from = 0;
    for (i, &(start, end)) in spans.iter().enumerate() {
        plain(from, start, out, &mut places);
        out.extend_from_slice(tokens(i));
        from = end;
    }
    plain(from, old.len(), out, &mut places);
}

/// Old tokens and the new ones that they became.
#[derive(Clone, Debug, Default)]
pub struct TokenMap {
    places: HashMap<u64, (u32, u32)>,
    pool: Vec<u8>,
    /// How far the last number of a counted name moved, and the last one behind a dot.
    shifts: [Option<i64>; 2],
}

impl TokenMap {
    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        self.pool.len() as u64 + PLACE * self.places.len() as u64
    }

    /// What a token of an old name becomes, if that is known.
    pub fn get(&self, name: &[u8], span: Span) -> Option<Cow<'_, [u8]>> {
        if is_counted(name) {
            let shift = self.shifts[usize::from(is_behind_dot(name, span))]?;
            let moved = u64::try_from(value(name, span) as i64 + shift).ok()?;
            return Some(moved.to_string().into_bytes().into());
        }
        let &(at, len) = self.places.get(&digest(&name[span.0..span.1]))?;
        Some(self.pool[at as usize..(at + len) as usize].into())
    }

    /// Learns what a token of an old name became in the new one.
    pub fn learn(&mut self, old: (&[u8], Span), new: (&[u8], Span)) {
        if is_counted(old.0) {
            let shift = &mut self.shifts[usize::from(is_behind_dot(old.0, old.1))];
            if is_counted(new.0) {
                *shift = Some(value(new.0, new.1) as i64 - value(old.0, old.1) as i64);
            }
            return;
        }
        let token = &new.0[new.1.0..new.1.1];
        if self.get(old.0, old.1).as_deref() != Some(token) {
            let place = (self.pool.len() as u32, token.len() as u32);
            self.places.insert(digest(&old.0[old.1.0..old.1.1]), place);
            self.pool.extend_from_slice(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(name: &str) -> Vec<String> {
        let mut spans = Vec::new();
        find(name.as_bytes(), &mut spans);
        spans.iter().map(|&(a, b)| name[a..b].to_string()).collect()
    }

    #[test]
    fn tokens_are_found() {
        assert_eq!(
            tokens("_RNvNtCsc36rpYXAlPq_4core3ptr.llvm.123"),
            ["c36rpYXAlPq", "123"]
        );
        assert_eq!(tokens("_ZN4core3ptr17h0123456789abcdefE"), ["0123456789abcdef"]);
        assert_eq!(
            tokens("anon.87cc8f3a6e7f96954699ca0f161535d3.442"),
            ["87cc8f3a6e7f96954699ca0f161535d3"]
        );
        assert_eq!(tokens("__UNIQUE_ID_ddebug915.20"), ["915", "20"]);
        assert_eq!(tokens("__UNIQUE_ID_nfs4_type607"), ["607"]);
        assert!(tokens("__UNIQUE_ID_0123456789abcdef.llvm.7x").is_empty());
        assert!(tokens("Csabc_ deadbeef bad_0123456789abcdef0"[..20].as_ref()).is_empty());
    }

    #[test]
    fn back_references_follow() {
        let old = b"_RINvCsab_4coreNtB4_3fooB1_";
        let mut spans = Vec::new();
        find(old, &mut spans);
        let mut new = Vec::new();
        replace(old, &spans, |_| b"abcdef".as_slice(), &mut new);
        assert_eq!(new, b"_RINvCsabcdef_4coreNtB4_3fooB1_");
        let old = b"_RINvCsab_4coreNtCsab_3fooBf_";
        find(old, &mut spans);
        replace(old, &spans, |_| b"abcdef".as_slice(), &mut new);
        assert_eq!(new, b"_RINvCsabcdef_4coreNtCsabcdef_3fooBj_");
        assert_eq!(template(old, &mut spans), template(&new, &mut spans));
    }

    #[test]
    fn numbers_are_found() {
        let count = |name: &[u8]| number(name).map(|span| value(name, span));
        assert_eq!(count(b"GCC_except_table17"), Some(17));
        assert_eq!(count(b"anon.ab.12.llvm.99887766"), Some(12));
        assert_eq!(count(b"a.007"), None);
        assert!(is_numbered_like(b"__func__.1", b"__func__.12") && !is_numbered_like(b"a.1", b"b.1"));
    }

    proptest! {
        #[test]
        fn any_name_is_told(name in "(_R|__UNIQUE_ID_)?([A-Ca-c0-9_.]|Cs|17h|\\.llvm\\.){0,40}", token in "[a-z0-9]{0,20}") {
            let mut spans = Vec::new();
            find(name.as_bytes(), &mut spans);
            let mut out = Vec::new();
            let same: Vec<&[u8]> = spans.iter().map(|&(a, b)| &name.as_bytes()[a..b]).collect();
            replace(name.as_bytes(), &spans, |i| same[i], &mut out);
            prop_assert_eq!(&out, name.as_bytes());
            replace(name.as_bytes(), &spans, |_| token.as_bytes(), &mut out);
        }

        #[test]
        fn numbers_come_back(number in 0usize..1_000_000) {
            let mut digits = Vec::new();
            put_base_62(number, &mut digits);
            prop_assert_eq!(base_62(&digits), number);
        }
    }
}
