//! Apply times: of a nominal machine, from the work that the engine counts, and a short self-test to scale them to
//! another. No clock of the farm has a part in what it publishes, so a busy farm makes the same bytes.

use std::time::Instant;

/// Units of work that the nominal machine does in a microsecond: the median of patches of real pairs on one core of the
/// machine on which the self-test takes [`NOMINAL_MICROS`].
const UNITS: u64 = 12;

/// Time of the self-test on the nominal machine, microseconds.
pub const NOMINAL_MICROS: u64 = 7_400;

/// Time that the nominal machine takes for so many units of the engine's work, microseconds.
pub fn nominal(units: u64) -> u64 {
    units.div_ceil(UNITS)
}

/// Time for a fixed piece of work that resembles applying (hashing, bit-wise modelling), microseconds, at least 1.
///
/// The best of three runs: what the machine can do, not what else it was doing.
pub fn self_test() -> u64 {
    let best = (0..3).map(|_| once()).min().unwrap_or(1);
    best.max(1)
}

fn once() -> u64 {
    let begin = Instant::now();
    let mut bytes = vec![0u8; 1 << 20];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for b in bytes.iter_mut() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *b = (state >> 60) as u8;
    }
    let digest = crate::Digest::of(&bytes);
    // Adaptive bit models, as a range decoder walks them: dependent loads and unforeseeable branches.
    let mut models = vec![1u16 << 11; 1 << 12];
    let mut context = usize::from(digest.0[0]);
    let mut sum = 0u64;
    for b in &bytes[..256 << 10] {
        for bit in 0..4 {
            let p = &mut models[context & 0xfff];
            if b >> bit & 1 == 1 {
                *p += (4096 - *p) >> 5;
                context = context << 1 | 1;
            } else {
                *p -= *p >> 5;
                context <<= 1;
            }
            sum += u64::from(*p);
        }
    }
    std::hint::black_box(sum);
    begin.elapsed().as_micros() as u64
}
