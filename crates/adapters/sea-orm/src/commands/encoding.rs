//! How pieces of output are kept.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::DatabaseError;

/// How the bytes of a piece of output stand in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As they were written; nobody has looked at them yet.
    AsWritten,
    /// Deflated, in zlib's frame: its checksum tells a damaged row.
    Deflated,
    /// As they were written; it is known that they would not get much smaller.
    Incompressible,
}

impl Encoding {
    /// The number in its column.
    pub(super) const fn number(self) -> i16 {
        match self {
            Self::AsWritten => 0,
            Self::Deflated => 1,
            Self::Incompressible => 2,
        }
    }

    /// The bytes of a row as they were written.
    pub(super) fn read(number: i16, data: Vec<u8>) -> Result<Vec<u8>, DatabaseError> {
        let all = [Self::AsWritten, Self::Deflated, Self::Incompressible];
        match all.into_iter().find(|encoding| encoding.number() == number) {
            Some(Self::AsWritten | Self::Incompressible) => Ok(data),
            Some(Self::Deflated) => {
                let mut plain = Vec::new();
                match ZlibDecoder::new(&*data).read_to_end(&mut plain) {
                    Ok(_) => Ok(plain),
                    Err(_) => Err(DatabaseError::bad_row("command_output.data")),
                }
            }
            None => Err(DatabaseError::bad_row("command_output.encoding")),
        }
    }
}

/// `data`, deflated; `None` where that saves less than an eighth, which is not worth the work of
/// inflating it.
pub(super) fn deflate(data: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).ok()?;
    let deflated = encoder.finish().ok()?;
    (deflated.len() <= data.len() - data.len().div_ceil(8)).then_some(deflated)
}

#[cfg(test)]
mod tests {
    use muster_kernel::Entropy;
    use muster_kernel::testing::SeededEntropy;

    use super::*;

    #[test]
    fn text_gets_smaller_and_back_as_it_was() {
        let line = |n: u32| {
            format!("2026-11-21T12:{:02}:07Z INFO unit[{n}]: took {} ms\n", n % 60, n * 37 % 997)
        };
        let text: String = (0..1000).map(line).collect();
        let deflated = deflate(text.as_bytes()).unwrap();
        assert!(deflated.len() * 2 < text.len(), "{} of {}", deflated.len(), text.len());
        let plain = Encoding::read(Encoding::Deflated.number(), deflated).unwrap();
        assert!(plain == text.as_bytes());
    }

    #[test]
    fn what_would_hardly_get_smaller_is_left() {
        let mut noise = vec![0; 65_536];
        SeededEntropy::new(1).fill(&mut noise);
        for data in [&noise[..], b"", b"x", b"hello"] {
            assert_eq!(deflate(data), None);
        }
    }

    #[test]
    fn a_damaged_row_is_told_from_a_good_one() {
        let mut deflated = deflate(&[7; 1000]).unwrap();
        *deflated.last_mut().unwrap() ^= 1;
        assert!(Encoding::read(Encoding::Deflated.number(), deflated).is_err());
        assert!(Encoding::read(Encoding::Deflated.number(), b"plain".to_vec()).is_err());
        assert!(Encoding::read(3, Vec::new()).is_err());
    }
}
