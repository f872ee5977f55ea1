//! Bit histories: what one byte remembers of the bits seen in a context.
//!
//! A state stands for bounded counts of zeros and ones and, while they are few, for the last bit. Seeing one
//! bit discounts a large count of the other, so that recent bits weigh more. The construction is that of
//! ZPAQ's public-domain state table (M. Mahoney, "The ZPAQ open standard format", section 3.1).

/// Most of the rarer bit that a state counts, plus one.
const RARER: usize = 6;
/// Most of the more frequent bit, by the count of the rarer one.
const BOUND: [usize; RARER] = [20, 48, 15, 8, 6, 5];
const COUNTS: usize = 50;

/// States for a pair of counts: one for each last bit while the total is small.
const fn states_of(n0: usize, n1: usize) -> usize {
    let (more, fewer) = if n0 < n1 { (n1, n0) } else { (n0, n1) };
    if fewer >= RARER || more > BOUND[fewer] {
        return 0;
    }
    if fewer > 0 && more + fewer <= 17 { 2 } else { 1 }
}

const fn discount(n: usize) -> usize {
    match n {
        0..=5 => n,
        6 => 5,
        7 => 6,
        _ => 7,
    }
}

/// Counts after one more bit: (count of that bit, count of the other).
const fn after(same: usize, other: usize) -> (usize, usize) {
    let (mut a, mut b) = (same + 1, discount(other));
    while states_of(a, b) == 0 {
        let (more, fewer) = if a < b { (b, a) } else { (a, b) };
        let (more, fewer) = if fewer < 2 {
            (more - 1, fewer)
        } else {
            ((more * (fewer - 1) + fewer / 2) / fewer, fewer - 1)
        };
        if a < b {
            (a, b) = (fewer, more);
        } else {
            (a, b) = (more, fewer);
        }
    }
    (a, b)
}

const fn build() -> ([[u8; 2]; 256], [[u8; 2]; 256]) {
    let mut number = [[[0u8; 2]; COUNTS]; COUNTS];
    let mut next = [[0u8; 2]; 256];
    let mut counts = [[0u8; 2]; 256];
    let mut state = 0;
    let mut total = 0;
    while total < COUNTS {
        let mut n1 = 0;
        while n1 <= total {
            let n0 = total - n1;
            let states = states_of(n0, n1);
            if states > 0 {
                number[n0][n1] = [state as u8, (state + states - 1) as u8];
                counts[state] = [n0 as u8, n1 as u8];
                counts[state + states - 1] = [n0 as u8, n1 as u8];
                state += states;
            }
            n1 += 1;
        }
        total += 1;
    }
    let mut n0 = 0;
    while n0 < COUNTS {
        let mut n1 = 0;
        while n1 < COUNTS {
            let mut last = 0;
            while last < states_of(n0, n1) {
                let s = number[n0][n1][last] as usize;
                let (zeros, ones) = after(n0, n1);
                next[s][0] = number[zeros][ones][0];
                let (ones, zeros) = after(n1, n0);
                next[s][1] = number[zeros][ones][1];
                last += 1;
            }
            n1 += 1;
        }
        n0 += 1;
    }
    (next, counts)
}

const TABLES: ([[u8; 2]; 256], [[u8; 2]; 256]) = build();

/// State after a zero and after a one. States are numbered by how much they have seen; 0 has seen nothing.
pub static NEXT: [[u8; 2]; 256] = TABLES.0;

/// Zeros and ones that a state stands for.
pub static SEEN: [[u8; 2]; 256] = TABLES.1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_of_one_kind_grows_and_turns() {
        let mut state = 0u8;
        for n in 1..=20 {
            state = NEXT[state as usize][1];
            assert_eq!(SEEN[state as usize], [0, n]);
        }
        state = NEXT[state as usize][0];
        assert_eq!(SEEN[state as usize], [1, 7]);
        assert!(
            NEXT[..255].iter().flatten().all(|&s| s != 0),
            "no state forgets everything"
        );
    }
}
