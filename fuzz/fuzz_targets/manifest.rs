//! Arbitrary bytes as a manifest: refused, or read and written again as the same bytes.
#![no_main]

use elfup::manifest::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse(bytes) {
        assert_eq!(manifest.to_bytes(), bytes, "one spelling only");
        for (entry, content) in manifest.files() {
            assert!(manifest.find(&entry.path).is_some());
            assert!(content.holes.iter().all(|(at, n)| at + n <= content.size));
            let _ = (entry.attributes(), manifest.is_config(&entry.path));
        }
    }
});
