//! Which old type, string and item each new one continues. The encoder's alone.

use super::parse::{Parsed, Role};
use crate::code::hash;
use std::collections::{BTreeMap, HashMap};

const FUNC: u32 = 12;
const PROTOTYPE: u32 = 13;

/// Candidates of one content that are looked at, and types behind them that are compared.
const CANDIDATES: usize = 16;
const RUN: usize = 8;
/// Types behind it that a place elsewhere must have more in common before one goes there.
const BETTER: usize = 3;

/// For each new string the old one of the same bytes, the next one where there is a choice.
pub fn names(old: &Parsed, new: &Parsed) -> Vec<Option<usize>> {
    let all: HashMap<&[u8], usize> = (0..old.names()).rev().map(|i| (old.name(i), i)).collect();
    let mut next = 0;
    let one = |i| {
        let text = new.name(i);
        let found = match next < old.names() && old.name(next) == text {
            true => Some(next),
            false => all.get(text).copied(),
        };
        next = found.map_or(next, |j| j + 1);
        found
    };
    (0..new.names()).map(one).collect()
}

/// Numbers that the first string and the first type of a section have: one behind those of what it extends.
pub fn bases(btf: &Parsed) -> [u32; 2] {
    let (mut most, mut votes) = (0, BTreeMap::<u32, u32>::new());
    for i in 0..btf.types() {
        let Some(shape) = btf.shape(i) else { continue };
        for at in 0..shape.len() {
            let value = btf.word(i, at).unwrap_or(0);
            if shape.role(at) == Role::Name {
                most = most.max(value);
            }
        }
        // A function mostly stands right behind the prototype that it names.
        let kind = |i: usize| btf.kind(i).unwrap_or(0);
        if i > 0 && kind(i) == FUNC && kind(i - 1) == PROTOTYPE {
            let first = btf.word(i, 2).and_then(|proto| proto.checked_sub(i as u32 - 1));
            *votes.entry(first.unwrap_or(0)).or_default() += 1;
        }
    }
    let last = btf.names().checked_sub(1).map_or(0, |last| btf.offset(last));
    let text = most.saturating_sub(last);
    let first = votes.into_iter().max_by_key(|&(first, n)| (n, first));
    // What extends nothing counts from the type that says nothing.
    let first = first.filter(|_| text > 0).map_or(1, |(first, _)| first);
    [text, first]
}

/// Types without a name that are followed to see what one is made of.
const DEPTH: usize = 4;

/// What says which type each is: everything that does not move, and what it is made of, down to what has a name.
fn keys(btf: &Parsed, [text, first]: [u32; 2]) -> Vec<u32> {
    let name = |value: u32| {
        let number = value.checked_sub(text).and_then(|n| btf.name_at(n));
        number.map_or(&[][..], |n| btf.name(n))
    };
    let with = |h: u32, name: &[u8]| name.iter().fold(h, |h, &b| hash(h, b.into()));
    let is_named = |i: usize| btf.word(i, 0).is_some_and(|n| n != 0);
    let named = |i: usize| {
        with(
            hash(1, btf.word(i, 1).unwrap_or(0)),
            name(btf.word(i, 0).unwrap_or(0)),
        )
    };
    let whole = |i: usize, parts: &[u32]| {
        let Some(shape) = btf.shape(i) else { return 0 };
        (2..shape.len()).fold(named(i), |h, at| {
            let value = btf.word(i, at).unwrap_or(0);
            match shape.role(at) {
                Role::Plain => hash(h, value),
                Role::Name => with(h, name(value)),
                // What belongs to what it extends moves.
                Role::Type => match value.checked_sub(first).and_then(|t| parts.get(t as usize)) {
                    Some(&part) => hash(h, part),
                    None => hash(h, 1),
                },
            }
        })
    };
    let mut parts: Vec<u32> = (0..btf.types()).map(named).collect();
    for _ in 0..DEPTH {
        let one = |i| if is_named(i) { parts[i] } else { whole(i, &parts) };
        parts = (0..btf.types()).map(one).collect();
    }
    (0..btf.types()).map(|i| whole(i, &parts)).collect()
}

/// For each new type the old one that it continues, if any.
pub fn types(old: (&Parsed, [u32; 2]), new: (&Parsed, [u32; 2])) -> Vec<Option<usize>> {
    let [before, after] = [keys(old.0, old.1), keys(new.0, new.1)];
    let mut all: HashMap<u32, Vec<usize>> = HashMap::new();
    for (i, &key) in before.iter().enumerate() {
        let known = all.entry(key).or_default();
        if known.len() < CANDIDATES {
            known.push(i);
        }
    }
    let alike = |i: usize, j: usize| {
        let both = after[i..].iter().zip(before.get(j..).unwrap_or_default());
        both.take(RUN).take_while(|(a, b)| a == b).count()
    };
    let name = |btf: &Parsed, base: u32, i: usize| {
        let name = btf.word(i, 0).and_then(|n| btf.name_at(n.checked_sub(base)?));
        name.map(|n| btf.name(n).to_vec())
    };
    let mut named: HashMap<(Option<u32>, Vec<u8>), usize> = HashMap::new();
    for i in 0..old.0.types() {
        if let Some(name) = name(old.0, old.1[0], i).filter(|name| name.len() > 1) {
            named.insert((old.0.kind(i), name), i);
        }
    }
    let mut next = 0;
    let mut out = Vec::with_capacity(after.len());
    for i in 0..after.len() {
        let here = alike(i, next);
        let others = all.get(&after[i]).into_iter().flatten();
        let best = others
            .map(|&j| (alike(i, j), std::cmp::Reverse(j.abs_diff(next)), j))
            .max();
        let source = match best {
            Some((n, _, j)) if n >= here + if here > 0 { BETTER } else { 0 } && n > here => Some(j),
            _ if here > 0 => Some(next),
            _ => {
                let of = name(new.0, new.1[0], i);
                let found = of.and_then(|name| named.get(&(new.0.kind(i), name)).copied());
                // What has no name and stands where it stood was changed.
                let same =
                    old.0.kind(next) == new.0.kind(i) && (i + 1 >= after.len() || alike(i + 1, next + 1) > 0);
                found.or(same.then_some(next))
            }
        };
        next = source.map_or(next, |j| j + 1);
        out.push(source);
    }
    out
}
