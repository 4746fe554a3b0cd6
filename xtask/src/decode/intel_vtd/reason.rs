//! Fault reasons (7.1.3, 7.2, 7.3).

use intel_vtd::spec::faults::Reason;

const REASONS: &[(Reason, &str)] = &[
    (Reason::ROOT_ABSENT, "the root entry is absent"),
    (Reason::CONTEXT_ABSENT, "the context entry is absent"),
    (Reason::CONTEXT_INVALID, "the context entry is invalid: decode it with vtd-context"),
    (Reason::ADDRESS, "the address is wider than the tables or the unit"),
    (Reason::NO_WRITE, "the tables do not allow the write"),
    (Reason::NO_READ, "the tables do not allow the read"),
    (Reason::TABLE_ACCESS, "reading a page table failed"),
    (Reason::ROOT_ACCESS, "reading the root table failed"),
    (Reason::CONTEXT_ACCESS, "reading a context table failed"),
    (Reason::ROOT_RESERVED, "the root entry has reserved bits set: decode it with vtd-root"),
    (Reason::CONTEXT_RESERVED, "the context entry has reserved bits set: decode it with vtd-context"),
    (Reason::TABLE_RESERVED, "a paging entry has reserved bits set: decode it with vtd-second-stage"),
    (Reason(0x0d), "the context entry refuses device TLBs"),
    (Reason(0x0e), "the translated address lies in the interrupt range"),
    (Reason(0x20), "the interrupt request has reserved bits set"),
    (Reason(0x21), "the interrupt index is beyond the remapping table"),
    (Reason(0x22), "the interrupt remapping entry is absent"),
    (Reason(0x23), "reading the interrupt remapping table failed"),
    (Reason(0x24), "the interrupt remapping entry has reserved bits set"),
    (Reason(0x25), "an interrupt in compatibility format, which is blocked"),
    (Reason(0x26), "the interrupt's source is not the one of its remapping entry"),
    (Reason(0x27), "reading a posted-interrupt descriptor failed"),
    (Reason(0x28), "the posted-interrupt descriptor has reserved bits set"),
    (Reason(0x30), "RTADDR.TTM is reserved"),
    (Reason(0x31), "a request with PASID in legacy mode"),
    (Reason(0x32), "a page request in legacy mode"),
    (Reason::SM_ROOT_ACCESS, "reading the root table failed"),
    (Reason::SM_ROOT_ABSENT, "the root entry is absent"),
    (Reason::SM_ROOT_RESERVED, "the root entry has reserved bits set: decode it with vtd-scalable-root"),
    (Reason::SM_CONTEXT_ACCESS, "reading a context table failed"),
    (Reason::SM_CONTEXT_ABSENT, "the context entry is absent"),
    (Reason(0x42), "the context entry has reserved bits set: decode it with vtd-scalable-context"),
    (Reason(0x43), "the context entry is invalid: decode it with vtd-scalable-context"),
    (Reason(0x44), "the context entry refuses device TLBs (DTE)"),
    (Reason(0x45), "the context entry refuses requests with PASID (PASIDE)"),
    (Reason(0x46), "the PASID is beyond the directory (PDTS)"),
    (Reason(0x47), "the context entry refuses page requests (PRE)"),
    (Reason::SM_CONTEXT_LAST, "RID_PASID of the context entry is wrong"),
    (Reason::SM_DIRECTORY_ACCESS, "reading a PASID directory failed"),
    (Reason::SM_DIRECTORY_ABSENT, "the PASID directory entry is absent"),
    (
        Reason::SM_DIRECTORY_RESERVED,
        "the PASID directory entry has reserved bits set: decode it with vtd-pasid-directory",
    ),
    (Reason::SM_PASID_ACCESS, "reading a PASID table failed"),
    (Reason::SM_PASID_ABSENT, "the PASID table entry is absent"),
    (Reason(0x5a), "the PASID table entry has reserved bits set: decode it with vtd-pasid"),
    (Reason(0x5b), "the PASID table entry is invalid: decode it with vtd-pasid"),
    (Reason(0x5c), "the PASID table entry refuses requests to execute (ERE)"),
    (Reason::SM_PASID_LAST, "the PASID table entry refuses privileged requests (SRE)"),
    (Reason(0x70), "reading a first-stage table failed"),
    (Reason(0x71), "a first-stage entry is absent"),
    (Reason(0x72), "a first-stage entry has reserved bits set"),
    (Reason(0x73), "reading the first-stage root table failed"),
    (Reason(0x74), "the address of a first-stage entry is beyond the second stage"),
    (Reason(0x75), "the second stage does not allow reading the first-stage root table"),
    (Reason(0x76), "the second stage does not allow reading a first-stage table"),
    (Reason(0x77), "the second stage does not allow writing a first-stage table"),
    (Reason::SM_TABLE_ACCESS, "reading a second-stage table failed"),
    (Reason::SM_NO_RIGHT, "a second-stage entry is absent or takes the right away"),
    (Reason(0x7a), "a second-stage entry has reserved bits set: decode it with vtd-second-stage"),
    (Reason(0x7b), "reading the second-stage root table failed"),
    (Reason(0x7c), "accessed and dirty bits cannot be set in a second stage that does not snoop"),
    (Reason(0x80), "the address is not canonical"),
    (Reason(0x81), "a first-stage entry refuses user requests"),
    (Reason(0x82), "the tables do not allow the request to execute"),
    (Reason::SM_ADDRESS, "the address is wider than the unit's"),
    (Reason::SM_TABLE_ADDRESS, "the address is wider than the second stage's tables"),
    (Reason::SM_NO_WRITE, "the tables do not allow the write"),
    (Reason::SM_NO_READ, "the tables do not allow the read"),
    (Reason(0x87), "the translated address lies in the interrupt range"),
    (Reason(0x90), "accessed and dirty bits cannot be set in a first stage that does not snoop"),
    (Reason(0x91), "setting accessed and dirty bits of the first stage failed"),
];

/// What a fault reason means; `None` for one that is not explained here.
pub fn meaning(reason: u8) -> Option<&'static str> {
    REASONS.iter().find(|(known, _)| known.0 == reason).map(|(_, text)| *text)
}

/// Whether it is one of interrupt remapping.
pub const fn is_interrupt(reason: u8) -> bool {
    reason >= Reason::INTERRUPTS_FIRST.0 && reason <= Reason::INTERRUPTS_LAST.0
}
