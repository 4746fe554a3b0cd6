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

/// The number of a client in a supervisor's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientIndex(pub u16);

/// What MAP and COPY are asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MapFlags {
    /// Bit 0: the device may read.
    pub read: bool,
    /// Bit 1: the device may write.
    pub write: bool,
    /// Bit 2: at the IOVA that is given; otherwise the server chooses and the IOVA must be zero.
    pub fixed: bool,
    /// Bit 3: continue the request that was answered [`Again`](crate::Status::Again), all else alike and
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

    /// The flags of a request for `iova`.
    #[inline]
    fn from_bits(bits: u16, iova: u64) -> Result<Self, MessageError> {
        let bit = |index: u16| bits & 1 << index != 0;
        let flags = Self { read: bit(0), write: bit(1), fixed: bit(2), resume: bit(3) };
        if bits >= 1 << 4 || (bits < 1 << 2 && iova != 0) {
            return Err(MessageError::ReservedBits);
        }
        Ok(flags)
    }
}

/// What ALLOW_IOVAS does with the list that is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AllowStep {
    /// Begins an empty list, in place of one that was begun and not committed.
    Begin = 0,
    /// Adds a range to it.
    Add = 1,
    /// Makes it the space's, as a whole. An empty one allows everything again.
    Commit = 2,
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
    /// [`Request::Copy`].
    Copy = 13,
    /// [`Request::IovaRanges`].
    IovaRanges = 14,
    /// [`Request::AllowIovas`].
    AllowIovas = 15,
    /// [`Request::NextMapping`].
    NextMapping = 16,
    /// [`Request::Enable`].
    Enable = 17,
    /// [`Request::HwInfo`].
    HwInfo = 18,
    /// [`Request::Stats`].
    Stats = 19,
    /// [`Request::Claim`].
    Claim = 20,
    /// [`Request::Teardown`].
    Teardown = 21,
    /// [`Request::Hold`].
    Hold = 22,
    /// [`Request::Revoke`].
    Revoke = 23,
    /// [`Request::Regrant`].
    Regrant = 24,
    /// [`Request::SpaceInfo`].
    SpaceInfo = 25,
    /// [`Request::NextWithdrawn`].
    NextWithdrawn = 26,
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
    /// id), word 1 one if attached, two if attached and stopped after a fault storm, word 2 the space that it is
    /// attached to.
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
    /// Maps what a range of one address space maps into another or the same, with these rights or fewer, as many
    /// mappings as it is there. Word 0: bits 15:0 the target space, 31:16 the source space, 63:48 the flags; word
    /// 1 the IOVA in the target; word 2 the first IOVA in the source; word 3 the length in bytes. The range may
    /// begin and end inside mappings; without a gap, and of [`MAX_COPIED`](crate::MAX_COPIED) mappings at most.
    /// Reply: as MAP's.
    Copy {
        /// The space to map into.
        target: SpaceId,
        /// The space to copy from.
        source: SpaceId,
        /// Rights and placement.
        flags: MapFlags,
        /// Where.
        iova: u64,
        /// First address in the source.
        first: u64,
        /// Bytes.
        length: u64,
    },
    /// Asks for the ranges of a space that are not reserved, upwards. Word 0: bits 15:0 the space, 31:16 the
    /// index. Reply: word 0 the first IOVA of that range, word 1 its last, word 2 how many ranges there are,
    /// word 3 the granule in bytes.
    IovaRanges {
        /// The space.
        space: SpaceId,
        /// Which range, from 0.
        index: u16,
    },
    /// Says, in steps, where MAP may place what has no fixed place. The new list replaces the old one as a whole,
    /// at [`AllowStep::Commit`]. Word 0: bits 15:0 the space, 17:16 the step; word 1 the first IOVA, word 2 the
    /// last, both zero but with [`AllowStep::Add`]. Reply: no words.
    AllowIovas {
        /// The space.
        space: SpaceId,
        /// What to do with the list that is being made.
        step: AllowStep,
        /// Lowest address.
        first: u64,
        /// Highest address.
        last: u64,
    },
    /// Asks for the lowest mapping that ends at or above an address. Word 0: bits 15:0 the space; word 1 the
    /// address. Reply: word 0 its first IOVA, word 1 its last, word 2 its offset in the region, word 3 bits 15:0
    /// the slot, bit 16 read, bit 17 write, bit 18 half done: it is being made or taken out.
    NextMapping {
        /// The space.
        space: SpaceId,
        /// The address.
        from: u64,
    },
    /// Lets a device that the server stopped after a fault storm reach its space again. Word 0: bits 15:0 the
    /// device. Reply: no words.
    Enable {
        /// The device.
        device: DeviceIndex,
    },
    /// Asks for the unit that a device's accesses pass. Word 0: bits 15:0 the device, 31:16 the index. Reply,
    /// index 0: word 0 the shape of the unit's tables (bits 7:0 the format: 1 VMSAv8-64 stage 1, 2 stage 2, 3 VT-d
    /// second stage; 15:8 bits of an IOVA; 23:16 bits of a physical address; bit 24 the unit does not snoop; 39:32
    /// what kind of unit it is: 1 an Arm SMMUv3, 2 an Intel VT-d unit; 47:40 the unit's number), word 1 its page
    /// sizes, word 2 how many indices there are, word 3 zero. Higher ones: capability registers as read, four words
    /// each. SMMUv3, index 1: IDR0 and IDR1, IDR2 and IDR3, IDR4 and IDR5, IIDR and AIDR, the first in bits 31:0.
    /// VT-d, index 1: CAP, ECAP, VER, zero.
    HwInfo {
        /// The device.
        device: DeviceIndex,
        /// Which words.
        index: u16,
    },
    /// Asks for counters: [`stats`](crate::stats). Word 0: bits 15:0 which, 31:16 whose: 0 the caller's, n + 1
    /// those of client n of a supervisor. Reply: four words.
    Stats {
        /// Which: a [`stats`](crate::stats) group.
        group: u16,
        /// Whose; the caller's own where `None`.
        client: Option<ClientIndex>,
    },
    /// Takes over what a supervisor [holds](Request::Hold): for this channel, or for the one that the policy has
    /// this channel succeed. Ids are what they were. No words. Reply: word 0 bit n: there is a space with id n; word
    /// 1 bit n: device n is attached. Answered [`Again`](crate::Status::Again): the same call goes on, nothing is
    /// taken over yet.
    Claim,
    /// A supervisor's: ends all that a client has, whatever it does: its devices abort, then its spaces are
    /// destroyed. Until that is done the client's requests are [`Busy`](crate::Status::Busy). Word 0: bits 15:0 the
    /// client. Reply: word 0 zero, word 1 bytes unmapped. Answered [`Again`](crate::Status::Again): the same call
    /// goes on; without it the server goes on by itself.
    Teardown {
        /// The client.
        client: ClientIndex,
    },
    /// A supervisor's: keeps all that a client has as it is, so that its devices go on with what is mapped. Until
    /// a [`Request::Claim`] the client's requests that change something are [`Busy`](crate::Status::Busy). Past
    /// the deadline the server ends it as [`Request::Teardown`] does. On a client that is held, the deadline
    /// begins anew. Word 0: bits 15:0 the client, 63:32 milliseconds. Reply: no words.
    Hold {
        /// The client.
        client: ClientIndex,
        /// How long it may stay unclaimed, in milliseconds.
        deadline_ms: u32,
    },
    /// A supervisor's: withdraws a client's grant. From the first call on its generation is another and nothing is
    /// mapped through it; when the last returns, no device of the client reaches the region through it. Word 0:
    /// bits 15:0 the client, 31:16 the slot. Reply: word 0 the new generation, word 1 bytes unmapped. Answered
    /// [`Again`](crate::Status::Again): the same call goes on; without it the server goes on by itself.
    Revoke {
        /// The client.
        client: ClientIndex,
        /// The slot.
        slot: RegionSlot,
    },
    /// Asks for the shape of a space. Word 0: bits 15:0 the space. Reply: as that of [`Request::IoasAlloc`].
    SpaceInfo {
        /// The space.
        space: SpaceId,
    },
    /// For the PCI host alone, once it is signalled: asks for a function that was detached or stopped since it last
    /// asked, and is not attached again: its bus mastering is to be withdrawn. No words. Reply: word 0 zero: there
    /// is none; one: this is the last; two: there may be more; word 1 its stream id.
    NextWithdrawn,
    /// A supervisor's: gives a withdrawn grant back. Words as [`Request::Revoke`]. Reply: word 0 the generation.
    Regrant {
        /// The client.
        client: ClientIndex,
        /// The slot.
        slot: RegionSlot,
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
            Self::Copy { target, source, flags, iova, first, length } => {
                let word = pair(target.0, source.0) | flags.bits() << 48;
                (Opcode::Copy, Words::new([word, iova, first, length]))
            }
            Self::IovaRanges { space, index } => (Opcode::IovaRanges, Words::new([pair(space.0, index)])),
            Self::AllowIovas { space, step, first, last } => {
                (Opcode::AllowIovas, Words::new([pair(space.0, step as u16), first, last]))
            }
            Self::NextMapping { space, from } => (Opcode::NextMapping, Words::new([space.0.into(), from])),
            Self::Enable { device } => (Opcode::Enable, Words::new([device.0.into()])),
            Self::HwInfo { device, index } => (Opcode::HwInfo, Words::new([pair(device.0, index)])),
            Self::Stats { group, client } => {
                // There is no client 0xffff: a supervisor has fewer.
                let whose = client.map_or(0, |client| client.0.saturating_add(1));
                (Opcode::Stats, Words::new([pair(group, whose)]))
            }
            Self::SpaceInfo { space } => (Opcode::SpaceInfo, Words::new([space.0.into()])),
            Self::Claim => (Opcode::Claim, Words::new([])),
            Self::NextWithdrawn => (Opcode::NextWithdrawn, Words::new([])),
            Self::Teardown { client } => (Opcode::Teardown, Words::new([client.0.into()])),
            Self::Hold { client, deadline_ms } => {
                (Opcode::Hold, Words::new([u64::from(client.0) | u64::from(deadline_ms) << 32]))
            }
            Self::Revoke { client, slot } => (Opcode::Revoke, Words::new([pair(client.0, slot.0)])),
            Self::Regrant { client, slot } => (Opcode::Regrant, Words::new([pair(client.0, slot.0)])),
        }
    }

    /// The request that a message carries.
    ///
    /// # Errors
    /// [`MessageError`] says what is wrong with the message.
    #[inline(always)] // What is taken apart here is taken up at once by the caller.
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
                flags: MapFlags::from_bits((w0 >> 48) as u16, w1)?,
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
            other => Self::decode_rare(other, words.words)?,
        })
    }

    /// The opcodes past [`Opcode::IsAttached`].
    #[inline(never)]
    fn decode_rare(opcode: Opcode, [w0, w1, w2, w3]: [u64; WORDS]) -> Result<Self, MessageError> {
        let low = w0 as u16;
        let high = (w0 >> 16) as u16;
        Ok(match opcode {
            Opcode::Copy => Self::Copy {
                target: SpaceId(low),
                source: SpaceId(high),
                flags: MapFlags::from_bits((w0 >> 48) as u16, w1)?,
                iova: w1,
                first: w2,
                length: w3,
            },
            Opcode::IovaRanges => Self::IovaRanges { space: SpaceId(low), index: high },
            Opcode::AllowIovas => {
                let step = match high {
                    1 => AllowStep::Add,
                    _ if w1 | w2 != 0 => return Err(MessageError::ReservedBits),
                    0 => AllowStep::Begin,
                    2 => AllowStep::Commit,
                    _ => return Err(MessageError::ReservedBits),
                };
                Self::AllowIovas { space: SpaceId(low), step, first: w1, last: w2 }
            }
            Opcode::NextMapping => Self::NextMapping { space: SpaceId(low), from: w1 },
            Opcode::Enable => Self::Enable { device: DeviceIndex(low) },
            Opcode::HwInfo => Self::HwInfo { device: DeviceIndex(low), index: high },
            Opcode::Stats => Self::Stats { group: low, client: high.checked_sub(1).map(ClientIndex) },
            Opcode::SpaceInfo => Self::SpaceInfo { space: SpaceId(low) },
            Opcode::Claim => Self::Claim,
            Opcode::NextWithdrawn => Self::NextWithdrawn,
            Opcode::Teardown => Self::Teardown { client: ClientIndex(low) },
            Opcode::Hold => Self::Hold { client: ClientIndex(low), deadline_ms: (w0 >> 32) as u32 },
            Opcode::Revoke => Self::Revoke { client: ClientIndex(low), slot: RegionSlot(high) },
            Opcode::Regrant => Self::Regrant { client: ClientIndex(low), slot: RegionSlot(high) },
            other => return Err(MessageError::UnknownLabel(other.label())),
        })
    }
}

