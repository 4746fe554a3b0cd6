//! What a driver takes: the unit's registers and its memory.

use std::{cell::RefCell, fmt, rc::Rc};

use iommu_hal::{PhysAddr, Registers, TableMemory};

use super::{Buffered, Machine};
use crate::meanwhile::Meanwhile;

/// The unit's registers, for a driver.
#[derive(Clone)]
pub struct RegisterPort(pub(super) Rc<RefCell<Machine>>);

/// The table region, for a driver.
#[derive(Clone)]
pub struct MemoryPort(pub(super) Rc<RefCell<Machine>>);

impl fmt::Debug for MemoryPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryPort")
    }
}

impl fmt::Debug for RegisterPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegisterPort")
    }
}

fn meanwhile(machine: &RefCell<Machine>) {
    Meanwhile::happen(machine, |machine| &mut machine.meanwhile);
}

impl Registers for RegisterPort {
    fn read32(&mut self, offset: u32) -> u32 {
        meanwhile(&self.0);
        let machine = &mut *self.0.borrow_mut();
        machine.unit.read(&mut machine.memory, offset, false) as u32
    }

    fn write32(&mut self, offset: u32, value: u32) {
        meanwhile(&self.0);
        let machine = &mut *self.0.borrow_mut();
        machine.unit.write(&mut machine.memory, offset, false, u64::from(value));
    }

    fn read64(&mut self, offset: u32) -> u64 {
        meanwhile(&self.0);
        let machine = &mut *self.0.borrow_mut();
        machine.unit.read(&mut machine.memory, offset, true)
    }

    fn write64(&mut self, offset: u32, value: u64) {
        meanwhile(&self.0);
        let machine = &mut *self.0.borrow_mut();
        machine.unit.write(&mut machine.memory, offset, true, value);
    }
}

impl TableMemory for MemoryPort {
    fn base(&self) -> PhysAddr {
        PhysAddr(self.0.borrow().memory.base())
    }

    fn bytes(&self) -> u64 {
        self.0.borrow().memory.bytes()
    }

    fn read(&self, at: PhysAddr) -> u64 {
        // Time passes for a unit that is slow.
        let machine = &mut *self.0.borrow_mut();
        machine.unit.run_slowly(&mut machine.memory);
        machine.memory.load(at.0)
    }

    fn write(&mut self, at: PhysAddr, value: u64) {
        let machine = &mut *self.0.borrow_mut();
        machine.unit.check_descriptor_store(at.0);
        let old = machine.memory.store(at.0, value);
        machine.unit.stored(&machine.memory, at.0, old);
    }

    fn publish(&mut self) {
        meanwhile(&self.0);
        let machine = &mut *self.0.borrow_mut();
        machine.unit.maintain(&mut machine.memory, Buffered::Publish);
    }

    fn clean(&mut self, at: PhysAddr, bytes: u64) {
        meanwhile(&self.0);
        let machine = &mut *self.0.borrow_mut();
        machine.unit.maintain(&mut machine.memory, Buffered::Clean { at: at.0, bytes });
    }

    fn invalidate(&mut self, at: PhysAddr, bytes: u64) {
        self.0.borrow_mut().memory.invalidate(at.0, bytes);
    }
}
