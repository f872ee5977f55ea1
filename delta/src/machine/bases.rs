//! Registers that addresses count from, as a walk over code knows them.

/// Registers as bits.
pub type Registers = u32;

/// What the registers hold that have a base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bases {
    held: Registers,
    bases: [u64; 32],
}

impl Bases {
    /// The base that a register holds.
    #[inline]
    pub fn get(&self, register: u32) -> Option<u64> {
        let register = register & 31;
        (self.held >> register & 1 == 1).then(|| self.bases[register as usize])
    }

    /// A register holds a base from here on.
    #[inline]
    pub fn set(&mut self, register: u32, base: u64) {
        let register = register & 31;
        self.held |= 1 << register;
        self.bases[register as usize] = base;
    }

    /// Some registers hold none from here on.
    #[inline]
    pub fn clear(&mut self, registers: Registers) {
        self.held &= !registers;
    }

    /// Whether no register holds one.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }
}
