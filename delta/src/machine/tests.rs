//! Properties of every machine: whatever the bytes, and for every kind of field.

use super::aarch64::{ADR_PAGE21, ADR21, BRANCH14, BRANCH19, BRANCH26, LIT19, LO12};
use super::arm as a;
use super::loong as l;
use super::mips as m;
use super::ppc as p;
use super::riscv as r;
use super::x86::{GOT_ADD32, GOT_DISP32, REL8, REL32, RIP32};
use super::z;
use super::*;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    /// Any bytes decode to something that lies inside them, and what follows them doesn't matter.
    #[test]
    fn arbitrary_bytes_decode(machine in prop::sample::select(&Machine::ALL[..]), bytes: [u8; 40], end in 0usize..24) {
        let whole = machine.decode(&bytes);
        let len = usize::from(whole.len());
        prop_assert!((1..=15).contains(&len));
        prop_assert_eq!(machine.decode(&bytes[..len]), whole);
        let cut = machine.decode(&bytes[..end]);
        if end >= len && end > 0 {
            prop_assert_eq!(cut, whole);
        } else {
            prop_assert!(!cut.known() && usize::from(cut.len()) <= end);
        }
        if let Some(field) = whole.field() {
            prop_assert!(usize::from(field.at) + width(machine, field.kind) <= len);
            prop_assert!(machine.lists(field.kind));
        }
        if whole.disp_len() > 0 {
            prop_assert!(whole.disp_at() + whole.disp_len() <= whole.len());
        }
        if whole.imm_len() > 0 {
            prop_assert_eq!(whole.imm_at() + whole.imm_len(), whole.len());
        }
    }
}

#[test]
fn machines_are_picked_by_the_elf_header() {
    assert_eq!(Machine::from_elf(62, 2, true), Some(Machine::X86_64));
    assert_eq!(Machine::from_elf(3, 1, true), Some(Machine::X86_32));
    assert_eq!(Machine::from_elf(183, 2, true), Some(Machine::AArch64));
    assert_eq!(Machine::from_elf(40, 1, true), Some(Machine::Arm));
    assert_eq!(Machine::from_elf(183, 2, false), None);
    assert_eq!(Machine::from_elf(40, 1, false), None);
    assert_eq!(Machine::from_elf(3, 2, true), None);
    assert_eq!(Machine::from_elf(243, 2, true), Some(Machine::RiscV64));
    assert_eq!(Machine::from_elf(243, 1, true), None);
}

/// A kind with a machine that has it.
#[derive(Clone, Copy, Debug)]
struct Home {
    machine: Machine,
    kind: FieldKind,
    /// The instruction around the field.
    rest: u32,
    /// Bytes of its start: what the field counts from is a multiple of it.
    unit: u64,
    /// Farthest target that can be reached, for an instruction of four bytes, and steps to the next one.
    reach: (u64, u64),
    /// Where counting starts, from the start of an instruction of four bytes.
    ahead: u64,
    /// Whether a field of zeros is a distance of 0.
    plain: bool,
}

const fn home(machine: Machine, kind: FieldKind, rest: u32, reach: (u64, u64)) -> Home {
    let (unit, ahead) = match machine {
        Machine::X86_64 | Machine::X86_32 => (1, 4),
        Machine::AArch64 => (4, 0),
        Machine::Arm => (4, 8),
        Machine::Thumb => (4, 4),
        Machine::RiscV64 | Machine::Ppc64 | Machine::Loong64 | Machine::Mips64 => (4, 0),
        Machine::Z => (2, 0),
    };
    Home {
        machine,
        kind,
        rest,
        unit,
        reach,
        ahead,
        plain: true,
    }
}

/// A branch whose bits of zero are no distance of 0.
const fn turned(home: Home) -> Home {
    Home { plain: false, ..home }
}

/// In 32-bit code every address is in reach.
const EVERYWHERE: (u64, u64) = (u64::MAX, 1);

/// Bytes that a jump of MIPS stays in.
const REGION: u64 = 1 << 28;

