//! What precedes an instruction in new code, for prediction.

use crate::code::hash;

/// The instructions that came before.
#[derive(Clone, Copy, Debug, Default)]
pub struct History {
    /// Hashes of the last instructions' leading bytes, newest first.
    pub heads: [u32; 4],
    /// Hashes of the last instructions' bytes, newest first.
    pub full: [u32; 4],
    /// The last eight blanked bytes, newest lowest.
    pub bytes: u64,
    /// Tells units apart.
    pub unit: u32,
}

impl History {
    /// Goes past an instruction.
    pub fn pass(&mut self, masked: &[u8]) {
        let mut head = masked.len() as u32;
        for &b in masked.iter().take(3) {
            head = hash(head, u32::from(b));
        }
        let mut full = head;
        for &b in masked.iter().skip(3) {
            full = hash(full, u32::from(b));
        }
        self.heads = [head, self.heads[0], self.heads[1], self.heads[2]];
        self.full = [full, self.full[0], self.full[1], self.full[2]];
        for &b in masked {
            self.bytes = self.bytes << 8 | u64::from(b);
        }
    }
}
