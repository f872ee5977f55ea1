//! Arbitrary bytes as a channel file: refused, or in order.
#![no_main]

use elfup::names::Follow;
use elfup::step::Channel;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let follow = Follow::new("demo", "stable", "x86_64").expect("a good name");
    if let Ok(channel) = Channel::parse(bytes, &follow) {
        assert!(channel.releases.windows(2).all(|w| w[0].sequence < w[1].sequence));
        let head = channel.head().map(|r| &r.release);
        assert!(head.is_none_or(|head| channel.find(head).is_some()));
    }
});
