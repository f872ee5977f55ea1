//! Objects, which are not linked yet: code, symbols and relocations told by where their sections stand; what lies in
//! them costs bytes, and no more.

use elfdelta::{Limits, Options, Patch, Silent};

const OBJECT: [&[u8]; 2] = [
    include_bytes!("../../fuzz/seeds/kinds/object-1"),
    include_bytes!("../../fuzz/seeds/kinds/object-2"),
];

const MODULE: [&[u8]; 2] = [
    include_bytes!("../../fuzz/seeds/kinds/module-1"),
    include_bytes!("../../fuzz/seeds/kinds/module-2"),
];

/// Bytes of the patch, which is applied within what it declares, and those of them for relocations.
fn told(old: &[u8], new: &[u8]) -> (u64, u64) {
    let delta = elfdelta::diff(old, new, &Options::default().threads(1), &Silent).unwrap();
    let (mut made, patch) = (Vec::new(), Patch::parse(&delta.bytes).unwrap());
    let limits = Limits::default();
    patch.applier().limits(limits).apply(&old, &mut made).unwrap();
    assert!(made == new);
    let is_one = |name: &str| name == "(relocations)" || name.starts_with(".rela");
    let relocations = delta
        .report
        .sections
        .iter()
        .filter(|part| is_one(&part.name))
        .map(|part| part.bytes);
    (delta.bytes.len() as u64, relocations.sum())
}

/// The same as a file of no type that is known, whose sections have no addresses then.
fn untyped(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[16..18].copy_from_slice(&0xfe00u16.to_le_bytes());
    file
}

#[test]
fn what_leads_where_it_led_costs_little() {
    for [old, new] in [OBJECT, [OBJECT[1], OBJECT[0]]] {
        let (all, model) = told(old, new);
        let (all_bytes, bytes) = told(&untyped(old), &untyped(new));
        assert!(all < all_bytes, "{all} bytes, without addresses {all_bytes}");
        assert!(
            model > 0 && model * 3 < bytes * 2,
            "{model} bytes, without addresses {bytes}"
        );
    }
}

/// Rows that name a section, and by their addends places in its code.
#[test]
fn addends_go_where_the_code_went() {
    for [old, new] in [MODULE, [MODULE[1], MODULE[0]]] {
        let (_, model) = told(old, new);
        let (_, bytes) = told(&untyped(old), &untyped(new));
        assert!(
            model > 0 && model * 2 < bytes,
            "{model} bytes, without addresses {bytes}"
        );
    }
}

#[test]
fn an_object_against_itself_costs_next_to_nothing() {
    let (bytes, _) = told(OBJECT[0], OBJECT[0]);
    assert!(bytes < 130, "{bytes} bytes");
}

/// Section headers and rows of relocations: whatever byte is another, and in which of the two files.
#[test]
fn objects_that_lie_are_larger_patches() {
    let word = |file: &[u8], at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    let [old, new] = OBJECT;
    let table = word(old, 40);
    let rows = (table..old.len().min(table + 40 * 64)).step_by(64);
    let lists = rows.filter(|&row| old[row + 4] == 4 || old[row + 4] == 2);
    let in_lists = lists.flat_map(|row| {
        let (begin, len) = (word(old, row + 24), word(old, row + 32));
        (begin..begin + len).step_by(29)
    });
    let places: Vec<usize> = (table..old.len()).step_by(7).chain(in_lists).collect();
    assert!(places.len() > 100, "{} places", places.len());
    for (n, &at) in places.iter().enumerate() {
        let (mut was, mut is) = (old.to_vec(), new.to_vec());
        let file = if n % 2 == 0 { &mut was } else { &mut is };
        if let Some(byte) = file.get_mut(at) {
            *byte ^= [0xff, 1, 0x80, 0x12][n / 2 % 4];
        }
        told(&was, &is);
    }
}

/// An object of functions in that order, each of which calls others and ends by a jump to one; `None` without a compiler.
fn compiled(order: &[u32], class: &str) -> Option<Vec<u8>> {
    let mut text = (0..40)
        .map(|n| format!("extern long other_{n}(long);\n"))
        .collect::<String>();
    for n in order {
        let other = |k: u32| (n * 7 + k * k * 5 + k) % 40;
        text += &format!(
            "long function_{n}(long x) {{ if (x > {n}) return other_{}(x); x = other_{}(x * {n}); x ^= other_{}(x + 3); \
             return other_{}(x + {n}); }}\n",
            other(1),
            other(2),
            other(3),
            other(4),
        );
    }
    object(&text, class)
}

