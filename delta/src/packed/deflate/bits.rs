//! Bits of a deflate stream, the lowest first.

/// Whole bytes so far, and the bits behind them.
#[derive(Default)]
pub struct Bits {
    /// What is finished; the owner takes it from here.
    pub bytes: Vec<u8>,
    bits: u64,
    held: u32,
}

impl Bits {
    /// Appends the low `count` bits, at most 16.
    pub fn put(&mut self, value: u32, count: u8) {
        self.bits |= u64::from(value) << self.held;
        self.held += u32::from(count);
        while self.held >= 8 {
            self.bytes.push(self.bits as u8);
            self.bits >>= 8;
            self.held -= 8;
        }
    }

    /// Fills the last byte with zeros.
    pub fn align(&mut self) {
        if self.held > 0 {
            self.put(0, (8 - self.held) as u8);
        }
    }

    /// The rest of a stored block's head, and its bytes (at most 65,535).
    pub fn stored(&mut self, text: &[u8]) {
        self.put(0, 2);
        self.align();
        let len = text.len() as u16;
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend((!len).to_le_bytes());
        self.bytes.extend(text);
    }
}
