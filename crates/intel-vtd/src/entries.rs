//! What the entries that decide over a stream say for a binding.

use iommu_hal::{Binding, DomainTag, PhysAddr, TableMemory};

use crate::{
    features::{Features, Mode},
    spec::{
        context::{ContextWord0, ContextWord1},
        pasid::{GuestTranslation, PasidWord0, PasidWord1},
    },
};

/// Word 0 of an entry that aborts and records nothing: present clear, FPD set. It is the same in all kinds of entries.
pub(crate) const ABORT: u64 = 2;

/// The words of an entry that change: those of a context entry, or the first two of a PASID table entry.
pub(crate) type Words = [u64; 2];

const _: () = assert!(ABORT == ContextWord0::new().with_fault_processing_disable(true).into_bits());
const _: () = assert!(ABORT == PasidWord0::new().with_fault_processing_disable(true).into_bits());

/// The entry of a stream for `binding`.
pub(crate) fn entry(features: &Features, mode: Mode, binding: &Binding) -> Words {
    let address_width = (binding.geometry.levels() - 2) as u8;
    let root_12 = binding.root.0 >> 12;
    let domain = binding.tag.0;
    match mode {
        Mode::Legacy => [
            ContextWord0::new().with_present(true).with_root_12(root_12).into(),
            ContextWord1::new().with_address_width(address_width).with_domain(domain).into(),
        ],
        Mode::Scalable => [
            PasidWord0::new()
                .with_present(true)
                .with_address_width(address_width)
                .with_translation(GuestTranslation::SECOND_STAGE)
                .with_root_12(root_12)
                .into(),
            PasidWord1::new().with_domain(domain).with_walk_snoop(features.ecap().smpwcs()).into(),
        ],
    }
}

/// What an entry that translates leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub tag: DomainTag,
    pub root: PhysAddr,
    pub levels: u32,
}

/// What the entry at `at` leads to; `None` while it aborts.
pub(crate) fn target<M: TableMemory>(memory: &M, mode: Mode, at: PhysAddr) -> Option<Target> {
    let (first, second) = (memory.read(at), memory.read(PhysAddr(at.0 + 8)));
    let (present, domain, root_12, width) = match mode {
        Mode::Legacy => {
            let (word0, word1) = (ContextWord0::from(first), ContextWord1::from(second));
            (word0.present(), word1.domain(), word0.root_12(), word1.address_width())
        }
        Mode::Scalable => {
            let (word0, word1) = (PasidWord0::from(first), PasidWord1::from(second));
            (word0.present(), word1.domain(), word0.root_12(), word0.address_width())
        }
    };
    let target =
        Target { tag: DomainTag(domain), root: PhysAddr(root_12 << 12), levels: u32::from(width) + 2 };
    present.then_some(target)
}
