//! Programs that are little but one large table each, so that what its model holds cannot hide behind anything else.

use super::noise;

/// Words and symbols: more than what a run sets aside for small tables would hide.
const ROWS: usize = 1_000_000;
/// Addresses of the sections.
const TEXT: u64 = 0x1_0000;
const DATA: u64 = 0x10_0000;
const TABLE: u64 = 0x400_0000;
/// A function, over and over.
const FUNCTION: &[u8] = b"\x55\x48\x89\xe5\xb8\x01\0\0\0\x5d\xc3";
const FUNCTIONS: u64 = 2000;
const RELATIVE: u64 = 8;

/// Type, flags, address, section that it names, bytes of a row, and its bytes.
type Section = (u32, u64, u64, u32, u64, Vec<u8>);

/// An ELF file for x86-64 of these named sections.
fn elf(sections: Vec<(&str, Section)>) -> Vec<u8> {
    let mut names = vec![0];
    let mut file = vec![0; 64];
    let mut rows = vec![0; 64];
    let count = sections.len() as u16 + 2;
    let mut put = |file: &mut Vec<u8>, names: &mut Vec<u8>, name: &str, section: Section| {
        let (kind, flags, addr, link, row, bytes) = section;
        let name_at = names.len() as u32;
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        let bytes = if name == ".shstrtab" { names.clone() } else { bytes };
        file.resize(file.len().next_multiple_of(16), 0);
        let at = file.len() as u64;
        [name_at, kind].iter().for_each(|n| rows.extend(n.to_le_bytes()));
        let longs = [flags, addr, at, bytes.len() as u64];
        longs.iter().for_each(|n| rows.extend(n.to_le_bytes()));
        [link, 0].iter().for_each(|n| rows.extend(n.to_le_bytes()));
        [16, row].iter().for_each(|n| rows.extend(n.to_le_bytes()));
        file.extend(bytes);
    };
    for (name, section) in sections {
        put(&mut file, &mut names, name, section);
    }
    put(&mut file, &mut names, ".shstrtab", (3, 0, 0, 0, 0, Vec::new()));
    file.resize(file.len().next_multiple_of(16), 0);
    let table = file.len() as u64;
    file.extend(rows);
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16..24].copy_from_slice(&[3, 0, 62, 0, 1, 0, 0, 0]);
    file[40..48].copy_from_slice(&table.to_le_bytes());
    for (at, half) in [(52, 64), (54, 56), (58, 64), (60, count), (62, count - 1)] {
        file[at..at + 2].copy_from_slice(&u16::to_le_bytes(half));
    }
    file
}

fn text() -> (&'static str, Section) {
    let code = FUNCTION.repeat(FUNCTIONS as usize);
    (".text", (1, 6, TEXT, 0, 0, code))
}

/// Some address of the code for each number.
fn addresses(seed: u64) -> Vec<u64> {
    let numbers = noise(4 * ROWS, seed);
    let number = |bytes: &[u8]| u64::from(u32::from_le_bytes(bytes.try_into().unwrap()));
    let function = |n: u64| TEXT + n % FUNCTIONS * FUNCTION.len() as u64;
    numbers.chunks(4).map(number).map(function).collect()
}

/// A program whose data is words that relocations fill, `shift` of them moved out of the way; the rows stand by address,
/// or by fives in no order.
pub fn relocated(sorted: bool, shift: usize) -> Vec<u8> {
    let words = addresses(5);
    let mut data = vec![1; 8 * shift];
    data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    let mut rows: Vec<usize> = (0..ROWS).collect();
    if !sorted {
        rows = (0..ROWS / 5)
            .map(|k| k * 7919 % (ROWS / 5))
            .flat_map(|k| 5 * k..5 * k + 5)
            .collect();
    }
    let row = |&k: &usize| [DATA + 8 * (shift + k) as u64, RELATIVE, words[k]];
    let rows = rows.iter().flat_map(row).flat_map(u64::to_le_bytes).collect();
    elf(vec![
        text(),
        (".data.rel.ro", (1, 3, DATA, 0, 0, data)),
        (".rela.dyn", (4, 2, TABLE, 0, 24, rows)),
    ])
}

/// A program with many symbols; those that `skips` says are not there.
pub fn named(skips: impl Fn(usize) -> bool) -> Vec<u8> {
    let (mut names, mut rows) = (vec![0], vec![0; 24]);
    for (k, addr) in addresses(9).into_iter().enumerate().filter(|(k, _)| !skips(*k)) {
        rows.extend((names.len() as u32).to_le_bytes());
        rows.extend([0x12, 0, 1, 0]);
        rows.extend(addr.to_le_bytes());
        rows.extend((FUNCTION.len() as u64).to_le_bytes());
        names.extend(format!("f{:x}_{k}\0", k as u64 * 0x9E37_79B9 % 0xff_fff1).bytes());
    }
    elf(vec![
        text(),
        (".symtab", (2, 0, 0, 3, 24, rows)),
        (".strtab", (3, 0, 0, 0, 0, names)),
    ])
}
