//! What can go wrong on purpose.

pub use crate::ack::Ack;

/// How the unit misbehaves, within the architecture or by being broken.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// When CR0ACK follows CR0 (6.3.9).
    pub cr0_ack: Ack,
    /// When IRQ_CTRLACK follows IRQ_CTRL (6.3.16).
    pub irq_ctrl_ack: Ack,
    /// When GBPA.Update clears (6.3.14.1).
    pub gbpa_update: Ack,
    /// Register reads that go by before each command is consumed; 0: consumed at once.
    pub reads_per_command: u32,
    /// CMD_SYNC never completes, and the queue stands still at it.
    pub sync_never_completes: bool,
    /// This many CMD_SYNCs complete before [`Faults::sync_never_completes`] counts.
    pub syncs_before_standstill: u32,
    /// The next command fails with this error, as CMDQ_CONS.ERR tells it (7.1); taken when it has.
    pub next_command_fails: Option<u8>,
    /// This many commands go well before [`Faults::next_command_fails`] counts.
    pub commands_before_failure: u32,
}

impl Faults {
    /// Whether the queue stands still at the CMD_SYNC that is to be consumed; counts it if not.
    pub(super) const fn stands_still(&mut self) -> bool {
        if self.sync_never_completes && self.syncs_before_standstill == 0 {
            return true;
        }
        self.syncs_before_standstill = self.syncs_before_standstill.saturating_sub(1);
        false
    }
}
