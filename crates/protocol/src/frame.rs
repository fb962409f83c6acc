//! Binary frames: bytes of a stream at their offset.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What the bytes of a frame are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamKind {
    /// A command's standard output.
    Stdout,
    /// A command's standard error.
    Stderr,
    /// A file for the agent: the text of the script that the `execute` on the same stream runs.
    File,
}

impl StreamKind {
    const fn code(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::File => 5,
        }
    }
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than the header.
    #[error("a binary frame has a header of {} bytes", StreamFrame::HEADER_BYTES)]
    TooShort,
    /// A kind that this version does not know.
    #[error("{0} is no stream kind of this protocol version")]
    UnknownKind(u8),
    /// More bytes than a frame may carry.
    #[error("a binary frame carries at most {} bytes", crate::MAX_CHUNK_BYTES)]
    TooLong,
}

/// Bytes of a stream: `u8 kind, u32 stream_id, u64 offset` in big endian, then the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFrame {
    /// What the bytes are.
    pub kind: StreamKind,
    /// Which stream of the connection.
    pub stream_id: u32,
    /// Where in the stream the first byte stands.
    pub offset: u64,
    /// The bytes, at most [`MAX_CHUNK_BYTES`](crate::MAX_CHUNK_BYTES).
    pub bytes: Bytes,
}

impl StreamFrame {
    /// The length of what stands before the bytes.
    pub const HEADER_BYTES: usize = 13;

    /// The frame as it travels.
    pub fn encode(&self) -> Bytes {
        let mut frame = BytesMut::with_capacity(Self::HEADER_BYTES + self.bytes.len());
        frame.put_u8(self.kind.code());
        frame.put_u32(self.stream_id);
        frame.put_u64(self.offset);
        frame.put_slice(&self.bytes);
        frame.freeze()
    }

    /// Reads a frame; its bytes share the memory of `frame`.
    ///
    /// # Errors
    /// [`FrameError`] when `frame` is none.
    pub fn decode(mut frame: Bytes) -> Result<Self, FrameError> {
        if frame.len() < Self::HEADER_BYTES {
            return Err(FrameError::TooShort);
        }
        if frame.len() > Self::HEADER_BYTES + crate::MAX_CHUNK_BYTES {
            return Err(FrameError::TooLong);
        }
        let kind = match frame.get_u8() {
            1 => StreamKind::Stdout,
            2 => StreamKind::Stderr,
            5 => StreamKind::File,
            other => return Err(FrameError::UnknownKind(other)),
        };
        Ok(Self { kind, stream_id: frame.get_u32(), offset: frame.get_u64(), bytes: frame })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [StreamKind; 3] = [StreamKind::Stdout, StreamKind::Stderr, StreamKind::File];

    proptest! {
        #[test]
        fn a_frame_reads_back_as_it_was_written(
            kind in prop::sample::select(KINDS.as_slice()), stream_id: u32, offset: u64,
            bytes in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let frame = StreamFrame { kind, stream_id, offset, bytes: bytes.into() };
            prop_assert_eq!(StreamFrame::decode(frame.encode()), Ok(frame));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = StreamFrame::decode(bytes.into());
        }
    }

    #[test]
    fn a_header_cut_short_an_unknown_kind_and_too_many_bytes_are_refused() {
        let decode = |bytes: Vec<u8>| StreamFrame::decode(bytes.into());
        assert_eq!(decode(vec![1; 12]), Err(FrameError::TooShort));
        assert_eq!(decode(vec![9; 13]), Err(FrameError::UnknownKind(9)));
        assert_eq!(decode(vec![1; 14 + crate::MAX_CHUNK_BYTES]), Err(FrameError::TooLong));
    }
}
