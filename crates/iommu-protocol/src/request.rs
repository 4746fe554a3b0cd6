//! Requests as types, and their words.

/// Most words in a request or a reply.
pub const WORDS: usize = 4;

/// The words of one message: how many there are, then the words; those past the count mean nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Words {
    count: usize,
    words: [u64; WORDS],
}

impl Words {
    /// A message of `N` words.
    pub const fn new<const N: usize>(from: [u64; N]) -> Self {
        const { assert!(N <= WORDS) };
        let mut words = [0; WORDS];
        let mut index = 0;
        while index < N {
            words[index] = from[index];
            index += 1;
        }
        Self { count: N, words }
    }

    /// The first [`WORDS`] of `from`, which may be longer: a count above [`WORDS`] is kept, and no request has it.
    pub fn from_slice(from: &[u64]) -> Self {
        let mut words = [0; WORDS];
        for (to, from) in words.iter_mut().zip(from) {
            *to = *from;
        }
        Self { count: from.len(), words }
    }

    /// The message of `count` words in message registers, of which there are at least [`WORDS`]. Copies a fixed
    /// number of words: counting costs more.
    #[inline]
    pub fn load(count: usize, registers: &[u64]) -> Self {
        Self { count, words: registers.first_chunk().copied().unwrap_or_default() }
    }

    /// Puts the words into message registers, of which there are at least [`WORDS`]; says how many they are.
    /// Registers past the count are written too.
    #[inline]
    pub fn store(&self, registers: &mut [u64]) -> usize {
        if let Some(first) = registers.first_chunk_mut() {
            *first = self.words;
        }
        self.count
    }

    /// The words.
    #[inline]
    pub fn as_slice(&self) -> &[u64] {
        &self.words[..self.count.min(WORDS)]
    }

    /// The word at `index`; zero past the end.
    pub fn get(&self, index: usize) -> u64 {
        self.as_slice().get(index).copied().unwrap_or(0)
    }
}

impl PartialEq for Words {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.as_slice() == other.as_slice()
    }
}

impl Eq for Words {}

/// A channel's own name for one of its address spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceId(pub u16);

/// The number of a region in the channel's grant table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionSlot(pub u16);

/// The number of a device in the channel's device table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceIndex(pub u16);

/// What MAP is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MapFlags {
    /// Bit 0: the device may read.
    pub read: bool,
    /// Bit 1: the device may write.
    pub write: bool,
    /// Bit 2: at the IOVA that is given; otherwise the server chooses and the IOVA must be zero.
    pub fixed: bool,
    /// Bit 3: continue the MAP that was answered [`Again`](crate::Status::Again), all else alike and
    /// `fixed` at the IOVA of its reply.
    pub resume: bool,
}

impl MapFlags {
    fn bits(self) -> u64 {
        u64::from(self.read)
            | u64::from(self.write) << 1
            | u64::from(self.fixed) << 2
            | u64::from(self.resume) << 3
    }

    fn from_bits(bits: u16) -> Option<Self> {
        let bit = |index: u16| bits & 1 << index != 0;
        (bits < 1 << 4).then(|| Self { read: bit(0), write: bit(1), fixed: bit(2), resume: bit(3) })
    }
}

/// The label of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum Opcode {
    /// [`Request::Version`].
    Version = 1,
    /// [`Request::IoasAlloc`].
    IoasAlloc = 2,
    /// [`Request::IoasDestroy`].
    IoasDestroy = 3,
    /// [`Request::Map`].
    Map = 4,
    /// [`Request::Unmap`].
    Unmap = 5,
    /// [`Request::Attach`].
    Attach = 6,
    /// [`Request::Detach`].
    Detach = 7,
    /// [`Request::Replace`].
    Replace = 8,
    /// [`Request::RegionInfo`].
    RegionInfo = 9,
    /// [`Request::DeviceInfo`].
    DeviceInfo = 10,
    /// [`Request::Reset`].
    Reset = 11,
    /// [`Request::IsAttached`].
    IsAttached = 12,
}

