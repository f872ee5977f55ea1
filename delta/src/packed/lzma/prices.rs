//! What it costs to tell a literal, a remembered distance or another one, going by the models.

use super::models::{
    FIRST_SLOT, FULL, LAST_SLOT, Models, State, behind, direct_price, matched, price, reverse_price, slot,
    tree_price,
};

/// Prices of distances as they were last counted.
pub struct Prices {
    slots: [[u32; 64]; 4],
    near: [[u32; FULL]; 4],
    aligned: [u32; 16],
    /// Slots that the dictionary has.
    count: u32,
}

fn dist_state(len: usize) -> usize {
    (len - 2).min(3)
}

impl Prices {
    /// Before they are counted, for a dictionary of that size.
    pub fn new(dictionary: u32) -> Prices {
        Prices {
            slots: [[0; 64]; 4],
            near: [[0; FULL]; 4],
            aligned: [0; 16],
            count: (u32::BITS - (dictionary - 1).leading_zeros()) * 2,
        }
    }

    /// Counts those of slots and of near distances.
    pub fn set_distances(&mut self, models: &Models) {
        for (state, slots) in self.slots.iter_mut().enumerate() {
            for slot in 0..self.count {
                slots[slot as usize] = tree_price(&models.slots[state], 6, slot);
                if slot >= LAST_SLOT {
                    slots[slot as usize] += direct_price((slot >> 1) - 5);
                }
            }
            self.near[state][..4].copy_from_slice(&slots[..4]);
        }
        for distance in FIRST_SLOT..FULL as u32 {
            let slot = slot(distance);
            let (bits, base) = behind(slot);
            let near = &models.near[(base - slot) as usize..];
            let sum = reverse_price(near, bits, distance - base);
            for (near, slots) in self.near.iter_mut().zip(&self.slots) {
                near[distance as usize] = sum + slots[slot as usize];
            }
        }
    }

    /// Counts those of the lowest bits of far distances.
    pub fn set_aligned(&mut self, models: &Models) {
        for (symbol, to) in (0..).zip(&mut self.aligned) {
            *to = reverse_price(&models.aligned, 4, symbol);
        }
    }

    /// What a distance costs before a length.
    pub fn distance(&self, distance: u32, len: usize) -> u32 {
        let state = dist_state(len);
        match self.near[state].get(distance as usize) {
            Some(&price) => price,
            None => self.slots[state][slot(distance) as usize] + self.aligned[distance as usize & 15],
        }
    }
}

/// What a literal costs; `other` stands where it would be by the last distance, if that counts.
pub fn literal_price(models: &Models, before: u8, other: Option<u8>, byte: u8) -> u32 {
    let model = &models.literals[usize::from(before >> 5)];
    match other {
        None => tree_price(model, 8, u32::from(byte)),
        Some(other) => matched(byte, other).map(|(at, bit)| price(model[at], bit)).sum(),
    }
}

/// What a remembered distance costs, its length apart.
pub fn repeated_price(models: &Models, number: usize, state: State, position: usize) -> u32 {
    let s = state.number();
    let other = |at: usize, bit| price(models.is_other[at][s], bit);
    match number {
        0 => other(0, false) + price(models.is_long[s][position & 3], true),
        1 => other(0, true) + other(1, false),
        _ => other(0, true) + other(1, true) + other(2, number == 3),
    }
}

/// Of saying that a match at the last distance follows a literal.
pub fn again_price(models: &Models, state: State, position: usize, len: usize) -> u32 {
    price(models.is_match[state.number()][position & 3], true)
        + price(models.is_repeated[state.number()], true)
        + models.repeated_lengths.price(len, position & 3)
        + repeated_price(models, 0, state, position)
}
