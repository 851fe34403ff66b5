use std::io::{self, ErrorKind, IoSlice, Write};
use std::path::Path;

use bytes::Bytes;

use super::write_all;
use crate::{Disk, SystemDisk};

/// A file that takes at most so many bytes a call, and is interrupted before each.
struct Hesitant {
    most: usize,
    interrupted: bool,
    taken: Vec<u8>,
}

impl Write for Hesitant {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        let bytes: Vec<u8> =
            buffers.iter().flat_map(|buffer| buffer.iter().copied()).take(self.most).collect();
        self.taken.extend_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn short_and_interrupted_writes_are_completed() {
    let buffers = ["", "some", "", "buffers", "of", "a", "record", ""].map(Bytes::from);
    for most in 1..=22 {
        let mut file = Hesitant { most, interrupted: false, taken: Vec::new() };
        write_all(&mut file, &buffers).unwrap();
        assert_eq!(file.taken, b"somebuffersofarecord", "{most} bytes a call");
    }
}

#[test]
fn a_file_that_takes_nothing_is_an_error() {
    let mut file = Hesitant { most: 0, interrupted: false, taken: Vec::new() };
    assert_eq!(write_all(&mut file, &["a".into()]).unwrap_err().kind(), ErrorKind::WriteZero);
    write_all(&mut file, &["".into()]).unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_told_from_other_errors() {
    let mut file = SystemDisk.append(Path::new("/dev/full")).await.unwrap();
    let error = file.append(vec!["a".into()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(error.to_string().contains("/dev/full"), "{error}");
}
