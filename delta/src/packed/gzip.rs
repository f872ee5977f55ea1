//! Where packed streams of gzip files begin (RFC 1952). The encoder's alone.

/// How each member begins.
pub const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const CHECKED: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

/// The longest name or comment that is looked through: bytes that only look like a header have none.
const MOST: usize = 4096;

/// The length of the header that these bytes begin with, and its word about the level.
pub fn header(bytes: &[u8]) -> Option<(usize, u8)> {
    let (&flags, &level) = (bytes.get(3)?, bytes.get(8)?);
    if !bytes.starts_with(&MAGIC) || flags >= 0x20 {
        return None;
    }
    let mut at = 10;
    if flags & EXTRA != 0 {
        let len = bytes.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([len[0], len[1]]));
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            at += bytes.get(at..)?.iter().take(MOST).position(|&b| b == 0)? + 1;
        }
    }
    if flags & CHECKED != 0 {
        at += 2;
    }
    (at < bytes.len()).then_some((at, level))
}