impl Opcode {
    /// Every opcode, in the order of its number.
    pub const ALL: [Self; 26] = [
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
        Self::Copy,
        Self::IovaRanges,
        Self::AllowIovas,
        Self::NextMapping,
        Self::Enable,
        Self::HwInfo,
        Self::Stats,
        Self::Claim,
        Self::Teardown,
        Self::Hold,
        Self::Revoke,
        Self::Regrant,
        Self::SpaceInfo,
        Self::NextWithdrawn,
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
            Self::Version | Self::IoasAlloc | Self::Reset | Self::Claim | Self::NextWithdrawn => 0,
            Self::NextMapping => 2,
            Self::Unmap | Self::AllowIovas => 3,
            Self::Map | Self::Copy => 4,
            _ => 1,
        }
    }

    /// Bits of word 0, where there is one, that must be zero.
    const fn reserved_bits(self) -> u64 {
        match self {
            Self::Version | Self::IoasAlloc | Self::Reset | Self::Claim | Self::NextWithdrawn | Self::Map => {
                0
            }
            Self::Copy => 0xffff << 32,
            Self::Hold => 0xffff << 16,
            Self::Attach
            | Self::Replace
            | Self::IsAttached
            | Self::IovaRanges
            | Self::AllowIovas
            | Self::HwInfo
            | Self::Stats
            | Self::Revoke
            | Self::Regrant => !0xffff_ffff,
            _ => !0xffff,
        }
    }
}
