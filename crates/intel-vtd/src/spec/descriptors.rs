//! Invalidation descriptors (6.5.2).

use bitfield_struct::bitfield;

/// Bytes of a descriptor in legacy mode. In scalable mode it has twice as many, the second half zero.
pub const DESCRIPTOR_BYTES: u64 = 16;

/// Descriptor types, bits 3:0; bits 11:9, more of it, are zero in these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorType(pub u8);

impl DescriptorType {
    /// Context-cache invalidate (6.5.2.1).
    pub const CONTEXT: Self = Self(1);
    /// IOTLB invalidate (6.5.2.3).
    pub const IOTLB: Self = Self(2);
    /// Invalidation wait (6.5.2.8).
    pub const WAIT: Self = Self(5);
    /// PASID-cache invalidate (6.5.2.2).
    pub const PASID: Self = Self(7);

    const fn into_bits(self) -> u8 {
        self.0
    }

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// 64-bit word 0 of a context-cache invalidate descriptor (6.5.2.1); word 1 is zero.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ContextInvalidate {
    /// Type.
    #[bits(4)]
    pub kind: DescriptorType,
    /// G: 1 global, 2 one domain, 3 one device.
    #[bits(2)]
    pub granularity: u8,
    #[bits(10)]
    __: u16,
    /// DID: of the entry as it was cached.
    pub domain: u16,
    /// SID.
    pub source: u16,
    /// FM: how many bits of the function number are ignored.
    #[bits(2)]
    pub function_mask: u8,
    #[bits(14)]
    __: u16,
}

/// 64-bit word 0 of a PASID-cache invalidate descriptor (6.5.2.2); word 1 is zero.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct PasidInvalidate {
    /// Type.
    #[bits(4)]
    pub kind: DescriptorType,
    /// G: 0 one domain, 1 one PASID of a domain, 3 global.
    #[bits(2)]
    pub granularity: u8,
    #[bits(10)]
    __: u16,
    /// DID.
    pub domain: u16,
    /// PASID.
    #[bits(20)]
    pub pasid: u32,
    #[bits(12)]
    __: u16,
}

/// 64-bit word 0 of an IOTLB invalidate descriptor (6.5.2.3).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct IotlbInvalidate0 {
    /// Type.
    #[bits(4)]
    pub kind: DescriptorType,
    /// G: 1 global, 2 one domain, 3 pages of a domain.
    #[bits(2)]
    pub granularity: u8,
    /// DW: drain writes.
    pub drain_writes: bool,
    /// DR: drain reads.
    pub drain_reads: bool,
    #[bits(8)]
    __: u8,
    /// DID.
    pub domain: u16,
    #[bits(32)]
    __: u32,
}

/// 64-bit word 1 of an IOTLB invalidate descriptor.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct IotlbInvalidate1 {
    /// AM: base-2 logarithm of the number of pages.
    #[bits(6)]
    pub address_mask: u8,
    /// IH: entries above the leaves are unchanged.
    pub leaves_only: bool,
    #[bits(5)]
    __: u8,
    /// ADDR: address bits 63:12, aligned as AM says.
    #[bits(52)]
    pub page: u64,
}

/// 64-bit word 0 of an invalidation wait descriptor (6.5.2.8). Word 1 is where the status is stored, a multiple of 4.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Wait {
    /// Type.
    #[bits(4)]
    pub kind: DescriptorType,
    /// IF: interrupt on completion.
    pub interrupt: bool,
    /// SW: store the status on completion.
    pub store: bool,
    /// FN: later descriptors begin after all before have completed.
    pub fence: bool,
    /// PD: page requests are drained.
    pub page_drain: bool,
    #[bits(24)]
    __: u32,
    /// Status data.
    pub status: u32,
}

/// A descriptor's first two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor(pub [u64; 2]);

/// G of everything, in all three kinds of invalidation but one.
const GLOBAL: u8 = 1;

impl Descriptor {
    /// Forgets all context entries.
    pub const CONTEXT_ALL: Self = Self([
        ContextInvalidate::new().with_kind(DescriptorType::CONTEXT).with_granularity(GLOBAL).into_bits(),
        0,
    ]);

    /// Forgets all PASID table entries.
    pub const PASID_ALL: Self =
        Self([PasidInvalidate::new().with_kind(DescriptorType::PASID).with_granularity(3).into_bits(), 0]);

    /// Forgets the context entry of function `source`, cached under `domain`.
    pub const fn context_of(source: u16, domain: u16) -> Self {
        let word = ContextInvalidate::new()
            .with_kind(DescriptorType::CONTEXT)
            .with_granularity(3)
            .with_domain(domain)
            .with_source(source);
        Self([word.into_bits(), 0])
    }

    /// Forgets what is cached of `pasid` under `domain`.
    pub const fn pasid_of(pasid: u32, domain: u16) -> Self {
        let word = PasidInvalidate::new()
            .with_kind(DescriptorType::PASID)
            .with_granularity(1)
            .with_domain(domain)
            .with_pasid(pasid);
        Self([word.into_bits(), 0])
    }

    /// Stores `status` at `at` once all before have completed; all behind begin after that.
    pub const fn wait(at: u64, status: u32) -> Self {
        let word =
            Wait::new().with_kind(DescriptorType::WAIT).with_store(true).with_fence(true).with_status(status);
        Self([word.into_bits(), at])
    }
}

const _: () = assert!(size_of::<Descriptor>() as u64 == DESCRIPTOR_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        assert_eq!((ContextInvalidate::DOMAIN_OFFSET, ContextInvalidate::SOURCE_OFFSET), (16, 32));
        assert_eq!(ContextInvalidate::FUNCTION_MASK_OFFSET, 48);
        assert_eq!((PasidInvalidate::DOMAIN_OFFSET, PasidInvalidate::PASID_OFFSET), (16, 32));
        assert_eq!((IotlbInvalidate0::DRAIN_WRITES_OFFSET, IotlbInvalidate0::DRAIN_READS_OFFSET), (6, 7));
        assert_eq!((IotlbInvalidate0::DOMAIN_OFFSET, IotlbInvalidate1::LEAVES_ONLY_OFFSET), (16, 6));
        assert_eq!(IotlbInvalidate1::PAGE_OFFSET, 12);
        assert_eq!(Descriptor::CONTEXT_ALL.0, [0x11, 0]);
        assert_eq!(Descriptor::PASID_ALL.0, [0x37, 0]);
        assert_eq!(Descriptor::context_of(0x18, 7).0, [0x18_0007_0031, 0]);
        assert_eq!(Descriptor::pasid_of(0, 7).0, [0x7_0017, 0]);
        assert_eq!(Descriptor::wait(0x1000, 9).0, [0x9_0000_0065, 0x1000]);
    }
}
