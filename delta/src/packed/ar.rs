//! What is read of an archive of `ar`: where its list of places is, and what its members are called. The encoder's
//! alone.
//!
//! Source of the layout: System V gABI, "Archive File"; long names and words of eight bytes as GNU binutils write them.

use super::places::Word;
use std::ops::Range;

/// How an archive begins.
pub const MAGIC: [u8; 8] = *b"!<arch>\n";

/// Length of the header of a member.
const HEADER: usize = 60;

/// The field of a header that names its member, and the length of that, if the header ends here.
fn header(bytes: &[u8], end: usize) -> Option<(&[u8], usize)> {
    let head = bytes.get(end.checked_sub(HEADER)?..end)?;
    let size = head.get(48..58).filter(|_| head.ends_with(b"`\n"))?;
    let size = std::str::from_utf8(size).ok()?.trim_end().parse().ok()?;
    Some((head[..16].trim_ascii_end(), size))
}

/// Where the first member of an archive stands that these bytes begin with, by its name and place.
fn first(bytes: &[u8]) -> Option<(&[u8], Range<usize>)> {
    bytes.starts_with(&MAGIC).then(|| member(bytes, MAGIC.len()))?
}

/// The member whose header begins here.
fn member(bytes: &[u8], at: usize) -> Option<(&[u8], Range<usize>)> {
    let from = at.checked_add(HEADER)?;
    let (name, size) = header(bytes, from)?;
    let to = from.checked_add(size).filter(|&to| to <= bytes.len())?;
    Some((name, from..to))
}

/// Size of its words if the member of that name lists where the members of symbols are.
fn lists(name: &[u8]) -> Option<Word> {
    match name {
        b"/" => Some(Word::Four),
        b"/SYM64/" => Some(Word::Eight),
        _ => None,
    }
}

/// The list of places of an archive that these bytes begin with: where it is, what its words are, and how many.
pub fn list(bytes: &[u8]) -> Option<(usize, Word, u64)> {
    let (name, range) = first(bytes)?;
    let word = lists(name)?;
    let (count, rest) = bytes[range.clone()].split_at_checked(word as usize)?;
    let count = count.iter().fold(0, |n, &b| n << 8 | u64::from(b));
    let fits = count > 0 && count <= rest.len() as u64 / word as u64;
    fits.then_some((range.start + word as usize, word, count))
}

/// The list of long names of an archive that these bytes begin with.
pub fn long_names(bytes: &[u8]) -> Option<Range<usize>> {
    let mut found = first(bytes)?;
    if lists(found.0).is_some() {
        found = member(bytes, found.1.end.next_multiple_of(2))?;
    }
    (found.0 == b"//").then_some(found.1)
}

/// The name of the member whose header ends here, some by the list of long names.
pub fn name<'b>(bytes: &'b [u8], at: usize, long: &'b [u8]) -> Option<&'b [u8]> {
    let (name, _) = header(bytes, at)?;
    let long = || {
        let digits = std::str::from_utf8(name.strip_prefix(b"/")?).ok()?;
        long.get(digits.parse().ok()?..)?.split(|&b| b == b'\n').next()
    };
    let name = long().unwrap_or(name);
    Some(name.strip_suffix(b"/").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut all = MAGIC.to_vec();
        for (name, bytes) in members {
            all.resize(all.len().next_multiple_of(2), b'\n');
            all.extend(format!("{name:<16}{:<32}{:<10}`\n", 0, bytes.len()).bytes());
            all.extend_from_slice(bytes);
        }
        all
    }

    #[test]
    fn members_are_called_as_the_archive_says() {
        let long = b"a_very_long_name.o/\nanother_long_name.o/\n";
        let all = archive(&[
            ("/", b"\0\0\0\x01\0\0\0\x60x"),
            ("//", long),
            ("/20", b"one"),
            ("short.o/", b"two"),
        ]);
        let names = long_names(&all).unwrap();
        assert_eq!(&all[names.clone()], long);
        let at = |text: &[u8]| all.windows(text.len()).position(|w| w == text).unwrap();
        let called = |text: &[u8]| name(&all, at(text), &all[names.clone()]).unwrap();
        assert_eq!(called(b"one"), b"another_long_name.o");
        assert_eq!(called(b"two"), b"short.o");
        assert_eq!(list(&all), Some((MAGIC.len() + HEADER + 4, Word::Four, 1)));
        assert_eq!(list(&archive(&[("/", b"\0\0\0\x03\0\0\0\x60x")])), None);
        assert_eq!(list(&archive(&[("x.o/", b"\0\0\0\x01\0\0\0\x60")])), None);
        for end in 0..all.len() {
            list(&all[..end]);
            long_names(&all[..end]);
            name(&all, end, b"");
        }
    }
}
