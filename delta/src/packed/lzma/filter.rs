//! Calls of x86 by where they lead, not by how far: the filter that xz may put before LZMA2.

/// How much of the text may wait for bytes behind it.
const WAITING: usize = 4;

/// The filter, at some place of the text.
pub struct Filter {
    /// Bytes that wait, and where they begin.
    waiting: Vec<u8>,
    at: u32,
    /// Where the last call seemed to be, and which bytes since then might have been high ones of a distance.
    last: u32,
    mask: u32,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            waiting: Vec::new(),
            at: 0,
            last: 5u32.wrapping_neg(),
            mask: 0,
        }
    }
}

fn is_high(byte: u8) -> bool {
    matches!(byte, 0 | 0xff)
}

impl Filter {
    /// Takes text; gives what is ready.
    pub fn push(&mut self, text: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.waiting);
        bytes.extend_from_slice(text);
        let done = self.run(&mut bytes);
        self.waiting = bytes.split_off(done);
        self.at = self.at.wrapping_add(done as u32);
        bytes
    }

    /// What waits at the end stays as it is.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.waiting)
    }

    fn run(&mut self, bytes: &mut [u8]) -> usize {
        let Some(limit) = bytes.len().checked_sub(WAITING) else {
            return 0;
        };
        if self.at.wrapping_sub(self.last) > 5 {
            self.last = self.at.wrapping_sub(5);
        }
        let mut at = 0;
        while at < limit {
            if !matches!(bytes[at], 0xe8 | 0xe9) {
                at += 1;
                continue;
            }
            let place = self.at.wrapping_add(at as u32);
            let since = place.wrapping_sub(self.last);
            self.last = place;
            self.mask = match since {
                0..=5 => (0..since).fold(self.mask, |mask, _| (mask & 0x77) << 1),
                _ => 0,
            };
            let known = self.mask >> 1;
            let high = bytes[at + 4];
            if is_high(high) && known <= 4 && known != 3 {
                self.call(&mut bytes[at + 1..at + 5], place.wrapping_add(5));
                at += 5;
                self.mask = 0;
            } else {
                at += 1;
                self.mask |= 1 | if is_high(high) { 0x10 } else { 0 };
            }
        }
        at
    }

    /// Replaces a distance by where it leads from `behind`.
    fn call(&self, field: &mut [u8], behind: u32) {
        let mut distance = field
            .iter()
            .rev()
            .fold(0, |value, &byte| value << 8 | u32::from(byte));
        let to = loop {
            let to = distance.wrapping_add(behind);
            let known = match self.mask >> 1 {
                _ if self.mask == 0 => break to,
                0 | 1 => 1,
                2 | 3 => 2,
                _ => 3,
            };
            if !is_high((to >> (24 - known * 8)) as u8) {
                break to;
            }
            distance = to ^ (1u32 << (32 - known * 8)).wrapping_sub(1);
        };
        let sign = if to >> 24 & 1 == 1 { 0xff } else { 0 };
        field.copy_from_slice(&[to as u8, (to >> 8) as u8, (to >> 16) as u8, sign]);
    }
}
