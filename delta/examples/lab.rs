use elfdelta::{code::*, elf::*, layout::*, matching::*, text::*, machine::Machine, file_view::FileView};
use std::time::Duration;
/// CPU time of this process: a clock that neighbours don't disturb.
struct Instant(Duration);
impl Instant {
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
        Instant(Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)))
    }
    fn elapsed(&self) -> Duration { Self::now().0 - self.0 }
}
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let old = std::fs::read(format!("{dir}/old")).unwrap();
    let new = std::fs::read(format!("{dir}/new")).unwrap();
    let t = Instant::now();
    let (ov, nv) = (FileView::new(&old).unwrap(), FileView::new(&new).unwrap());
    let load = |v: &FileView| {
        let e = Elf::read(v).unwrap().unwrap();
        let a = address::Addresses::of(&e).unwrap();
        let f = e.section(b".eh_frame").map(|i| { let s = &e.sections[i]; frames::functions(&e, i, &v.bytes(s.offset, s.size).unwrap()) }).unwrap_or_default();
        let m = CodeMap::new(&e, &a, &f);
        (e, a, m)
    };
    let (oe, _oa, om) = load(&ov);
    let (_ne, _na, nm) = load(&nv);
    let machine = Machine::from_elf(oe.machine, 2, true).unwrap();
    eprintln!("units {} {} {:?}", om.units.len(), nm.units.len(), t.elapsed());
    let ot = tokens::Tokens::scan(machine, &om, &old);
    let nt = tokens::Tokens::scan(machine, &nm, &new);
    eprintln!("tokens {} {} {:?}", ot.at.len(), nt.at.len(), t.elapsed());
    let pairs = units::pair(&ot, &nt);
    let sample: usize = std::env::var("SAMPLE").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let whole: Vec<bool> = (0..pairs.len()).map(|i| pairs[i].is_some_and(|j| ot.unit_hash[j as usize] == nt.unit_hash[i]) || i % sample != 0).collect();
    eprintln!("paired {} whole {} {:?}", pairs.iter().flatten().count(), whole.iter().filter(|w| **w).count(), t.elapsed());
    let aligner = align::Aligner::new((&ot, &old), (&nt, &new));
    let plans: Vec<_> = (0..pairs.len()).map(|i| if whole[i] { vec![] } else { aligner.align(i, pairs[i]) }).collect();
    eprintln!("aligned {:?}", t.elapsed());
    let layout: Vec<NewUnit> = nm.units.iter().enumerate().map(|(i, u)| NewUnit { at: u.at, size: u.size, source: if whole[i] { pairs[i].map_or(1, |j| j + 1) } else { pairs[i].map_or(0, |j| j + 1) }, whole: whole[i] }).collect();
    let mut lw = ModelledWriter::default();
    let mut lm = LayoutModels::default();
    for s in &nm.sections {
        let os = om.sections.iter().find(|o| oe.sections[o.section].name == _ne.sections[s.section].name);
        if sample == 1 { code_layout(&mut lw, &mut lm, &om, os, (s.at, s.len, s.addr), &layout[s.units.0 as usize..s.units.1 as usize]).unwrap(); }
    }
    eprintln!("layout {} {:?}", lw.finish().len(), t.elapsed());
    let mut ow = ModelledWriter::default();
    let mut bw = ModelledWriter::default();
    let (mut opm, mut litm) = (OpModels::default(), LiteralModels::default());
    let mut coder = TextCoder::new(machine, &ov, &om);
    let mut body = TextBody::default();
    let mut listing = Listing::new(machine);
    for (i, u) in layout.iter().enumerate() {
        if !u.whole { listing.load(machine, &nv, i as u32, nm.units[i]).unwrap(); }
        let truth = Truth { listing: &listing, plan: &plans[i] };
        coder.code((&mut ow, &mut bw), (&mut opm, &mut litm), u, (!u.whole).then_some(truth), &mut body).unwrap();
    }
    let (o, b) = (ow.finish(), bw.finish());
    eprintln!("ops {} literals {} (raw {}, runs {}) {:?}", o.len(), b.len(), body.literals.len(), body.runs.len(), t.elapsed());
    if std::env::var("NODEC").is_ok() { return; }
    let mut or = ModelledReader::new(&o, u64::MAX);
    let mut br = ModelledReader::new(&b, u64::MAX);
    let (mut opm, mut litm) = (OpModels::default(), LiteralModels::default());
    let mut coder = TextCoder::new(machine, &ov, &om);
    let mut back = TextBody::default();
    let t = Instant::now();
    for u in &layout { coder.code((&mut or, &mut br), (&mut opm, &mut litm), u, None, &mut back).unwrap(); }
    eprintln!("decoded {} {:?}", back == body, t.elapsed());
}