/// A request, decoded. Bits that no field takes are reserved and must be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Asks for the protocol's version. No words. Reply: word 0 the server's [`VERSION`](crate::VERSION).
    Version,
    /// Makes an address space. No words. Reply: word 0 the [`SpaceId`], word 1 the last IOVA of its aperture,
    /// word 2 its page sizes as a bit mask of bytes (the lowest is the granule).
    IoasAlloc,
    /// Destroys an address space that no device is attached to, and all mappings in it. Word 0: bits 15:0 the
    /// space. Reply: word 0 zero, word 1 bytes unmapped.
    IoasDestroy {
        /// The space.
        space: SpaceId,
    },
    /// Maps a piece of a region. Word 0: bits 15:0 the space, 31:16 the slot, 47:32 the generation, 63:48 the
    /// flags; word 1 the IOVA; word 2 the offset in the region; word 3 the length, both in bytes. Reply: word 0
    /// the IOVA, word 1 bytes mapped.
    Map {
        /// The space to map into.
        space: SpaceId,
        /// The region.
        slot: RegionSlot,
        /// The grant's generation, as [`Request::RegionInfo`] told it.
        generation: u16,
        /// Rights and placement.
        flags: MapFlags,
        /// Where.
        iova: u64,
        /// First byte in the region.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Takes out every mapping inside a closed range; the whole space is `0..=u64::MAX`. Word 0: bits 15:0 the
    /// space; word 1 the first IOVA; word 2 the last. Reply: word 0 zero, word 1 bytes unmapped. Answered
    /// [`Again`](crate::Status::Again): the same call goes on.
    Unmap {
        /// The space.
        space: SpaceId,
        /// Lowest address.
        first: u64,
        /// Highest address.
        last: u64,
    },
    /// Attaches a device that is not attached. Word 0: bits 15:0 the space, 31:16 the device. Reply: no words.
    Attach {
        /// The space.
        space: SpaceId,
        /// The device.
        device: DeviceIndex,
    },
    /// Detaches a device: all its accesses abort. Word 0: bits 15:0 the device. Reply: no words.
    Detach {
        /// The device.
        device: DeviceIndex,
    },
    /// Moves an attached device to another space. Words and reply as [`Request::Attach`].
    Replace {
        /// The new space.
        space: SpaceId,
        /// The device.
        device: DeviceIndex,
    },
    /// Asks what a slot grants. Word 0: bits 15:0 the slot. Reply: word 0 bit 0 read, bit 1 write, bits 31:16
    /// the generation; word 1 the region's bytes.
    RegionInfo {
        /// The slot.
        slot: RegionSlot,
    },
    /// Asks for a device. Word 0: bits 15:0 the device. Reply: word 0 the stream id (under PCI the requester
    /// id), word 1 one if attached, word 2 the space that it is attached to.
    DeviceInfo {
        /// The device.
        device: DeviceIndex,
    },
    /// Gives back everything that the channel holds: devices are detached, then spaces destroyed. No words.
    /// Reply: word 0 zero, word 1 bytes unmapped.
    Reset,
    /// For the PCI host alone: asks whether a function may be given bus mastering. Word 0: bits 31:0 the
    /// stream id. Reply: word 0 one if the function is attached to an address space.
    IsAttached {
        /// The function's stream id.
        stream: u32,
    },
}

/// Why words are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageError {
    /// No opcode has this label.
    UnknownLabel(u64),
    /// The opcode wants another number of words.
    WrongCount,
    /// A reserved bit is set.
    ReservedBits,
}

