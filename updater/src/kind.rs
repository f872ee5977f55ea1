//! What kind of file a file is, by its first bytes: what people are told by kind goes by it.

/// Bytes from the front that [`of`] looks at.
pub const HEAD: usize = 64 << 10;

/// Marks of formats: offset, bytes, name. The first that fits counts.
const MARKS: [(usize, &[u8], &str); 21] = [
    (0x202, b"HdrS", "kernel, x86"),
    (0x38, b"ARM\x64", "kernel, AArch64"),
    (0x24, b"\x18\x28\x6f\x01", "kernel, ARM"),
    (0, b"MZ", "PE"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"\x02\x21\x4c\x18", "lz4"),
    (0, b"\x04\x22\x4d\x18", "lz4"),
    (0, b"BZh", "bzip2"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"hsqs", "squashfs"),
    (0, b"07070", "cpio"),
    (0, b"!<arch>\n", "ar"),
    (257, b"ustar", "tar"),
    (0, b"TZif", "time zone"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\x00asm", "WebAssembly"),
    (0, b"GIMK", "other binary"),
    (0, b"\xde\x12\x04\x95", "message catalogue"),
    (0, b"SQLite format 3\0", "SQLite"),
];

const MACHINES: [(u16, &str); 11] = [
    (3, "i386"),
    (8, "MIPS"),
    (20, "PowerPC"),
    (21, "PowerPC 64"),
    (22, "s390"),
    (40, "ARM"),
    (62, "x86-64"),
    (183, "AArch64"),
    (243, "RISC-V"),
    (247, "BPF"),
    (258, "LoongArch"),
];

/// The kind of a file with this name (its last component) and these first bytes.
pub fn of(name: &str, head: &[u8]) -> String {
    if head.starts_with(b"\x7fELF") {
        return elf(name, head);
    }
    if name.ends_with(".pyc") {
        return ".pyc".into();
    }
    let fits = |(at, mark, _): &&(usize, &[u8], &str)| head.get(*at..).is_some_and(|h| h.starts_with(mark));
    match MARKS.iter().find(fits) {
        Some((_, _, kind)) => (*kind).into(),
        None if text(head) => "text".into(),
        None => "other binary".into(),
    }
}

fn elf(name: &str, head: &[u8]) -> String {
    let half = |at: usize| {
        let bytes = [
            head.get(at).copied().unwrap_or(0),
            head.get(at + 1).copied().unwrap_or(0),
        ];
        match head.get(5) {
            Some(2) => u16::from_be_bytes(bytes),
            _ => u16::from_le_bytes(bytes),
        }
    };
    let machine = MACHINES.iter().find(|(number, _)| *number == half(18));
    let machine = machine.map_or_else(|| format!("machine {}", half(18)), |(_, name)| (*name).into());
    let role = match half(16) {
        1 if name.contains(".ko") => "module",
        1 => "object",
        2 => "program",
        3 => "library or PIE",
        _ => "other",
    };
    format!("ELF {machine}, {role}")
}

/// Whether these are characters: no control byte but white space and escapes, valid UTF-8 up to a cut at the end.
fn text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && head.len() == HEAD,
    };
    valid && !head.iter().any(|b| matches!(b, 0..=6 | 14..=26 | 28..=31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_content() {
        let elf = |class: u8, data: u8, kind: u8, machine: u8| {
            let mut head = vec![0; 64];
            head[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, data]);
            let low = if data == 2 { 1 } else { 0 };
            head[16 + low] = kind;
            head[18 + low] = machine;
            head
        };
        assert_eq!(of("a", &elf(2, 1, 3, 62)), "ELF x86-64, library or PIE");
        assert_eq!(of("a.o", &elf(1, 1, 1, 3)), "ELF i386, object");
        assert_eq!(of("a.ko", &elf(2, 2, 1, 22)), "ELF s390, module");
        assert_eq!(of("a", &elf(2, 1, 9, 250)), "ELF machine 250, other");
        assert_eq!(of("page.1.gz", b"\x1f\x8b\x08"), "gzip");
        let mut kernel = b"MZ".to_vec();
        assert_eq!(of("loader.efi", &kernel), "PE");
        kernel.resize(0x202, 0);
        kernel.extend_from_slice(b"HdrS");
        assert_eq!(of("vmlinuz", &kernel), "kernel, x86");
        assert_eq!(of("a", "gr\u{fc}n\n".as_bytes()), "text");
        assert_eq!(of("a", b"a\0b"), "other binary");
        assert_eq!(of("a.pyc", b"\xa7\r\r\n"), ".pyc");
        assert_eq!(of("empty", b""), "text");
    }

    #[test]
    fn a_character_cut_at_the_end_is_text_only_where_more_would_follow() {
        let mut head = "\u{fc}".repeat(HEAD / 2).into_bytes();
        head.insert(0, b'a');
        head.truncate(HEAD);
        assert_eq!(of("a", &head), "text");
        assert_eq!(of("a", b"a\xc3"), "other binary");
    }
}
