//! Messages of the protocol `muster.v1`, alone and in requests: what decodes is written and read
//! back as it was.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use muster_protocol::{AgentMessage, PollRequest, Polled};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    muster_fuzz::json::mutate(data, size, max_size, seed)
});

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(bytes) else { return Corpus::Reject };
    if let Ok(message) = serde_json::from_str::<AgentMessage>(text) {
        let read_back = read_back(&message);
        same(message, read_back);
    }
    if let Ok(request) = serde_json::from_str::<PollRequest>(text) {
        let read_back: PollRequest = read_back(&request);
        assert_eq!(request.messages.len(), read_back.messages.len());
        for (said, read_back) in request.messages.iter().zip(&read_back.messages) {
            match (said.clone(), read_back.clone()) {
                (Polled::Message(said), Polled::Message(read_back)) => same(said, read_back),
                (said, read_back) => assert_eq!(said, read_back),
            }
        }
        let nothing = |request| PollRequest { messages: Vec::new(), ..request };
        assert_eq!(nothing(request), nothing(read_back));
    }
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if is_json { Corpus::Keep } else { Corpus::Reject }
});

fn read_back<T: serde::Serialize + serde::de::DeserializeOwned>(said: &T) -> T {
    let text = serde_json::to_string(said).expect("what was read can be written");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The same but for the last bit of a number of seconds, which JSON is read without.
fn same(mut said: AgentMessage, mut read_back: AgentMessage) {
    if let (AgentMessage::Finished(said), AgentMessage::Finished(read_back)) =
        (&mut said, &mut read_back)
        && let (Some(time), Some(again)) = (said.execution_time, read_back.execution_time)
    {
        assert!((time - again).abs() <= time.abs() * 1e-12, "{time} is {again}");
        read_back.execution_time = Some(time);
    }
    assert_eq!(said, read_back);
}
