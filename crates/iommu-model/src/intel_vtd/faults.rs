//! What can go wrong on purpose.

pub use crate::ack::Ack;

/// How the unit misbehaves, within the architecture or by being broken.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// When GSTS.TES follows GCMD.TE.
    pub translation_enable: Ack,
    /// When GSTS.RTPS follows GCMD.SRTP.
    pub root_pointer: Ack,
    /// When GSTS.QIES follows GCMD.QIE.
    pub queue_enable: Ack,
    /// When GSTS.WBFS clears.
    pub write_buffer_flush: Ack,
    /// When GSTS.IRTPS follows GCMD.SIRTP.
    pub interrupt_pointer: Ack,
    /// When GSTS.IRES follows GCMD.IRE.
    pub interrupt_enable: Ack,
    /// When PMEN.PRS follows PMEN.EPM.
    pub protected_memory: Ack,
    /// What GSTS does not acknowledge yet is in force all the same.
    pub in_force_before_acknowledged: bool,
    /// When CCMD.ICC clears.
    pub context_command: Ack,
    /// When IOTLB.IVT clears.
    pub iotlb_command: Ack,
    /// Register reads that go by before each descriptor is taken; 0: taken at once.
    pub reads_per_descriptor: u32,
    /// No wait descriptor completes, and the queue stands still at it.
    pub wait_never_completes: bool,
    /// This many wait descriptors complete before [`Faults::wait_never_completes`] counts.
    pub waits_before_standstill: u32,
    /// The next descriptor is held to be wrong (FSTS.IQE); taken back when it was.
    pub next_descriptor_fails: bool,
    /// This many descriptors go well before [`Faults::next_descriptor_fails`] counts.
    pub descriptors_before_failure: u32,
    /// The next wait descriptor is dropped because something before it timed out (FSTS.ITE); taken back when it
    /// was.
    pub next_wait_times_out: bool,
}

impl Faults {
    /// Whether the queue stands still at the wait descriptor that is to be taken; counts it if not.
    pub(super) const fn stands_still(&mut self) -> bool {
        if self.wait_never_completes && self.waits_before_standstill == 0 {
            return true;
        }
        self.waits_before_standstill = self.waits_before_standstill.saturating_sub(1);
        false
    }
}
