//! Scripts: their texts on the way from the server, and the files that shells read them from.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use muster_protocol::{MAX_SCRIPT_BYTES, ShellType, StreamFrame};
use uuid::Uuid;

use crate::identity::{DataDir, private};

/// How many texts may have come whose orders have not.
const MAX_UNCLAIMED: usize = 8;
/// In front of a text this says that it is UTF-8, which Windows PowerShell would not believe else.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A frame of a text that does not belong where it came.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misplaced {
    /// Bytes are missing in front of it, or came before.
    #[error("the server sent a piece of a script out of order")]
    OutOfOrder,
    /// There is too much of it.
    #[error("the server sent a script of more than {MAX_SCRIPT_BYTES} bytes")]
    TooLong,
    /// Too many others wait.
    #[error("the server sent more than {MAX_UNCLAIMED} scripts without their orders")]
    TooMany,
}

/// Texts that came on one connection before their orders, by their streams.
#[derive(Debug, Default)]
pub(crate) struct Arriving {
    texts: HashMap<u32, BytesMut>,
}

impl Arriving {
    /// Takes the next piece of a text; one at offset 0 begins it anew.
    ///
    /// # Errors
    /// [`Misplaced`]; the server has broken the protocol.
    pub(crate) fn take_in(&mut self, frame: &StreamFrame) -> Result<(), Misplaced> {
        let known = self.texts.contains_key(&frame.stream_id);
        if frame.offset == 0 && !known && self.texts.len() >= MAX_UNCLAIMED {
            return Err(Misplaced::TooMany);
        }
        if frame.offset != 0 && !known {
            return Err(Misplaced::OutOfOrder);
        }
        let text = self.texts.entry(frame.stream_id).or_default();
        if frame.offset == 0 {
            text.clear();
        }
        if u64::try_from(text.len()) != Ok(frame.offset) {
            return Err(Misplaced::OutOfOrder);
        }
        if text.len() + frame.bytes.len() > MAX_SCRIPT_BYTES {
            return Err(Misplaced::TooLong);
        }
        text.extend_from_slice(&frame.bytes);
        Ok(())
    }

    /// The text that came on a stream; an empty one has no frames.
    pub(crate) fn claim(&mut self, stream_id: u32) -> Bytes {
        self.texts.remove(&stream_id).unwrap_or_default().freeze()
    }
}

/// The folder with the files of scripts that run.
#[derive(Debug)]
pub(crate) struct Scripts {
    folder: PathBuf,
}

impl Scripts {
    /// Opens the folder and removes what a crash left in it: no script outlives its agent.
    pub(crate) fn open(data: &DataDir) -> anyhow::Result<Self> {
        // Commands run in other folders, and have to find it from there.
        let folder = std::path::absolute(data.folder("scripts")?)?;
        for entry in fs::read_dir(&folder)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(Self { folder })
    }

    /// Writes the text of the script that the command `id` runs, for nobody else to read.
    pub(crate) fn write(&self, id: Uuid, shell: ShellType, text: &[u8]) -> io::Result<ScriptFile> {
        let extension = match shell {
            ShellType::Sh | ShellType::Bash => "sh",
            ShellType::Pwsh | ShellType::Powershell => "ps1",
            ShellType::Cmd => "cmd",
        };
        let path = self.folder.join(format!("{id}.{extension}"));
        let mut written = private().create_new(true).write(true).open(&path)?;
        let file = ScriptFile { path };
        if extension == "ps1" && !text.starts_with(BYTE_ORDER_MARK) {
            written.write_all(BYTE_ORDER_MARK)?;
        }
        // Line ends stay as they are: cmd wants CRLF, and whoever wrote the script chose them.
        written.write_all(text)?;
        Ok(file)
    }
}

/// The file of one script; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct ScriptFile {
    path: PathBuf,
}

impl ScriptFile {
    /// Where it is, from the root on.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScriptFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(file = %self.path.display(), %error, "a script stays until the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::StreamKind;
    use proptest::prelude::*;

