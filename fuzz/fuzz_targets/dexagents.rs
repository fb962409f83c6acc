//! What agents of `DexAgents` say.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use muster_agent_socket::older::DexAgents;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    muster_fuzz::json::mutate(data, size, max_size, seed)
});

fuzz_target!(|message: &[u8]| -> Corpus {
    muster_fuzz::listen(&DexAgents, &["command_id", "request_id"], message)
});
