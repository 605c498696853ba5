//! A growing byte buffer that leaves no copy of its content behind.

use std::io;
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, read};
use zeroize::Zeroizing;

/// Smallest allocation, in bytes.
const FIRST_GROWTH: usize = 4096;

/// Bytes that are wiped on drop, and in the old place when they move to a larger one.
#[derive(Default)]
pub(super) struct WipedBuffer(Zeroizing<Vec<u8>>);

impl WipedBuffer {
    /// A buffer with room for `capacity` bytes.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    /// Number of bytes held.
    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Appends what one read of a descriptor gives, and says how many bytes that was; 0 is the
    /// end of the file. A full buffer grows to twice its size, but by no more than `growth`
    /// bytes, and by one at least.
    ///
    /// # Errors
    ///
    /// Those of `read(2)`, `EAGAIN` included; `EINTR` is retried.
    pub(super) fn read_from(&mut self, source: impl AsFd, growth: u64) -> io::Result<usize> {
        if self.0.len() == self.0.capacity() {
            self.grow(growth);
        }
        loop {
            match read(&source, spare_capacity(&mut self.0)) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// The bytes, still wiped on drop.
    pub(super) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    /// Moves to a larger allocation. `Vec` would do it by itself, but free the old one unwiped.
    fn grow(&mut self, growth: u64) {
        let wanted = self.0.len().max(FIRST_GROWTH);
        let growth = usize::try_from(growth)
            .unwrap_or(usize::MAX)
            .clamp(1, wanted);
        let mut larger = Zeroizing::new(Vec::with_capacity(self.0.len().saturating_add(growth)));
        larger.extend_from_slice(&self.0);
        self.0 = larger;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[test]
    fn reads_across_growth_and_respects_its_bound() {
        let content: Vec<u8> = (0..50_000u32).map(|n| n as u8).collect();
        let mut file: File = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        file.rewind().unwrap();

        let mut buffer = WipedBuffer::with_capacity(3);
        assert_eq!(buffer.read_from(&file, 10).unwrap(), 3);
        assert_eq!(buffer.read_from(&file, 10).unwrap(), 10);
        assert_eq!(buffer.read_from(&file, 0).unwrap(), 1);
        assert_eq!(buffer.read_from(&file, u64::MAX).unwrap(), FIRST_GROWTH);
        while buffer.read_from(&file, u64::MAX).unwrap() > 0 {}
        assert_eq!(buffer.len(), 50_000);
        assert_eq!(*buffer.into_bytes(), content);
    }
}
