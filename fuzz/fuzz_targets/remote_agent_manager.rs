//! What agents of Remote Agent Manager say.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use muster_agent_socket::older::RemoteAgentManager;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    muster_fuzz::json::mutate(data, size, max_size, seed)
});

fuzz_target!(|message: &[u8]| -> Corpus {
    muster_fuzz::listen(&RemoteAgentManager, &["task_id"], message)
});