const HOMES: [Home; 65] = [
    home(Machine::X86_64, REL8, 0x00, (127, 1)),
    home(Machine::X86_64, REL32, 0x00, (0x7fff_ffff, 1)),
    home(Machine::X86_64, RIP32, 0x00, (0x7fff_ffff, 1)),
    home(Machine::X86_32, REL8, 0x00, (127, 1)),
    home(Machine::X86_32, REL32, 0x00, EVERYWHERE),
    Home {
        ahead: 0,
        ..home(Machine::X86_32, GOT_ADD32, 0x00, EVERYWHERE)
    },
    Home {
        ahead: 0,
        ..home(Machine::X86_32, GOT_DISP32, 0x00, EVERYWHERE)
    },
    home(Machine::AArch64, BRANCH26, 0x9400_0000, (0x7ff_fffc, 4)),
    home(Machine::AArch64, BRANCH19, 0xb400_0003, (0xf_fffc, 4)),
    home(Machine::AArch64, BRANCH14, 0xb708_0004, (0x7ffc, 4)),
    home(Machine::AArch64, LIT19, 0x5800_0005, (0xf_fffc, 4)),
    home(Machine::AArch64, ADR21, 0x1000_0006, (0xf_ffff, 1)),
    Home {
        unit: 4096,
        ..home(Machine::AArch64, ADR_PAGE21, 0x9000_0007, (0xffff_f000, 4096))
    },
    Home {
        unit: 4096,
        ..home(Machine::AArch64, LO12, 0x9100_0021, (4095, 1))
    },
    Home {
        unit: 4096,
        ..home(Machine::AArch64, LO12, 0xf940_0021, (4095 * 8, 8))
    },
    Home {
        unit: 4096,
        ..home(Machine::AArch64, LO12, 0x3dc0_0021, (4095 * 16, 16))
    },
    home(Machine::Arm, a::BRANCH24, 0xeb00_0000, (0x1ff_fffc, 4)),
    home(Machine::Arm, a::EXCHANGE25, 0xfa00_0000, (0x1ff_fffe, 2)),
    home(Machine::Arm, a::LIT12, 0xe59f_1000, (4095, 1)),
    home(Machine::Arm, a::LIT8, 0xed9f_0b00, (1020, 4)),
    home(Machine::Arm, a::LIT44, 0xe1df_20b0, (255, 1)),
    home(Machine::Arm, a::ADR8, 0xe28f_0000, (255, 1)),
    home(Machine::Thumb, a::COND8, 0xd100, (254, 2)),
    home(Machine::Thumb, a::JUMP11, 0xe000, (2046, 2)),
    home(Machine::Thumb, a::ZERO6, 0xb101, (126, 2)),
    home(Machine::Thumb, a::WORD8, 0x4b00, (1020, 4)),
    home(Machine::Thumb, a::COND20, 0x8000_f040, (0xf_fffe, 2)),
    turned(home(Machine::Thumb, a::JUMP24, 0xd000_f000, (0xff_fffe, 2))),
    turned(home(Machine::Thumb, a::EXCHANGE24, 0xc000_f000, (0xff_fffc, 4))),
    home(Machine::Thumb, a::WIDE12, 0x1000_f8df, (4095, 1)),
    home(Machine::Thumb, a::ADR12, 0x0100_f20f, (4095, 1)),
    home(Machine::Thumb, a::WIDE8, 0x0100_e9df, (1020, 4)),
    Home {
        ahead: 0,
        ..home(Machine::Arm, a::DISTANCE, 0, EVERYWHERE)
    },
    Home {
        ahead: 0,
        ..home(Machine::Thumb, a::ADDRESS, 0, EVERYWHERE)
    },
    home(Machine::RiscV64, r::JUMP20, 0x00ef, (0xf_fffe, 2)),
    home(Machine::RiscV64, r::BRANCH12, 0x00b5_1063, (4094, 2)),
    home(Machine::RiscV64, r::JUMP11, 0xa001, (2046, 2)),
    home(Machine::RiscV64, r::BRANCH8, 0xe401, (254, 2)),
    home(Machine::RiscV64, r::HIGH20, 0x0517, (0x7fff_f7ff, 1)),
    home(Machine::RiscV64, r::LOW12, 0x0005_3503, (2047, 1)),
    home(Machine::RiscV64, r::STORE12, 0x00b5_3023, (2047, 1)),
    home(Machine::Ppc64, p::BRANCH24, 0x4800_0001, (0x1ff_fffc, 4)),
    home(Machine::Ppc64, p::BRANCH14, 0x4182_0000, (0x7ffc, 4)),
    home(Machine::Ppc64, p::HIGH16, 0x3c62_0000, (0x7fff_7fff, 1)),
    home(Machine::Ppc64, p::LOW16, 0x3863_0000, (0x7fff, 1)),
    home(Machine::Ppc64, p::LOW14, 0xe863_0000, (0x7ffc, 4)),
    home(Machine::Ppc64, p::LOW12, 0xf463_0001, (0x7ff0, 16)),
    home(Machine::Loong64, l::BRANCH26, 0x5400_0000, (0x7ff_fffc, 4)),
    home(Machine::Loong64, l::BRANCH21, 0x4000_0080, (0x3f_fffc, 4)),
    home(Machine::Loong64, l::BRANCH16, 0x5800_0085, (0x1_fffc, 4)),
    home(Machine::Loong64, l::NEAR20, 0x1800_0004, (0x1f_fffc, 4)),
    Home {
        unit: 4096,
        ..home(Machine::Loong64, l::PAGE20, 0x1a00_0004, (0x7fff_f7ff, 1))
    },
    home(Machine::Loong64, l::HIGH20, 0x1c00_0004, (0x7fff_f7ff, 1)),
    home(Machine::Loong64, l::CALL20, 0x1e00_0001, (0x1f_fffd_ffff, 1)),
    home(Machine::Loong64, l::LOW12, 0x28c0_0084, (2047, 1)),
    home(Machine::Loong64, l::JUMP16, 0x4c00_0021, (0x1_fffc, 4)),
    Home {
        ahead: 4,
        ..home(Machine::Mips64, m::BRANCH16, 0x1082_0000, (0x1_fffc, 4))
    },
    Home {
        unit: REGION,
        ..home(Machine::Mips64, m::JUMP26, 0x0c00_0000, (REGION - 4, 4))
    },
    home(Machine::Mips64, m::HIGH16, 0x3c02_0000, (0x7fff_7fff, 1)),
    home(Machine::Mips64, m::LOW16, 0xdc42_0000, (0x7fff, 1)),
    home(Machine::Z, z::BRANCH16, 0, (0xfffe, 2)),
    home(Machine::Z, z::CALL32, 0, (0xffff_fffe, 2)),
    home(Machine::Z, z::BRANCH32, 0, (0xffff_fffe, 2)),
    home(Machine::Z, z::ADDRESS32, 0, (0xffff_fffe, 2)),
    home(Machine::Z, z::DATA32, 0, (0xffff_fffe, 2)),
];

