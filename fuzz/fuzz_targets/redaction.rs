//! What leaves the house: secrets go once and for all, and nobody can write the mark that ends a quotation.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use muster_assistant::{Foreign, quote, redact};

fuzz_target!(|text: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(text) else { return Corpus::Reject };
    let once = redact(text);
    let twice = redact(&once.text);
    assert_eq!(twice.text, once.text, "what was redacted stays as it is");
    let with_secret = format!("{text}\nAKIAABCDEFGHIJKLMNOP\n");
    assert!(!redact(&with_secret).text.contains("AKIAABCDEFGHIJKLMNOP"), "whatever is around it");
    let (blocks, mark) = quote(&[Foreign { label: "a text", text }]);
    assert_eq!(blocks.matches(&mark).count(), 2, "{blocks}");
    assert!(blocks.ends_with(&format!("</data {mark}>\n")), "{blocks}");
    Corpus::Keep
});
