//! Every byte of a patch is accounted for, by stream and by section.

use elfdelta::{Error, Options, Part, Patch, Profile, Silent};

const OLD: &[u8] = include_bytes!("../../fuzz/seeds/kinds/rust-1");
const NEW: &[u8] = include_bytes!("../../fuzz/seeds/kinds/rust-2");

fn sum(parts: &[Part]) -> u64 {
    parts.iter().map(|p| p.bytes).sum()
}

#[test]
fn streams_and_sections_add_up() {
    for profile in [Profile::Fast, Profile::Default, Profile::Max] {
        let options = Options::default().profile(profile);
        let delta = elfdelta::diff(OLD, NEW, &options, &Silent).unwrap();
        let (report, total) = (delta.report, delta.bytes.len() as u64);
        assert_eq!(
            (report.total, sum(&report.streams), sum(&report.sections)),
            (total, total, total)
        );
        assert!(
            report.sections.iter().any(|p| p.name == ".text" && p.bytes > 0),
            "{report:?}"
        );

        let patch = Patch::parse(&delta.bytes).unwrap();
        let again = patch.applier().sections(&OLD).unwrap();
        assert_eq!(again, report.sections);
        let wrong = patch.applier().sections(&NEW);
        assert!(matches!(wrong, Err(Error::WrongOldFile { .. })));
    }
}

#[test]
fn what_is_no_elf_file_has_no_sections() {
    let delta = elfdelta::diff(&OLD[64..], &NEW[64..], &Options::default(), &Silent).unwrap();
    assert_eq!(delta.report.sections, []);
    assert_eq!(sum(&delta.report.streams), delta.report.total);
}