impl Request {
    /// The request's opcode and words.
    pub fn encode(&self) -> (Opcode, Words) {
        let pair = |low: u16, high: u16| u64::from(low) | u64::from(high) << 16;
        match *self {
            Self::Version => (Opcode::Version, Words::new([])),
            Self::IoasAlloc => (Opcode::IoasAlloc, Words::new([])),
            Self::IoasDestroy { space } => (Opcode::IoasDestroy, Words::new([space.0.into()])),
            Self::Map { space, slot, generation, flags, iova, offset, length } => {
                let word = pair(space.0, slot.0) | u64::from(generation) << 32 | flags.bits() << 48;
                (Opcode::Map, Words::new([word, iova, offset, length]))
            }
            Self::Unmap { space, first, last } => (Opcode::Unmap, Words::new([space.0.into(), first, last])),
            Self::Attach { space, device } => (Opcode::Attach, Words::new([pair(space.0, device.0)])),
            Self::Detach { device } => (Opcode::Detach, Words::new([device.0.into()])),
            Self::Replace { space, device } => (Opcode::Replace, Words::new([pair(space.0, device.0)])),
            Self::RegionInfo { slot } => (Opcode::RegionInfo, Words::new([slot.0.into()])),
            Self::DeviceInfo { device } => (Opcode::DeviceInfo, Words::new([device.0.into()])),
            Self::Reset => (Opcode::Reset, Words::new([])),
            Self::IsAttached { stream } => (Opcode::IsAttached, Words::new([stream.into()])),
        }
    }

    /// The request that a message carries.
    ///
    /// # Errors
    /// [`MessageError`] says what is wrong with the message.
    #[inline]
    pub fn decode(label: u64, words: &Words) -> Result<Self, MessageError> {
        let opcode = Opcode::from_label(label).ok_or(MessageError::UnknownLabel(label))?;
        if words.count != opcode.words() {
            return Err(MessageError::WrongCount);
        }
        let [w0, w1, w2, w3] = words.words;
        if w0 & opcode.reserved_bits() != 0 {
            return Err(MessageError::ReservedBits);
        }
        let low = w0 as u16;
        let high = (w0 >> 16) as u16;
        Ok(match opcode {
            Opcode::Version => Self::Version,
            Opcode::IoasAlloc => Self::IoasAlloc,
            Opcode::IoasDestroy => Self::IoasDestroy { space: SpaceId(low) },
            Opcode::Map => Self::Map {
                space: SpaceId(low),
                slot: RegionSlot(high),
                generation: (w0 >> 32) as u16,
                flags: MapFlags::from_bits((w0 >> 48) as u16).ok_or(MessageError::ReservedBits)?,
                iova: w1,
                offset: w2,
                length: w3,
            },
            Opcode::Unmap => Self::Unmap { space: SpaceId(low), first: w1, last: w2 },
            Opcode::Attach => Self::Attach { space: SpaceId(low), device: DeviceIndex(high) },
            Opcode::Detach => Self::Detach { device: DeviceIndex(low) },
            Opcode::Replace => Self::Replace { space: SpaceId(low), device: DeviceIndex(high) },
            Opcode::RegionInfo => Self::RegionInfo { slot: RegionSlot(low) },
            Opcode::DeviceInfo => Self::DeviceInfo { device: DeviceIndex(low) },
            Opcode::Reset => Self::Reset,
            Opcode::IsAttached => Self::IsAttached { stream: w0 as u32 },
        })
    }
}

impl Opcode {
    /// Every opcode, in the order of its number.
    pub const ALL: [Self; 12] = [
        Self::Version,
        Self::IoasAlloc,
        Self::IoasDestroy,
        Self::Map,
        Self::Unmap,
        Self::Attach,
        Self::Detach,
        Self::Replace,
        Self::RegionInfo,
        Self::DeviceInfo,
        Self::Reset,
        Self::IsAttached,
    ];

    /// The opcode of a request's label.
    pub fn from_label(label: u64) -> Option<Self> {
        usize::try_from(label.checked_sub(1)?).ok().and_then(|index| Self::ALL.get(index)).copied()
    }

    /// The request's label.
    pub const fn label(self) -> u64 {
        self as u64
    }

    /// The number of words that the request has.
    pub const fn words(self) -> usize {
        match self {
            Self::Version | Self::IoasAlloc | Self::Reset => 0,
            Self::Unmap => 3,
            Self::Map => 4,
            _ => 1,
        }
    }

    /// Bits of word 0, where there is one, that must be zero.
    const fn reserved_bits(self) -> u64 {
        match self {
            Self::Version | Self::IoasAlloc | Self::Reset | Self::Map => 0,
            Self::Attach | Self::Replace | Self::IsAttached => !0xffff_ffff,
            _ => !0xffff,
        }
    }
}
