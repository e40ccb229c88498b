//! Where the octets of an index are: all in memory, or in a file that is mapped but for the details.
//!
//! Pages of a mapping that were looked at count as memory of the process, and the kernel brings in
//! their neighbours as well. The details are half of the file and no look-up needs them, so they are
//! read where they are asked for; the file stays open for that, also when its name is gone.

use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::layout::{self, HEADER, Section};

/// The octets of an index.
pub(super) enum Octets {
    Memory(Vec<u8>),
    File {
        /// From the header up to the details.
        mapped: memmap2::Mmap,
        file: File,
        length: usize,
    },
}

impl Octets {
    /// Maps a file. `None` if it is none of an index, or cannot be mapped.
    pub(super) fn map(file: File) -> Option<Self> {
        let length = usize::try_from(file.metadata().ok()?.len()).ok()?;
        let mut header = vec![0; HEADER];
        file.read_exact_at(&mut header, 0).ok()?;
        let (_, sections) = layout::read(&header, length, &layout::sum_of(&header)?)?;
        let end = sections[Section::Details as usize].start;
        #[expect(
            unsafe_code,
            reason = "a mapping is sound while nobody changes the file: ours are written once, before they \
                      get their name, and then only removed, which leaves mappings as they are"
        )]
        let mapped = unsafe { memmap2::MmapOptions::new().len(end).map(&file) }.ok()?;
        Some(Self::File {
            mapped,
            file,
            length,
        })
    }

    /// All but the details.
    pub(super) fn here(&self) -> &[u8] {
        match self {
            Self::Memory(octets) => octets,
            Self::File { mapped, .. } => mapped,
        }
    }

    /// How many there are, the details included.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Memory(octets) => octets.len(),
            Self::File { length, .. } => *length,
        }
    }

    /// A piece of the details; blocks on the disk. `None` if it is not there.
    pub(super) fn read(&self, range: Range<usize>) -> Option<Cow<'_, [u8]>> {
        let length = range.end.checked_sub(range.start)?;
        match self {
            Self::Memory(octets) => octets.get(range).map(Cow::Borrowed),
            Self::File {
                file, length: all, ..
            } => {
                let mut octets = vec![0; length.min(all.saturating_sub(range.start))];
                file.read_exact_at(&mut octets, range.start as u64).ok()?;
                (octets.len() == length).then_some(Cow::Owned(octets))
            }
        }
    }
}
