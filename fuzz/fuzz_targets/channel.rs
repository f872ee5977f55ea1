//! Arbitrary bytes as a channel file: refused, or in order; and its words as names, which stay in their folders.
#![no_main]

use elfup::names::{self, Follow};
use elfup::step::Channel;
use libfuzzer_sys::fuzz_target;

/// A name of a file is not a way out of where it lies.
fn inside(path: &str, folder: &str) {
    assert!(path.starts_with(folder) && !path.contains('\\'), "{path}");
    assert!(
        path.split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.')),
        "{path}"
    );
}

fuzz_target!(|bytes: &[u8]| {
    let follow = Follow::new("demo", "stable", "x86_64").expect("a good name");
    if let Ok(channel) = Channel::parse(bytes, &follow) {
        assert!(channel.releases.windows(2).all(|w| w[0].sequence < w[1].sequence));
        let head = channel.head().map(|r| &r.release);
        assert!(head.is_none_or(|head| channel.find(head).is_some()));
        for release in &channel.releases {
            inside(&names::manifest(&release.manifest), "manifests/");
            inside(&names::blob(&release.manifest), "blobs/");
            for step in &release.steps {
                inside(&names::step(&step.digest), "steps/");
                inside(&names::pack(&step.digest), "packs/");
            }
            inside(
                &names::target_file(&follow.target(), &release.manifest),
                "channels/demo/stable/",
            );
        }
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    for name in text.split(['"', '\n']) {
        if let Ok(follow) = Follow::new(name, name, name) {
            inside(&follow.target(), "channels/");
            inside(&names::target_file(name, &elfup::Digest::of(bytes)), "");
        }
    }
});
