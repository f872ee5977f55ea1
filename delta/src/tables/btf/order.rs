//! Which old type each new one continues.

use crate::code::{Symbols, hash, symbols};
use crate::tables::names::NONE;
use crate::tables::names::places::{Places, unused};
use crate::{Error, error::Result};

const FRESH: u32 = 0;
const SKIP: u32 = 1;
const JUMP: u32 = 2;
const BACK: u32 = 3;

symbols! {
    /// Models of the order. `history`: for each type so far two bits, 0 the expected one, 1 another, 2 a new one, the
    /// last one lowest.
    pub(super) struct OrderModels {
        follows(12, 1023) {
            /// It continues the expected one.
            follows: flag by(history: u32) [hash(1, history & 3), hash(2, history & 0xff), hash(3, history & 0xffff)];
        }
        kind(10, 255) {
            /// Else: 0 none, 1 one further on, 2 one anywhere, 3 that of an interrupted run.
            kind: tree(2) by(history: u32) [hash(1, history & 3), hash(2, history & 0xff)];
        }
        skip(12, 255) {
            /// Old types that are skipped.
            skip: number by(history: u32) [0, history & 15];
        }
        jump(12, 255) {
            /// The old type against the expected one.
            jump: signed by() [0];
        }
        back(8, 255) {
            /// Which interrupted run goes on.
            back: tree(3) by() [0];
        }
    }
}

/// Both directions of it.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Old type for each new one, or [`NONE`].
    pub source: Vec<u32>,
    /// New type for each old one, or [`NONE`].
    pub of_old: Vec<u32>,
}

impl Order {
    fn is_used(&self, old: usize) -> bool {
        self.of_old.get(old).is_some_and(|&new| new != NONE)
    }

    /// Codes the order of so many old and new types.
    pub fn code<S: Symbols>(
        s: &mut S,
        m: &mut OrderModels,
        (old, new): (usize, usize),
        truth: Option<&[u32]>,
    ) -> Result<Order> {
        let mut order = Order {
            source: Vec::new(),
            of_old: vec![NONE; old],
        };
        let (mut places, mut history) = (Places::default(), 0u32);
        for index in 0..new {
            places.expected = unused(places.expected, |j| order.is_used(j)).min(old);
            let expected = places.expected;
            let t = truth.map_or(NONE, |t| t[index]);
            let mut source = Some(expected).filter(|&j| j < old);
            let follows = m.follows(s, history, source == Some(t as usize)) && source.is_some();
            if !follows {
                source = order.source(s, m, &places, history, t)?;
            }
            let class = if follows {
                0
            } else {
                1 + u32::from(source.is_none())
            };
            history = history << 2 | class;
            if let Some(j) = source {
                if j >= old || order.is_used(j) {
                    return Err(Error::damaged("a type continues one that is not there"));
                }
                places.go(j, |j| order.is_used(j));
                order.of_old[j] = index as u32;
            }
            order.source.push(source.map_or(NONE, |j| j as u32));
            if s.exhausted() {
                return Err(Error::damaged("the types end too early"));
            }
        }
        Ok(order)
    }

    /// Codes what a type continues that is not the expected one.
    fn source<S: Symbols>(
        &self,
        s: &mut S,
        m: &mut OrderModels,
        places: &Places,
        history: u32,
        t: u32,
    ) -> Result<Option<usize>> {
        let left: Vec<usize> = places.left(|j| self.is_used(j)).collect();
        let (expected, back) = (places.expected, left.iter().position(|&j| j == t as usize));
        let known = match t {
            NONE => FRESH,
            _ if back.is_some() => BACK,
            t if t as usize > expected && t as usize - expected < 1 << 12 => SKIP,
            _ => JUMP,
        };
        let away = i64::from(t) - expected as i64;
        Ok(match m.kind(s, history, known) {
            FRESH => None,
            SKIP => {
                let skip = m.skip(s, history, away as u64);
                Some(expected.saturating_add(skip.min(1 << 32) as usize))
            }
            JUMP => {
                let at = (expected as i64).saturating_add(m.jump(s, away));
                Some(usize::try_from(at).unwrap_or(usize::MAX))
            }
            _ => {
                let which = m.back(s, back.unwrap_or(0) as u32);
                Some(left.get(which as usize).copied().unwrap_or(usize::MAX))
            }
        })
    }
}
