//! What a provider answers, whole and bit by bit: it is read or refused, and nothing of it makes a
//! command that was proposed harmless.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use muster_assistant::check;
use muster_commands::ShellType;
use muster_openai::{read_answer, read_bits};
use serde_json::Value;

fuzz_target!(|answer: &[u8]| -> Corpus {
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else { return Corpus::Reject };
    let bits = answer.as_array().cloned().unwrap_or_else(|| vec![answer.clone()]);
    let _ = read_bits(&bits);
    if let Ok(answer) = read_answer(&answer) {
        assert!(!(answer.text.is_empty() && answer.tool_calls.is_empty()));
        for shell in ShellType::ALL {
            let _ = check(*shell, &answer.text);
        }
    }
    Corpus::Keep
});
