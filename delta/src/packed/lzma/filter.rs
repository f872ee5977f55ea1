//! Calls by where they lead, not by how far: the filters that xz may put before LZMA2.

/// A filter, at some place of the text.
pub struct Filter {
    /// Bytes that wait for others behind them, and where they begin.
    waiting: Vec<u8>,
    at: u32,
    calls: Calls,
}

/// Whose calls.
enum Calls {
    X86(X86),
    PowerPc,
    Arm,
    Thumb,
    Arm64,
}

impl Filter {
    /// The filter of that number in xz; `None` where it is not known here.
    pub fn new(number: u8) -> Option<Filter> {
        let calls = match number {
            4 => Calls::X86(X86::default()),
            5 => Calls::PowerPc,
            7 => Calls::Arm,
            8 => Calls::Thumb,
            10 => Calls::Arm64,
            _ => return None,
        };
        let (waiting, at) = (Vec::new(), 0);
        Some(Filter { waiting, at, calls })
    }

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

    /// How many of the bytes are ready.
    fn run(&mut self, bytes: &mut [u8]) -> usize {
        let at = self.at;
        match &mut self.calls {
            Calls::X86(calls) => calls.run(bytes, at),
            Calls::PowerPc => words(bytes, at, u32::from_be_bytes, u32::to_be_bytes, powerpc),
            Calls::Arm => words(bytes, at, u32::from_le_bytes, u32::to_le_bytes, arm),
            Calls::Arm64 => words(bytes, at, u32::from_le_bytes, u32::to_le_bytes, arm64),
            Calls::Thumb => thumb(bytes, at),
        }
    }
}

/// Goes over whole words from `at` on.
fn words(
    bytes: &mut [u8],
    mut at: u32,
    get: fn([u8; 4]) -> u32,
    put: fn(u32) -> [u8; 4],
    absolute: fn(u32, u32) -> u32,
) -> usize {
    let (words, _) = bytes.as_chunks_mut();
    for word in &mut *words {
        *word = put(absolute(get(*word), at));
        at = at.wrapping_add(4);
    }
    words.len() * 4
}

/// `bl` that is always taken.
fn arm(word: u32, at: u32) -> u32 {
    let to = (word << 2).wrapping_add(at).wrapping_add(8) >> 2;
    match word >> 24 {
        0xeb => 0xeb << 24 | to & 0xff_ffff,
        _ => word,
    }
}

/// `bl` with a distance.
fn powerpc(word: u32, at: u32) -> u32 {
    match word >> 26 == 0x12 && word & 3 == 1 {
        true => 0x12 << 26 | word.wrapping_add(at) & 0x3ff_fffc | 1,
        false => word,
    }
}

/// `bl`, and `adrp` of what is within 512 MiB.
fn arm64(word: u32, at: u32) -> u32 {
    if word >> 26 == 0x25 {
        return 0x25 << 26 | word.wrapping_add(at >> 2) & 0x3ff_ffff;
    }
    let pages = word >> 29 & 3 | word >> 3 & 0x1f_fffc;
    if word & 0x9f00_0000 != 0x9000_0000 || pages.wrapping_add(0x2_0000) & 0x1c_0000 != 0 {
        return word;
    }
    let to = pages.wrapping_add(at >> 12);
    let sign = (to & 0x2_0000).wrapping_neg() & 0xe0_0000;
    word & 0x9000_001f | (to & 3) << 29 | (to & 0x3_fffc) << 3 | sign
}

/// `bl` of two halfwords, eleven bits of the distance in each.
fn thumb(bytes: &mut [u8], at: u32) -> usize {
    let mut done = 0;
    while let Some(call) = bytes[done..].first_chunk_mut() {
        let [low, high] = [[call[0], call[1]], [call[2], call[3]]].map(u16::from_le_bytes);
        done += 2;
        if low & 0xf800 != 0xf000 || high & 0xf800 != 0xf800 {
            continue;
        }
        let distance = u32::from(low & 0x7ff) << 12 | u32::from(high & 0x7ff) << 1;
        let behind = at.wrapping_add(done as u32 + 2);
        let to = distance.wrapping_add(behind) >> 1;
        let halves = [0xf000 | (to >> 11 & 0x7ff) as u16, 0xf800 | (to & 0x7ff) as u16];
        let [low, high] = halves.map(u16::to_le_bytes);
        *call = [low[0], low[1], high[0], high[1]];
        done += 2;
    }
    done
}

/// How much of a text of x86 may wait for bytes behind it.
const WAITING: usize = 4;

/// Calls and jumps of x86, which may begin anywhere.
struct X86 {
    /// Where the last call seemed to be, and which bytes since then might have been high ones of a distance.
    last: u32,
    mask: u32,
}

impl Default for X86 {
    fn default() -> X86 {
        X86 {
            last: 5u32.wrapping_neg(),
            mask: 0,
        }
    }
}

fn is_high(byte: u8) -> bool {
    matches!(byte, 0 | 0xff)
}

impl X86 {
    fn run(&mut self, bytes: &mut [u8], from: u32) -> usize {
        let Some(limit) = bytes.len().checked_sub(WAITING) else {
            return 0;
        };
        if from.wrapping_sub(self.last) > 5 {
            self.last = from.wrapping_sub(5);
        }
        let mut at = 0;
        while at < limit {
            if !matches!(bytes[at], 0xe8 | 0xe9) {
                at += 1;
                continue;
            }
            let place = from.wrapping_add(at as u32);
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
