//! How a file writes its numbers: how wide addresses are, and in which order bytes stand.

/// Width and byte order of a file's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// 64-bit class.
    pub is_64: bool,
    /// The highest byte comes first.
    pub big_endian: bool,
}

impl Numbers {
    /// Bytes of an address.
    #[inline]
    pub fn width(self) -> usize {
        if self.is_64 { 8 } else { 4 }
    }

    /// The number in all of `field`, of at most eight bytes.
    #[inline]
    pub fn get(self, field: &[u8]) -> u64 {
        let add = |number, &byte: &u8| number << 8 | u64::from(byte);
        match self.big_endian {
            false => field.iter().rev().fold(0, add),
            true => field.iter().fold(0, add),
        }
    }

    /// The number of two bytes at `at`.
    #[inline]
    pub fn half(self, bytes: &[u8], at: usize) -> Option<u16> {
        let half = *bytes.get(at..)?.first_chunk()?;
        Some(match self.big_endian {
            false => u16::from_le_bytes(half),
            true => u16::from_be_bytes(half),
        })
    }

    /// The number of four bytes at `at`.
    #[inline]
    pub fn word(self, bytes: &[u8], at: usize) -> Option<u32> {
        let word = *bytes.get(at..)?.first_chunk()?;
        Some(match self.big_endian {
            false => u32::from_le_bytes(word),
            true => u32::from_be_bytes(word),
        })
    }

    /// The number of eight bytes at `at`.
    #[inline]
    pub fn long(self, bytes: &[u8], at: usize) -> Option<u64> {
        let long = *bytes.get(at..)?.first_chunk()?;
        Some(match self.big_endian {
            false => u64::from_le_bytes(long),
            true => u64::from_be_bytes(long),
        })
    }

    /// The address at `at`.
    #[inline]
    pub fn address(self, bytes: &[u8], at: usize) -> Option<u64> {
        match self.is_64 {
            true => self.long(bytes, at),
            false => self.word(bytes, at).map(u64::from),
        }
    }

    /// Fills `field` with a number's lowest bytes, as many as it has, at most eight.
    #[inline]
    pub fn put(self, field: &mut [u8], number: u64) {
        let len = field.len().min(8);
        match self.big_endian {
            false => field[..len].copy_from_slice(&number.to_le_bytes()[..len]),
            true => field[..len].copy_from_slice(&number.to_be_bytes()[8 - len..]),
        }
    }

    /// A number's lowest `N` bytes, at most eight.
    #[inline]
    pub fn bytes<const N: usize>(self, number: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.put(&mut bytes, number);
        bytes
    }

    /// The four bytes of a word.
    #[inline]
    pub fn of_word(self, word: u32) -> [u8; 4] {
        self.bytes(word.into())
    }

    /// Appends a number's lowest `len` bytes, at most eight.
    #[inline]
    pub fn push(self, out: &mut Vec<u8>, number: u64, len: usize) {
        let at = out.len();
        out.resize(at + len, 0);
        self.put(&mut out[at..], number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(number: u64, is_64: bool, big_endian: bool, len in 0usize..9, at in 0usize..20) {
            let numbers = Numbers { is_64, big_endian };
            let mut bytes = vec![0xee; at];
            numbers.push(&mut bytes, number, len);
            let low = if len == 8 { number } else { number & ((1 << (8 * len)) - 1) };
            prop_assert_eq!(numbers.get(&bytes[at..]), low);
            prop_assert_eq!(numbers.half(&bytes, at), (len >= 2).then(|| numbers.get(&bytes[at..at + 2]) as u16));
            prop_assert_eq!(numbers.word(&bytes, at), (len >= 4).then(|| numbers.get(&bytes[at..at + 4]) as u32));
            prop_assert_eq!(numbers.long(&bytes, at), (len >= 8).then_some(number));
            let width = numbers.width();
            let whole = (len >= width).then(|| numbers.get(&bytes[at..at + width]));
            prop_assert_eq!(numbers.address(&bytes, at), whole);
            prop_assert!(bytes[..at].iter().all(|&b| b == 0xee));
        }
    }

    #[test]
    fn the_highest_byte_stands_where_the_order_says() {
        let order = |big_endian| Numbers {
            is_64: true,
            big_endian,
        };
        assert_eq!(order(false).of_word(0x0102_0304), [4, 3, 2, 1]);
        assert_eq!(order(true).of_word(0x0102_0304), [1, 2, 3, 4]);
        assert_eq!(order(true).half(&[0, 1, 2], 1), Some(0x0102));
        assert_eq!(order(false).half(&[0, 1], 1), None);
        assert_eq!(order(true).word(&[1], usize::MAX), None);
    }
}