/// The bits of an instruction of four bytes that its field owns.
fn mask(machine: Machine, kind: FieldKind) -> u32 {
    let mut ones = [0xff; 4];
    machine.blank(kind, &mut ones, 0);
    !u32::from_le_bytes(ones)
}

/// Bytes that a field owns or shares.
fn width(machine: Machine, kind: FieldKind) -> usize {
    (32 - mask(machine, kind).leading_zeros()).div_ceil(8) as usize
}

fn field(kind: FieldKind, at: u8) -> Field {
    Field { kind, at }
}

proptest! {
    /// Whatever the bits of a field say, blanking and writing the target that was read restores them.
    #[test]
    fn blank_and_write_restore(home in prop::sample::select(&HOMES[..]), bits: u32, at in 0u8..8, place: u64) {
        let Home { machine, kind, rest, .. } = home;
        let place = machine.address(place) & !(home.unit - 1);
        let at = if home.unit == 1 { at } else { 0 };
        let word = if home.unit == 1 { bits } else { rest | bits & mask(machine, kind) };
        let mut insn = [0xa5; 12];
        insn[usize::from(at)..][..4].copy_from_slice(&word.to_le_bytes());
        let before = insn;
        let len = if home.unit == 1 { at + width(machine, kind) as u8 + 1 } else { 4 };
        let target = machine.read(kind, &insn, at, len, place);
        machine.blank(kind, &mut insn, at);
        let blank = machine.read(kind, &insn, at, len, place);
        let ahead = if home.unit == 1 && home.ahead > 0 { u64::from(len) } else { home.ahead };
        prop_assert!(!home.plain || blank == machine.address(place.wrapping_add(ahead)));
        prop_assert!(machine.write(field(kind, at), &mut insn, len, place, target));
        prop_assert_eq!(insn, before);
    }

    /// A target that can be written is read back; one that can't leaves the bytes alone.
    #[test]
    fn what_is_written_is_read(home in prop::sample::select(&HOMES[..]), place: u64, reach in 0u32..64, away: i64) {
        let Home { machine, kind, rest, .. } = home;
        let place = machine.address(place);
        let target = place.wrapping_add_signed(away >> reach);
        let mut insn = rest.to_le_bytes();
        let before = insn;
        if machine.write(field(kind, 0), &mut insn, 4, place, target) {
            let target = match kind {
                ADR_PAGE21 if machine == Machine::AArch64 => target & !4095,
                // The other half has the rest.
                r::HIGH20 if machine == Machine::RiscV64 => {
                    place.wrapping_add(target.wrapping_sub(place).wrapping_add(0x800) & !4095)
                }
                p::HIGH16 if machine == Machine::Ppc64 => {
                    place.wrapping_add(target.wrapping_sub(place).wrapping_add(0x8000) & !0xffff)
                }
                m::HIGH16 if machine == Machine::Mips64 => {
                    place.wrapping_add(target.wrapping_sub(place).wrapping_add(0x8000) & !0xffff)
                }
                l::PAGE20 | l::HIGH20 | l::CALL20 if machine == Machine::Loong64 => {
                    let (unit, from) = match kind {
                        l::PAGE20 => (0x1000, place & !0xfff),
                        l::HIGH20 => (0x1000, place),
                        _ => (0x4_0000, place),
                    };
                    from.wrapping_add(target.wrapping_sub(from).wrapping_add(unit / 2) & !(unit - 1))
                }
                _ => target,
            };
            prop_assert_eq!(machine.read(kind, &insn, 0, 4, place), target);
        } else {
            prop_assert_eq!(insn, before);
        }
    }

    /// Fields that aren't inside the bytes are refused, and so are kinds of other machines.
    #[test]
    fn fields_outside_are_refused(home in prop::sample::select(&HOMES[..]), len in 0usize..4, at: u8, place: u64) {
        let Home { machine, kind, .. } = home;
        let mut insn = [0x5a; 4];
        let at = if usize::from(at) + width(machine, kind) <= len { 255 } else { at };
        prop_assert_eq!(machine.read(kind, &insn[..len], at, 4, place), 0);
        prop_assert!(!machine.write(field(kind, at), &mut insn[..len], 4, place, place));
        machine.blank(kind, &mut insn[..len], at);
        prop_assert_eq!(insn, [0x5a; 4]);
    }

    /// What the text tells of an instruction and what its field hides are all of it, once.
    #[test]
    fn every_byte_is_told_once(machine in prop::sample::select(&Machine::ALL[..]), room in 1usize..17, first: u8) {
        let mut places: Vec<_> = (0..room.min(16)).map(|n| machine.place(n, room, first)).collect();
        places.sort_unstable();
        prop_assert!(places.iter().enumerate().all(|(n, &place)| n == place), "{:?}", places);
    }
}

#[test]
fn the_limits_of_each_field() {
    for home in HOMES.iter().filter(|home| home.reach != EVERYWHERE) {
        let Home {
            machine, kind, rest, ..
        } = *home;
        let (farthest, step) = home.reach;
        let place = if machine.address(u64::MAX) == u64::MAX {
            0x10_0000_0000
        } else {
            0x1000_0000
        };
        let from = place + home.ahead;
        let mut insn = u32::to_le_bytes(rest);
        assert!(
            machine.write(field(kind, 0), &mut insn, 4, place, from + farthest),
            "{home:?}"
        );
        let beyond = machine.write(field(kind, 0), &mut insn, 4, place, from + farthest + step);
        assert!(!beyond, "{home:?}");
        let between = machine.write(field(kind, 0), &mut insn, 4, place, from + 1);
        assert_eq!(between, step == 1 || step == 4096, "{home:?}");
    }
}
