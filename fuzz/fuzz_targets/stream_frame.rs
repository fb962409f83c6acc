//! Binary frames: what decodes is encoded to the same bytes, and what does not has its reason.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use muster_protocol::{FrameError, MAX_CHUNK_BYTES, StreamFrame};

fuzz_target!(|bytes: &[u8]| {
    let longest = StreamFrame::HEADER_BYTES + MAX_CHUNK_BYTES;
    match StreamFrame::decode(Bytes::copy_from_slice(bytes)) {
        Ok(frame) => {
            assert!(frame.bytes.len() <= MAX_CHUNK_BYTES);
            assert_eq!(frame.encode(), bytes);
        }
        Err(FrameError::TooShort) => assert!(bytes.len() < StreamFrame::HEADER_BYTES),
        Err(FrameError::TooLong) => assert!(bytes.len() > longest),
        Err(FrameError::UnknownKind(kind)) => {
            assert_eq!(bytes.first(), Some(&kind));
            assert!(![1, 2, 5].contains(&kind));
        }
    }
});
