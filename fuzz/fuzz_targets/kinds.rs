//! Small files of each kind that has tables of its own, made by `seeds/make`; inputs choose one by number.

macro_rules! files {
    ($($name:literal),*) => { [$(include_bytes!(concat!("../seeds/", $name))),*] };
}

/// Both versions of each kind, one after the other.
pub const FILES: &[&[u8]] = &files!(
    "elf/tiny-1",
    "elf/tiny-2",
    "kinds/cxx-1",
    "kinds/cxx-2",
    "kinds/rust-1",
    "kinds/rust-2",
    "kinds/go-1",
    "kinds/go-2",
    "kinds/arm64-1",
    "kinds/arm64-2",
    "kinds/arm-1",
    "kinds/arm-2",
    "kinds/thumb-1",
    "kinds/thumb-2",
    "kinds/object-1",
    "kinds/object-2",
    "kinds/riscv-1",
    "kinds/riscv-2",
    "kinds/ppc64-1",
    "kinds/ppc64-2",
    "kinds/go-apart-1",
    "kinds/go-apart-2",
    "kinds/go-pie-1",
    "kinds/go-pie-2",
    "kinds/unwind-1",
    "kinds/unwind-2",
    "kinds/names-1",
    "kinds/names-2",
    "kinds/frames-1",
    "kinds/frames-2",
    "kinds/loong64-1",
    "kinds/loong64-2",
    "kinds/mips64-1",
    "kinds/mips64-2",
    "kinds/z-1",
    "kinds/z-2",
    "kinds/linked-1",
    "kinds/linked-2",
    "kinds/types-1",
    "kinds/types-2",
    "kinds/split-1",
    "kinds/split-2",
    "kinds/btf-1",
    "kinds/btf-2",
    "kinds/orc-1",
    "kinds/orc-2",
    "kinds/module-1",
    "kinds/module-2"
);

/// The file of a number.
pub fn file(number: u8) -> &'static [u8] {
    FILES[usize::from(number) % FILES.len()]
}
