//! This model as a [`Board`].

use std::cell::RefMut;

use iommu_hal::StreamId;

use super::{Ack, Bench, Faults};
use crate::{
    SystemMemory, VirtualClock,
    board::{AnyMemory, AnyRegisters, Blocked, Board, Observed, any},
};

impl From<super::Blocked> for Blocked {
    fn from(blocked: super::Blocked) -> Self {
        Self { iova: blocked.iova, aborted: blocked.aborted }
    }
}

impl Board for Bench {
    fn ports(&self) -> (AnyRegisters, AnyMemory, VirtualClock) {
        any(self.ports())
    }

    fn dma_read(&self, stream: StreamId, iova: u64, buffer: &mut [u8]) -> Result<(), Blocked> {
        Ok(self.dma_read(stream, iova, buffer)?)
    }

    fn dma_write(&self, stream: StreamId, iova: u64, bytes: &[u8]) -> Result<(), Blocked> {
        Ok(self.dma_write(stream, iova, bytes)?)
    }

    fn translate(&self, stream: StreamId, iova: u64, write: bool) -> Result<u64, Blocked> {
        Ok(self.translate(stream, iova, write)?)
    }

    fn memory(&self) -> RefMut<'_, SystemMemory> {
        self.memory()
    }

    fn observed(&self) -> Observed {
        let observed = self.observed();
        Observed {
            commands_consumed: observed.commands_consumed,
            waits_completed: observed.syncs_completed,
            faults_recorded: observed.events_recorded,
            faults_lost: observed.events_lost,
            passed_everything: observed.global_bypasses,
        }
    }

    fn meanwhile_boxed(&self, happens: Box<dyn FnMut()>) {
        self.meanwhile(happens);
    }

    fn meanwhile_nothing(&self) {
        self.meanwhile_nothing();
    }

    fn inject_fault(&self, stream: Option<StreamId>, [word0, word1, word2, word3]: [u64; 4]) {
        let word0 = stream.map_or(word0, |stream| word0 & 0xff | u64::from(stream.0) << 32);
        self.inject_event([word0, word1, word2, word3]);
    }

    fn raise_errors(&self, which: u8) {
        // Aborts of the event queue, of page requests, of messages.
        self.raise_errors(u32::from(which) & 0xfc);
    }

    fn fail(&self) {
        // SFM_ERR.
        self.raise_errors(1 << 8);
    }

    fn mend(&self) {
        *self.faults() = Faults::default();
    }

    fn stand_still(&self, after: u32) {
        let mut faults = self.faults();
        (faults.sync_never_completes, faults.syncs_before_standstill) = (true, after);
    }

    fn ignore_the_last_resort(&self) {
        self.faults().cr0_ack = Ack::Never;
    }

    fn refuse_command(&self, after: u32, reason: u8) {
        let mut faults = self.faults();
        (faults.next_command_fails, faults.commands_before_failure) = (Some(reason & 0x7f), after);
    }

    fn refuse_nothing(&self) -> bool {
        self.faults().next_command_fails.take().is_some()
    }

    fn will_refuse(&self) -> bool {
        self.faults().next_command_fails.is_some()
    }

    fn slow(&self, looks: u32) {
        self.faults().reads_per_command = looks;
    }
}
