//! The words between a driver and the PCI host.
//!
//! As with the IOMMU server: a call's label is an [`Opcode`], the reply's a [`Status`], and a refusal has no
//! words. A function is named by the index that its device has at the IOMMU server. The labels differ from the
//! server's, so that a request on the wrong channel is unknown there.

use crate::{DeviceIndex, MessageError, Words};

/// The label of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum Opcode {
    /// [`Request::Info`].
    Info = 0x101,
    /// [`Request::Enable`].
    Enable = 0x102,
    /// [`Request::Disable`].
    Disable = 0x103,
}

/// A request, decoded. Each has one word: bits 15:0 the function, the others zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Asks for a function. Reply: the words of [`Info`].
    Info {
        /// The function.
        function: DeviceIndex,
    },
    /// Lets a function that is attached to an address space master the bus. Reply: no words.
    Enable {
        /// The function.
        function: DeviceIndex,
    },
    /// Keeps a function from mastering the bus. Reply: no words.
    Disable {
        /// The function.
        function: DeviceIndex,
    },
}

/// What the PCI host knows of a function. Word 0: bits 15:0 the requester id, bit 16 usable, bit 17 bus master;
/// word 1: bits 15:0 the vendor id, 31:16 the device id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Bits 15:8 bus, 7:3 device, 2:0 function.
    pub requester: u16,
    /// It was found, its BARs are placed and it decodes memory.
    pub usable: bool,
    /// It may master the bus now.
    pub bus_master: bool,
    /// The vendor id.
    pub vendor: u16,
    /// The device id.
    pub device: u16,
}

/// The label of a reply. Each refusal names exactly one broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum Status {
    /// Done.
    Ok = 0,
    /// The label is no opcode.
    UnknownRequest = 1,
    /// The number of words is wrong, or a reserved bit is set.
    BadMessage = 2,
    /// No such function on this channel.
    NoSuchFunction = 3,
    /// The function was not found at start, or its BARs could not be placed.
    NotUsable = 4,
    /// The IOMMU server says that the function is attached to no address space.
    NotAttached = 5,
    /// The IOMMU server gave no usable answer.
    NoAnswer = 6,
}

impl Status {
    /// Every status, in the order of its number.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::UnknownRequest,
        Self::BadMessage,
        Self::NoSuchFunction,
        Self::NotUsable,
        Self::NotAttached,
        Self::NoAnswer,
    ];

    /// The status of a reply's label; `None` for a label that this version does not know.
    pub fn from_label(label: u64) -> Option<Self> {
        usize::try_from(label).ok().and_then(|index| Self::ALL.get(index)).copied()
    }

    /// The reply's label.
    pub const fn label(self) -> u64 {
        self as u64
    }
}

impl Opcode {
    /// Every opcode, in the order of its number.
    pub const ALL: [Self; 3] = [Self::Info, Self::Enable, Self::Disable];

    /// The opcode of a request's label.
    pub fn from_label(label: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|opcode| opcode.label() == label)
    }

    /// The request's label.
    pub const fn label(self) -> u64 {
        self as u64
    }
}

impl Request {
    /// The request's opcode and words.
    pub fn encode(&self) -> (Opcode, Words) {
        let (opcode, function) = match *self {
            Self::Info { function } => (Opcode::Info, function),
            Self::Enable { function } => (Opcode::Enable, function),
            Self::Disable { function } => (Opcode::Disable, function),
        };
        (opcode, Words::new([function.0.into()]))
    }

    /// The request that a message carries.
    ///
    /// # Errors
    /// [`MessageError`] says what is wrong with the message.
    pub fn decode(label: u64, words: &Words) -> Result<Self, MessageError> {
        let opcode = Opcode::from_label(label).ok_or(MessageError::UnknownLabel(label))?;
        let [word] = *words.as_slice() else { return Err(MessageError::WrongCount) };
        let function = DeviceIndex(u16::try_from(word).map_err(|_| MessageError::ReservedBits)?);
        Ok(match opcode {
            Opcode::Info => Self::Info { function },
            Opcode::Enable => Self::Enable { function },
            Opcode::Disable => Self::Disable { function },
        })
    }
}

impl Info {
    /// The words of the reply.
    pub fn encode(&self) -> Words {
        let flags = u64::from(self.usable) << 16 | u64::from(self.bus_master) << 17;
        Words::new([u64::from(self.requester) | flags, u64::from(self.vendor) | u64::from(self.device) << 16])
    }

    /// What a reply says; `None` where its words are not this version's.
    pub fn decode(words: &Words) -> Option<Self> {
        let [first, ids] = *words.as_slice() else { return None };
        if first >> 18 != 0 || ids >> 32 != 0 {
            return None;
        }
        Some(Self {
            requester: first as u16,
            usable: first & 1 << 16 != 0,
            bus_master: first & 1 << 17 != 0,
            vendor: ids as u16,
            device: (ids >> 16) as u16,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_their_words() {
        let function = DeviceIndex(0xabcd);
        let golden = [
            (Request::Info { function }, 0x101),
            (Request::Enable { function }, 0x102),
            (Request::Disable { function }, 0x103),
        ];
        for (request, label) in golden {
            let (opcode, words) = request.encode();
            assert_eq!((opcode.label(), words.as_slice()), (label, &[0xabcd][..]));
            assert_eq!(Request::decode(label, &words), Ok(request));
            assert_eq!(Request::decode(label, &Words::new([])), Err(MessageError::WrongCount));
            assert_eq!(Request::decode(label, &Words::new([1, 0])), Err(MessageError::WrongCount));
            assert_eq!(Request::decode(label, &Words::new([1 << 16])), Err(MessageError::ReservedBits));
        }
        for label in [0, 1, 0x100, 0x104, u64::MAX] {
            assert_eq!(Request::decode(label, &Words::new([0])), Err(MessageError::UnknownLabel(label)));
        }
    }

    #[test]
    fn no_label_is_also_the_servers() {
        assert!(crate::Opcode::ALL.iter().all(|theirs| Opcode::from_label(theirs.label()).is_none()));
    }

    #[test]
    fn info_has_its_words() {
        let info = Info { requester: 0x10, usable: true, bus_master: false, vendor: 0x1234, device: 0x11e8 };
        let words = info.encode();
        assert_eq!(words.as_slice(), [0x1_0010, 0x11e8_1234]);
        assert_eq!(Info::decode(&words), Some(info));
        assert_eq!(Info::decode(&Words::new([1 << 18, 0])), None);
        assert_eq!(Info::decode(&Words::new([0, 1 << 32])), None);
        assert_eq!(Info::decode(&Words::new([0])), None);
    }

    #[test]
    fn labels_and_statuses_are_one_to_one() {
        for (label, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status.label(), label as u64);
            assert_eq!(Status::from_label(label as u64), Some(status));
        }
        assert_eq!(Status::from_label(Status::ALL.len() as u64), None);
    }
}
