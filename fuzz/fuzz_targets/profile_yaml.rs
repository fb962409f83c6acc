//! Profiles as YAML files: what can be read is written and read back as it was, and the same profile
//! is always the same text.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use muster_http::{read_profile, write_profile};

fuzz_target!(|file: &[u8]| -> Corpus {
    if let Ok(bundle) = read_profile(file) {
        let text = write_profile(bundle.clone()).expect("what was read can be written");
        let again = read_profile(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(again, bundle, "{text}");
        assert_eq!(write_profile(again).ok(), Some(text));
    }
    if str::from_utf8(file).is_ok() { Corpus::Keep } else { Corpus::Reject }
});