/// The object that a source makes; `None` without a compiler.
fn object(text: &str, class: &str) -> Option<Vec<u8>> {
    let folder = tempfile::TempDir::new().unwrap();
    let (source, object) = (folder.path().join("a.c"), folder.path().join("a.o"));
    std::fs::write(&source, text).unwrap();
    let compiler = std::process::Command::new("cc")
        .args([class, "-O2", "-c", "-fno-ipa-icf", "-fno-toplevel-reorder", "-o"])
        .args([&object, &source])
        .output();
    match compiler {
        Ok(done) if done.status.success() => Some(std::fs::read(object).unwrap()),
        other => {
            println!("skipped: no compiler: {other:?}");
            None
        }
    }
}

/// Functions in another order take the rows for their code along, those too that the assembler wrote behind the others.
#[test]
fn rows_go_where_their_code_went() {
    let order: Vec<u32> = (0..120).collect();
    let other: Vec<u32> = (0..12)
        .flat_map(|block| (0..10).map(move |n| block * 5 % 12 * 10 + n))
        .collect();
    for class in ["-m64", "-m32"] {
        let (Some(old), Some(new)) = (compiled(&order, class), compiled(&other, class)) else {
            continue;
        };
        let (all, bytes) = told(&old, &new);
        println!("{class}: {bytes} of {all} bytes for rows");
        assert!(bytes < 200, "{class}: {bytes} of {all} bytes for rows");
        let delta = elfdelta::diff(&old, &new, &Options::default(), &Silent).unwrap();
        let is_told = delta.report.sections.iter().any(|part| part.name == "(headers)");
        assert!(is_told, "{class} is told as bytes");
    }
}

/// New functions have rows for their calls where their instructions have room for them.
#[test]
fn rows_are_where_new_code_leaves_fields_open() {
    let order: Vec<u32> = (0..120).collect();
    let more: Vec<u32> = (0..120)
        .flat_map(|n| [n, n + 1000].into_iter().take(1 + usize::from(n % 5 == 0)))
        .collect();
    let (Some(old), Some(new)) = (compiled(&order, "-m64"), compiled(&more, "-m64")) else {
        return;
    };
    let (all, bytes) = told(&old, &new);
    println!("{bytes} of {all} bytes for rows of 24 functions");
    assert!(bytes < 75, "{bytes} of {all} bytes for rows of 24 functions");
}

/// Labels are called by numbers, which shift; rows name the label that stands where the old one went.
#[test]
fn rows_name_the_label_at_the_same_place() {
    let source = |texts: &mut dyn Iterator<Item = u32>| {
        let function = |n: u32| {
            format!(
                "long function_{n}(long x) {{ return say(x, \"what number {n} says\") + say(x, \"and {} too\"); }}\n",
                n * 7919
            )
        };
        "extern long say(long, const char *);\n".to_string() + &texts.map(function).collect::<String>()
    };
    let old = object(&source(&mut (0..60)), "-m64");
    let new = object(&source(&mut (100..103).chain(0..60)), "-m64");
    let (Some(old), Some(new)) = (old, new) else {
        return;
    };
    let (all, bytes) = told(&old, &new);
    println!("{bytes} of {all} bytes for rows of 60 functions");
    assert!(bytes < 20, "{bytes} of {all} bytes for rows of 60 functions");
}

/// Numbers that count what a file includes shift together.
#[test]
fn numbers_of_unique_names_move_along() {
    let source = |first: u32| {
        let name = |n: u32| match n % 3 {
            0 => format!("__UNIQUE_ID_text{}.{}", first + n, first / 9 + n),
            _ => format!("__UNIQUE_ID_kind_{}{}", n % 7 * 7919, first + n),
        };
        let line = |n| format!("char object_{n} __asm__(\"{}\") = {n};\n", name(n));
        (0..90).map(line).collect::<String>()
    };
    let (Some(old), Some(new)) = (object(&source(180), "-m64"), object(&source(207), "-m64")) else {
        return;
    };
    let (all, _) = told(&old, &new);
    println!("{all} bytes for 90 names");
    assert!(all < 180, "{all} bytes for 90 names");
}

/// A section more moves numbers, names and places of those behind it, which go on from their old rows.
#[test]
fn headers_of_sections_that_move_cost_little() {
    let order: Vec<u32> = (0..60).collect();
    let more: Vec<u32> = (0..5)
        .flat_map(|k| [60 + k].into_iter().chain(k * 12..k * 12 + 12))
        .collect();
    let class = "-ffunction-sections";
    let (Some(old), Some(new)) = (compiled(&order, class), compiled(&more, class)) else {
        return;
    };
    for [old, new] in [[&old, &new], [&new, &old]] {
        let delta = elfdelta::diff(old, new, &Options::default(), &Silent).unwrap();
        let headers = delta.report.sections.iter().find(|part| part.name == "(headers)");
        let bytes = headers.map_or(0, |part| part.bytes);
        println!("{bytes} of {} bytes for headers", delta.bytes.len());
        assert!(
            bytes > 0 && bytes < 300,
            "{bytes} of {} bytes for headers",
            delta.bytes.len()
        );
    }
}
