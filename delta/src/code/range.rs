//! A carry-less binary arithmetic coder with 64-bit bounds and 16-bit probabilities.
//!
//! After the binary coders of the PAQ family (M. Mahoney), widened so that the interval never gets too narrow.

/// Zeros at the end of a stream that are left out, at most; a reader is as many bytes ahead.
const PADDED: usize = 8;

/// One side of the coder: writes the bit it is given, or returns the one it reads.
pub trait Bits {
    /// Whether bits are read: what is given is not known then.
    const READS: bool;
    /// Codes one bit whose probability of being 1 is `p1 / 65536`, `1 <= p1 <= 65535`.
    fn bit(&mut self, p1: u32, bit: bool) -> bool;
    /// Codes a byte of which nothing is known.
    fn raw(&mut self, byte: u8) -> u8;
}

fn split(low: u64, high: u64, p1: u32) -> u64 {
    low + ((high - low) >> 16) * u64::from(p1)
}

/// A byte bit by bit, where the interval is too narrow to be cut in 256.
fn raw_bits<B: Bits>(bits: &mut B, byte: u8) -> u8 {
    (0..8).rev().fold(0, |read, i| {
        read << 1 | u8::from(bits.bit(1 << 15, byte >> i & 1 != 0))
    })
}

/// Writes bits.
#[derive(Debug)]
pub struct BitWriter {
    low: u64,
    high: u64,
    out: Vec<u8>,
}

impl Default for BitWriter {
    fn default() -> Self {
        BitWriter {
            low: 0,
            high: u64::MAX,
            out: Vec::new(),
        }
    }
}

impl Bits for BitWriter {
    const READS: bool = false;
    #[inline]
    fn bit(&mut self, p1: u32, bit: bool) -> bool {
        let middle = split(self.low, self.high, p1);
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 56 == 0 {
            self.out.push((self.high >> 56) as u8);
            self.low <<= 8;
            self.high = (self.high << 8) | 0xff;
        }
        bit
    }

    fn raw(&mut self, byte: u8) -> u8 {
        if self.high - self.low < 1 << 16 {
            return raw_bits(self, byte);
        }
        let share = (self.high - self.low) >> 8;
        self.low += share * u64::from(byte);
        self.high = self.low + (share - 1);
        while (self.low ^ self.high) >> 56 == 0 {
            self.out.push((self.high >> 56) as u8);
            self.low <<= 8;
            self.high = (self.high << 8) | 0xff;
        }
        byte
    }
}

impl BitWriter {
    /// Bytes that are decided.
    pub fn written(&self) -> u64 {
        self.out.len() as u64
    }

    /// Ends the stream with as few bytes as a reader that pads with zeros needs.
    pub fn finish(mut self) -> Vec<u8> {
        for bytes in 0..=8 {
            let mask = if bytes == 0 {
                0
            } else {
                u64::MAX << (64 - 8 * bytes)
            };
            // The smallest multiple of the kept precision that is not below `low`.
            let value = self.low.checked_add(!mask).map(|v| v & mask);
            if let Some(value) = value.filter(|v| (self.low..=self.high).contains(v)) {
                self.out.extend_from_slice(&value.to_be_bytes()[..bytes]);
                break;
            }
        }
        let zeros = self
            .out
            .iter()
            .rev()
            .take(PADDED)
            .take_while(|&&b| b == 0)
            .count();
        self.out.truncate(self.out.len() - zeros);
        self.out
    }
}

/// Reads bits; past the end it reads zeros.
#[derive(Debug)]
pub struct BitReader<'a> {
    low: u64,
    high: u64,
    value: u64,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// Starts at the first byte of a stream.
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut reader = BitReader {
            low: 0,
            high: u64::MAX,
            value: 0,
            bytes,
            at: 0,
        };
        for _ in 0..8 {
            reader.pull();
        }
        reader
    }

    /// Whether more was read than any stream of these bytes holds.
    pub fn is_past_end(&self) -> bool {
        self.at > self.bytes.len() + 2 * PADDED
    }

    /// Bytes that the symbols read so far took, about.
    pub fn position(&self) -> u64 {
        self.at.saturating_sub(PADDED).min(self.bytes.len()) as u64
    }

    #[inline]
    fn pull(&mut self) {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.value = self.value << 8 | u64::from(byte);
        self.at += 1;
    }
}

impl Bits for BitReader<'_> {
    const READS: bool = true;
    #[inline]
    fn bit(&mut self, p1: u32, _bit: bool) -> bool {
        let middle = split(self.low, self.high, p1);
        let bit = self.value <= middle;
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 56 == 0 {
            self.low <<= 8;
            self.high = (self.high << 8) | 0xff;
            self.pull();
        }
        bit
    }

    fn raw(&mut self, byte: u8) -> u8 {
        if self.high - self.low < 1 << 16 {
            return raw_bits(self, byte);
        }
        let share = (self.high - self.low) >> 8;
        let byte = (self.value.wrapping_sub(self.low) / share).min(255);
        self.low += share * byte;
        self.high = self.low + (share - 1);
        while (self.low ^ self.high) >> 56 == 0 {
            self.low <<= 8;
            self.high = (self.high << 8) | 0xff;
            self.pull();
        }
        byte as u8
    }
}
