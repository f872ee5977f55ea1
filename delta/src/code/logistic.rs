//! Probabilities in the logistic domain, in integers only, so that every machine computes the same.
//!
//! `stretch(p) = ln(p / (1 - p))` and its inverse `squash`, in units of 1/256.

/// Bound of the logistic domain: 12 in units of 1/256 (a probability of 6e-6).
pub const BOUND: i32 = 3071;

/// `round(e^(1/256) * 2^48)`.
const STEP: u128 = 282_576_638_621_015;
const ONE: u128 = 1 << 48;

const fn squash_table() -> [u16; 2 * BOUND as usize + 1] {
    let mut table = [0u16; 2 * BOUND as usize + 1];
    let mut power = ONE;
    let mut i = 0;
    while i <= BOUND as usize {
        // 65536 / (1 + e^x), for x = i / 256.
        let mut p = (65536 * ONE / (ONE + power)) as u32;
        if p < 1 {
            p = 1;
        }
        if p > 65535 {
            p = 65535;
        }
        table[BOUND as usize - i] = p as u16;
        table[BOUND as usize + i] = (65536 - p) as u16;
        power = (power * STEP) >> 48;
        i += 1;
    }
    table
}

static SQUASH: [u16; 2 * BOUND as usize + 1] = squash_table();

const fn stretch_table() -> [i16; 4096] {
    let squash = squash_table();
    let mut table = [0i16; 4096];
    let mut x = 0;
    let mut i = 0;
    while i < 4096 {
        while x < 2 * BOUND as usize && (squash[x] as usize) < i * 16 + 8 {
            x += 1;
        }
        table[i] = (x as i32 - BOUND) as i16;
        i += 1;
    }
    table
}

static STRETCH: [i16; 4096] = stretch_table();

/// Probability (16 bits, 1 to 65535) of a logistic value; values out of bounds are clamped.
#[inline]
pub fn squash(x: i32) -> u32 {
    u32::from(SQUASH[(x.clamp(-BOUND, BOUND) + BOUND) as usize])
}

/// Logistic value of a 16-bit probability.
#[inline]
pub fn stretch(p: u32) -> i32 {
    i32::from(STRETCH[(p >> 4) as usize & 4095])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squash_inverts_stretch() {
        for p in (8..65536).step_by(16) {
            let back = squash(stretch(p)) as i64;
            assert!((back - i64::from(p)).abs() <= 80, "{p} came back as {back}");
        }
        assert!((squash(256) as i64 - 47911).abs() < 3, "1 / (1 + 1/e)");
    }
}
