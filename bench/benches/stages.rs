//! What each stage costs on a fixed sample: two versions of the sample program, built by the compiler at hand.
//!
//! Throughput is bytes of what the stage reads: the whole file for `parse`, `diff` and `apply`, the units of
//! code for `scan` and `match`, one symbol a byte for `code`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use elfdelta::{
    Limits, Options, Patch, Profile, Silent,
    code::{Model, ModelledReader, ModelledWriter, Symbols, hash},
    elf::{Elf, address::Addresses, frames},
    file_view::FileView,
    layout::{CodeMap, Function},
    machine::Machine,
    matching::{align::Aligner, tokens::Tokens, units},
};
use std::{fs, hint::black_box};

/// The sample pair in memory.
struct Sample {
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Sample {
    fn build() -> Sample {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = corpora::samples::build(folder.path()).expect("rustc builds the sample");
        Sample {
            old: fs::read(files.old).expect("just built"),
            new: fs::read(files.new).expect("just built"),
        }
    }
}

fn parse(data: &Vec<u8>) -> (Machine, CodeMap) {
    let budget = elfdelta::budget::Budget::default();
    let view = FileView::new(data, &budget).expect("memory has a size");
    let elf = Elf::read(&view)
        .expect("memory is readable")
        .expect("an ELF file");
    let addresses = Addresses::of(&elf).expect("sections have addresses");
    let functions = elf.section(b".eh_frame").map(|index| {
        let section = &elf[index];
        let bytes = view.bytes(section.offset, section.size).expect("inside the file");
        frames::functions(&elf, index, &bytes)
    });
    let functions = functions.unwrap_or_default().into_iter().filter_map(Function::of);
    let map = CodeMap::new(&elf, &addresses, &functions.collect::<Vec<_>>());
    (
        Machine::from_elf(elf.machine, 2, true).expect("a machine that is known"),
        map,
    )
}

fn stages(c: &mut Criterion) {
    let sample = Sample::build();
    let ((machine, old_map), (_, new_map)) = (parse(&sample.old), parse(&sample.new));
    let code: u64 = new_map.units.iter().map(|unit| u64::from(unit.size)).sum();
    let mut group = c.benchmark_group("stage");

    group.throughput(Throughput::Bytes(sample.new.len() as u64));
    group.bench_function("parse", |b| b.iter(|| parse(black_box(&sample.new))));

    group.throughput(Throughput::Bytes(code));
    group.bench_function("scan", |b| {
        b.iter(|| Tokens::scan(machine, &new_map, black_box(&sample.new)))
    });

    let old = Tokens::scan(machine, &old_map, &sample.old);
    let new = Tokens::scan(machine, &new_map, &sample.new);
    group.bench_function("match", |b| {
        b.iter(|| {
            let paired = units::pair(&old, &new, (&[], &[]));
            let aligner = Aligner::new((&old, &sample.old), (&new, &sample.new));
            let differs = |unit: &usize| {
                paired[*unit].is_none_or(|j| old.unit_hash[j as usize] != new.unit_hash[*unit])
            };
            let runs = (0..paired.len())
                .filter(differs)
                .map(|unit| aligner.align(unit, paired[unit]).len());
            runs.sum::<usize>()
        });
    });
    group.finish();
}

/// Order-2 bytes, as a grammar would code them.
fn bytes_grammar<S: Symbols>(symbols: &mut S, text: &[u8]) -> u32 {
    let (mut model, mut last, mut sum) = (Model::new(2, 16, 255), (0, 0), 0);
    for &byte in text {
        let value = symbols.byte(
            &mut model,
            &[hash(1, last.0), hash(hash(2, last.0), last.1)],
            byte,
        );
        last = (u32::from(value), last.0);
        sum += last.0;
    }
    sum
}

fn code(c: &mut Criterion) {
    let sample = Sample::build();
    let text = &sample.new[..sample.new.len().min(1 << 16)];
    let mut group = c.benchmark_group("code");
    group.throughput(Throughput::Bytes(text.len() as u64));
    let write = || {
        let mut writer = ModelledWriter::default();
        bytes_grammar(&mut writer, black_box(text));
        writer.finish()
    };
    group.bench_function("write", |b| b.iter(write));
    let coded = write();
    let budget = elfdelta::budget::Budget::default();
    let blank = vec![0; text.len()];
    group.bench_function("read", |b| {
        b.iter(|| bytes_grammar(&mut ModelledReader::new(&coded, &budget), &blank))
    });
    group.finish();
}

fn whole(c: &mut Criterion) {
    let sample = Sample::build();
    let mut group = c.benchmark_group("whole");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(sample.new.len() as u64));
    for (name, profile) in [("fast", Profile::Fast), ("default", Profile::Default)] {
        let options = Options::default().profile(profile);
        let diff =
            || elfdelta::diff(&sample.old, &sample.new, &options, &Silent).expect("every pair has a patch");
        group.bench_function(format!("diff/{name}"), |b| b.iter(diff));
        let delta = diff();
        let limits = Limits::default();
        let patch = Patch::parse(&delta.bytes).expect("our own patch");
        group.bench_function(format!("apply/{name}"), |b| {
            b.iter(|| {
                let mut new = Vec::with_capacity(sample.new.len());
                patch
                    .applier()
                    .limits(limits)
                    .apply(&sample.old, &mut new)
                    .expect("our own patch");
                new
            });
        });
    }
    group.finish();
}

criterion_group!(benches, stages, code, whole);
criterion_main!(benches);
