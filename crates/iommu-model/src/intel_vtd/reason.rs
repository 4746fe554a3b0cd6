//! Why a request is blocked (7.1.3, the table of fault conditions).

/// A fault condition of legacy or scalable mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// LRT.1, SRT.1: the root entry could not be read.
    RootAccess,
    /// LRT.2, SRT.2.
    RootNotPresent,
    /// LRT.3, SRT.3.
    RootReserved,
    /// LCT.1, SCT.1.
    ContextAccess,
    /// LCT.2, SCT.2.
    ContextNotPresent,
    /// LCT.3, SCT.3.
    ContextReserved,
    /// LCT.4, SCT.4: a field has a value that is not supported.
    ContextInvalid,
    /// RTA.1: RTADDR.TTM is reserved.
    Mode,
    /// RTA.2: a request with PASID, in legacy mode.
    PasidInLegacyMode,
    /// SCT.6: the context entry does not enable PASIDs.
    PasidsDisabled,
    /// SCT.7: the PASID is beyond the directory.
    PasidTooLarge,
    /// SPD.1.
    DirectoryAccess,
    /// SPD.2.
    DirectoryNotPresent,
    /// SPD.3.
    DirectoryReserved,
    /// SPT.1.
    PasidAccess,
    /// SPT.2.
    PasidNotPresent,
    /// SPT.3.
    PasidReserved,
    /// SPT.4.
    PasidInvalid,
    /// LSL.1, SSS.4: the first table could not be read.
    FirstTableAccess,
    /// LSL.1, SSS.1: a later one.
    TableAccess,
    /// LGN.2 or LGN.3, SSS.2: an entry allows nothing.
    NothingAllowed,
    /// LSL.2, SSS.3.
    TableReserved,
    /// LGN.1, SGN.5: the address is beyond MGAW or the tables.
    BeyondTables,
    /// LGN.1, SGN.4: the address of a pass-through request is beyond the host's.
    BeyondHost,
    /// LGN.2, SGN.6.
    NoWrite,
    /// LGN.3, SGN.7.
    NoRead,
    /// LGN.4, SGN.8: the output lies in the interrupt range.
    InterruptRange,
}

impl Reason {
    /// The code that a fault record has.
    pub const fn code(self, scalable: bool, write: bool) -> u8 {
        let (legacy, in_scalable_mode) = match self {
            Self::RootAccess => (0x8, 0x38),
            Self::RootNotPresent => (0x1, 0x39),
            Self::RootReserved => (0xa, 0x3a),
            Self::ContextAccess => (0x9, 0x40),
            Self::ContextNotPresent => (0x2, 0x41),
            Self::ContextReserved => (0xb, 0x42),
            Self::ContextInvalid => (0x3, 0x43),
            Self::Mode => (0x30, 0x30),
            Self::PasidInLegacyMode => (0x31, 0x31),
            Self::PasidsDisabled => (0x45, 0x45),
            Self::PasidTooLarge => (0x46, 0x46),
            Self::DirectoryAccess => (0x50, 0x50),
            Self::DirectoryNotPresent => (0x51, 0x51),
            Self::DirectoryReserved => (0x52, 0x52),
            Self::PasidAccess => (0x58, 0x58),
            Self::PasidNotPresent => (0x59, 0x59),
            Self::PasidReserved => (0x5a, 0x5a),
            Self::PasidInvalid => (0x5b, 0x5b),
            Self::FirstTableAccess => (0x7, 0x7b),
            Self::TableAccess => (0x7, 0x78),
            Self::NothingAllowed => (if write { 0x5 } else { 0x6 }, 0x79),
            Self::TableReserved => (0xc, 0x7a),
            Self::BeyondTables => (0x4, 0x84),
            Self::BeyondHost => (0x4, 0x83),
            Self::NoWrite => (0x5, 0x85),
            Self::NoRead => (0x6, 0x86),
            Self::InterruptRange => (0xe, 0x87),
        };
        if scalable { in_scalable_mode } else { legacy }
    }
}