    use super::*;

    fn piece(stream_id: u32, offset: u64, bytes: impl Into<Bytes>) -> StreamFrame {
        StreamFrame { kind: StreamKind::File, stream_id, offset, bytes: bytes.into() }
    }

    #[test]
    fn a_text_comes_together_from_its_pieces_and_begins_anew_at_offset_0() {
        let mut arriving = Arriving::default();
        for (offset, bytes) in [(0, "ec"), (2, "ho"), (0, "ech"), (3, "o hi")] {
            arriving.take_in(&piece(1, offset, bytes)).unwrap();
        }
        arriving.take_in(&piece(2, 0, "other")).unwrap();
        assert_eq!(arriving.claim(1), "echo hi");
        assert_eq!((arriving.claim(1), arriving.claim(2)), (Bytes::new(), "other".into()));
    }

    #[test]
    fn pieces_out_of_order_too_long_or_of_too_many_texts_are_refused() {
        let mut arriving = Arriving::default();
        assert_eq!(arriving.take_in(&piece(1, 5, "x")), Err(Misplaced::OutOfOrder));
        arriving.take_in(&piece(1, 0, "abc")).unwrap();
        assert_eq!(arriving.take_in(&piece(1, 2, "x")), Err(Misplaced::OutOfOrder));
        assert_eq!(arriving.take_in(&piece(1, u64::MAX, "x")), Err(Misplaced::OutOfOrder));
        arriving.take_in(&piece(1, 0, vec![b'x'; MAX_SCRIPT_BYTES])).unwrap();
        let end = u64::try_from(MAX_SCRIPT_BYTES).unwrap();
        assert_eq!(arriving.take_in(&piece(1, end, "x")), Err(Misplaced::TooLong));
        let unclaimed = (2..).take(MAX_UNCLAIMED - 1);
        unclaimed.for_each(|stream| arriving.take_in(&piece(stream, 0, "x")).unwrap());
        assert_eq!(arriving.take_in(&piece(99, 0, "x")), Err(Misplaced::TooMany));
    }

    proptest! {
        #[test]
        fn whatever_pieces_come_no_more_is_kept_than_is_allowed(
            pieces in prop::collection::vec((0_u32..12, 0_u64..8, 0_usize..5), 0..60)
        ) {
            let mut arriving = Arriving::default();
            for (stream, offset, length) in pieces {
                let _ = arriving.take_in(&piece(stream, offset, vec![0; length]));
            }
            prop_assert!(arriving.texts.len() <= MAX_UNCLAIMED);
        }
    }

    #[test]
    fn the_file_of_a_script_is_private_and_goes_with_its_command_or_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let scripts = Scripts::open(&data).unwrap();
        let file = scripts.write(Uuid::nil(), ShellType::Sh, b"echo hi").unwrap();
        let path = file.path().to_owned();
        assert!(path.is_absolute() && path.extension().is_some_and(|end| end == "sh"));
        assert_eq!(fs::read(&path).unwrap(), b"echo hi");
        assert!(scripts.write(Uuid::nil(), ShellType::Sh, b"").is_err(), "it was there already");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        }
        drop(file);
        assert!(!path.exists());
        fs::write(&path, "left by a crash").unwrap();
        Scripts::open(&data).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn powershell_is_told_that_a_script_is_utf_8_and_cmd_gets_it_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let scripts = Scripts::open(&DataDir::open(folder.path()).unwrap()).unwrap();
        let written = |shell, text: &str| {
            let file = scripts.write(Uuid::nil(), shell, text.as_bytes()).unwrap();
            fs::read_to_string(file.path()).unwrap()
        };
        assert_eq!(written(ShellType::Powershell, "'é'"), "\u{feff}'é'");
        assert_eq!(written(ShellType::Pwsh, "\u{feff}'é'"), "\u{feff}'é'");
        assert_eq!(written(ShellType::Cmd, "echo é\r\n"), "echo é\r\n");
    }
}
