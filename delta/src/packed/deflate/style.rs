//! Programs that write deflate, and their levels: what tells them apart is their hash, and how large their blocks are.

use super::HALF;

/// A program that writes deflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum Writer {
    /// zlib as it is used most (`memLevel` 8).
    Zlib = 0,
    /// GNU gzip.
    Gnu = 1,
    /// zlib with larger blocks and hash table (`memLevel` 9).
    ZlibLarge = 2,
    /// Chromium's zlib, as in Node and npm: the hash is of four bytes, so that few matches of three are found.
    Chromium = 3,
    /// The same of before 2022, where a processor counts CRC-32C: that is the hash, of three bytes above level 5.
    ChromiumCrc = 4,
    /// The library zlib-rs, given pieces of 64 KiB.
    ZlibRs = 5,
    /// The same, flushed before the end.
    ZlibRsFlushed = 6,
    /// The same, flushed before the end, given pieces of 8 KiB.
    ZlibRsCopied = 7,
}

impl Writer {
    /// All of them, those that are met most first.
    pub const ALL: [Writer; 8] = [
        Writer::Zlib,
        Writer::Gnu,
        Writer::Chromium,
        Writer::ZlibRs,
        Writer::ZlibRsCopied,
        Writer::ZlibRsFlushed,
        Writer::ZlibLarge,
        Writer::ChromiumCrc,
    ];

    /// Whether what it writes is computed here, and so frozen with the format; else a library does it.
    pub fn is_frozen(self) -> bool {
        self < Writer::ZlibRs
    }

    /// How many hashes there are.
    pub fn hashes(self) -> usize {
        match self {
            Writer::ZlibLarge => 2 * HALF,
            _ => HALF,
        }
    }

    /// How many symbols fill a block.
    pub fn symbols(self) -> usize {
        match self {
            Writer::Gnu | Writer::ZlibLarge => HALF - 1,
            _ => HALF / 2 - 1,
        }
    }
}

/// Which program wrote a stream, and at what level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// The program.
    pub writer: Writer,
    /// 1 to 9.
    pub level: u8,
}

impl Default for Style {
    fn default() -> Self {
        Style::new(Writer::Gnu, 9)
    }
}

impl Style {
    /// That program at that level.
    pub const fn new(writer: Writer, level: u8) -> Style {
        Style { writer, level }
    }

    /// All of them, those that are met most first.
    pub fn all() -> impl Iterator<Item = Style> {
        let levels = [6, 9, 1, 8, 7, 5, 4, 3, 2];
        levels
            .into_iter()
            .flat_map(|level| Writer::ALL.map(|writer| Style { writer, level }))
    }

    /// As one byte of a plan.
    pub fn to_byte(self) -> u8 {
        self.level | (self.writer as u8) << 4
    }

    /// Read from a plan; `None` where there is no such style.
    pub fn from_byte(byte: u8) -> Option<Style> {
        let writer = Writer::ALL.into_iter().find(|&w| w as u8 == byte >> 4)?;
        let level = byte & 0xf;
        (1..=9).contains(&level).then_some(Style { writer, level })
    }

    /// The hash of what begins with these bytes, but for its higher bits.
    pub fn hash(self, bytes: [u8; 4]) -> usize {
        let [a, b, c, _] = bytes.map(usize::from);
        let all = u32::from_le_bytes(bytes);
        match self.writer {
            Writer::ZlibLarge => a << 12 ^ b << 6 ^ c,
            Writer::Chromium => (all.wrapping_mul(66521).wrapping_add(66521) >> 16) as usize,
            Writer::ChromiumCrc if self.level > 5 => crc_32c(all & 0xff_ffff) as usize,
            Writer::ChromiumCrc => crc_32c(all) as usize,
            _ => a << 10 ^ b << 5 ^ c,
        }
    }
}

/// CRC-32C of each byte.
const CRC_32C: [u32; 256] = {
    let (mut table, mut byte) = ([0; 256], 0);
    while byte < 256 {
        let (mut sum, mut bit) = (byte as u32, 0);
        while bit < 8 {
            sum = sum >> 1 ^ if sum & 1 != 0 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

/// CRC-32C of a word from 0, without inversions, as an instruction of x86-64 counts it.
fn crc_32c(word: u32) -> u32 {
    (0..4).fold(word, |sum, _| sum >> 8 ^ CRC_32C[(sum & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_that_of_the_standard() {
        // "123456789" is the check of every list of sums; here inverted at both ends, and byte by byte at last.
        let mut sum = !0u32;
        for word in [*b"1234", *b"5678"] {
            sum = crc_32c(sum ^ u32::from_le_bytes(word));
        }
        sum = sum >> 8 ^ CRC_32C[((sum ^ u32::from(b'9')) & 0xff) as usize];
        assert_eq!(!sum, 0xe306_9283);
    }

    #[test]
    fn bytes_name_styles() {
        for style in Style::all() {
            assert_eq!(Style::from_byte(style.to_byte()), Some(style));
        }
        for none in [0, 0x0a, 0x10, 0x81, 0xff] {
            assert_eq!(Style::from_byte(none), None);
        }
    }
}
