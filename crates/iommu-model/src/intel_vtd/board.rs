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
        // There is nothing else that a unit could do without page requests.
        Self { iova: blocked.iova, aborted: true }
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
            commands_consumed: observed.descriptors_taken,
            waits_completed: observed.waits_completed,
            faults_recorded: observed.faults_recorded,
            faults_lost: observed.faults_lost + observed.faults_collapsed,
            passed_everything: observed.translation_ended,
        }
    }

    fn meanwhile_boxed(&self, happens: Box<dyn FnMut()>) {
        self.meanwhile(happens);
    }

    fn meanwhile_nothing(&self) {
        self.meanwhile_nothing();
    }

    fn inject_fault(&self, stream: Option<StreamId>, [word0, word1, word2, word3]: [u64; 4]) {
        let stream = stream.unwrap_or(StreamId(word2 as u32 & 0xffff));
        let pasid = (word3 & 2 != 0).then_some((word3 >> 12) as u32 & 0xf_ffff);
        self.inject_fault(stream, pasid, word1, word3 & 1 != 0, word0 as u8);
    }

    fn raise_errors(&self, which: u8) {
        self.raise_errors(u32::from(which));
    }

    fn fail(&self) {
        self.faults().next_wait_times_out = true;
    }

    fn mend(&self) {
        *self.faults() = Faults::default();
    }

    fn stand_still(&self, after: u32) {
        let mut faults = self.faults();
        (faults.wait_never_completes, faults.waits_before_standstill) = (true, after);
    }

    fn ignore_the_last_resort(&self) {
        self.faults().root_pointer = Ack::Never;
    }

    fn refuse_command(&self, after: u32, _: u8) {
        let mut faults = self.faults();
        (faults.next_descriptor_fails, faults.descriptors_before_failure) = (true, after);
    }

    fn refuse_nothing(&self) -> bool {
        std::mem::take(&mut self.faults().next_descriptor_fails)
    }

    fn will_refuse(&self) -> bool {
        self.faults().next_descriptor_fails
    }

    fn slow(&self, looks: u32) {
        self.faults().reads_per_descriptor = looks;
    }
}
