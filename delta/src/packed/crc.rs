//! The table of a cyclic redundancy check whose bits are reversed.

/// What a byte adds, for each byte, by a polynomial of up to 64 bits.
pub const fn table(polynomial: u64) -> [u64; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let (mut sum, mut bit) = (i as u64, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 {
                polynomial ^ sum >> 1
            } else {
                sum >> 1
            };
            bit += 1;
        }
        table[i] = sum;
        i += 1;
    }
    table
}
