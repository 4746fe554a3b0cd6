//! The edu device, from its documentation and from what QEMU's was seen to do.

use ::edu::{BUFFER_BYTES, FINISHED, bus_address, register};
use device_driver::Signal;
use iommu_protocol::ring::{self, Record, access, reason};

use super::{PAGE, Page, World, Wrong};

const BUFFER: usize = BUFFER_BYTES as usize;
const BUFFER_AT: u64 = 0x4_0000;
/// Bytes of one access on the bus, where an access is stopped.
const ACCESS: u64 = 4;
/// Faults that the server takes in at a time, hence most of a record.
const DRAIN: u64 = 256;

#[derive(Debug)]
pub struct Device {
    pub status: u32,
    liveness: u32,
    source: u64,
    destination: u64,
    count: u64,
    command: u64,
    buffer: [u8; BUFFER],
}

impl Default for Device {
    fn default() -> Self {
        Self {
            status: 0,
            liveness: 0,
            source: 0,
            destination: 0,
            count: 0,
            command: 0,
            buffer: [0xee; BUFFER],
        }
    }
}

impl Device {
    pub fn read32(&mut self, register: u32) -> u32 {
        match register {
            register::IDENTIFICATION => 0x0100_00ed,
            register::LIVENESS => self.liveness,
            register::INTERRUPT_STATUS => self.status,
            _ => panic!("read of register {register:#x}"),
        }
    }

    pub fn write32(&mut self, register: u32, value: u32) {
        match register {
            register::LIVENESS => self.liveness = !value,
            register::INTERRUPT_RAISE => self.status |= value,
            register::INTERRUPT_ACKNOWLEDGE => self.status &= !value,
            _ => panic!("write of register {register:#x}"),
        }
    }

    pub fn read64(&mut self, register: u32) -> u64 {
        assert_eq!(register, register::COMMAND);
        self.command
    }

    pub fn write64(&mut self, register: u32, value: u64) {
        assert_eq!(self.command & 1, 0, "a write during a transfer is ignored");
        match register {
            register::SOURCE => self.source = value,
            register::DESTINATION => self.destination = value,
            register::COUNT => self.count = value,
            register::COMMAND => self.command = value,
            _ => panic!("write of register {register:#x}"),
        }
    }
}

impl World {
    /// Lets the time of a transfer pass, `first`'s if it has one; false if no device has one.
    pub fn finish_transfer(&mut self, first: usize) -> bool {
        let busy = |side: &usize| self.sides[*side].edu.command & 1 != 0;
        let Some(side) = [first, 1 - first].into_iter().find(busy) else { return false };
        let edu = &self.sides[side].edu;
        let out = edu.command & 2 != 0;
        let (inside, outside) =
            if out { (edu.source, edu.destination) } else { (edu.destination, edu.source) };
        assert!(inside >= BUFFER_AT && inside - BUFFER_AT + edu.count <= u64::from(BUFFER_BYTES));
        let (inside, count) = ((inside - BUFFER_AT) as usize, edu.count);
        if self.sides[side].bus_master {
            let wide = self.wrong == Wrong::WideMask;
            let address = if wide { outside } else { bus_address(outside) };
            self.transfer(side, out, inside, address, count);
        } else if !out {
            self.sides[side].edu.buffer[inside..][..count as usize].fill(0);
        }
        let edu = &mut self.sides[side].edu;
        edu.command &= !1;
        assert_ne!(edu.command & 4, 0, "nobody waits for a transfer without an interrupt");
        edu.status |= FINISHED;
        self.sides[side].interrupt();
        true
    }

    fn transfer(&mut self, side: usize, out: bool, inside: usize, iova: u64, count: u64) {
        let mut faults: Vec<(u64, u16)> = Vec::new();
        let pieces: Vec<_> = (0..count).step_by(ACCESS as usize).collect();
        let checked: Vec<_> = pieces.iter().map(|done| self.translate(side, iova + done, out)).collect();
        let all = checked.iter().all(Result::is_ok);
        for (done, translated) in pieces.into_iter().zip(checked) {
            let at = inside + done as usize;
            match translated {
                Ok(_) if out && (self.wrong == Wrong::WritesForgotten) => (),
                Ok(_) if out && !all && self.wrong == Wrong::AllOrNothing => (),
                Ok((owner, page)) => self.access(owner, page, (iova + done) % PAGE, side, at, out),
                Err(reason) => {
                    faults.push((iova + done, reason));
                    if !out && self.wrong != Wrong::ReadsLeak {
                        self.sides[side].edu.buffer[at..at + ACCESS as usize].fill(0);
                    }
                }
            }
        }
        self.tell(side, out, &faults);
    }

    /// Whose page `side`'s device reaches at `iova`.
    fn translate(&mut self, side: usize, iova: u64, out: bool) -> Result<(usize, Page), u16> {
        let wrong = self.wrong;
        let number = iova / PAGE;
        let lookup = |world: &Self, side: usize| {
            let this = &world.sides[side];
            let space = this.attached.and_then(|id| this.spaces.get(&id));
            space.and_then(|space| space.pages.get(&number)).copied()
        };
        let mut found = lookup(self, side).map(|page| (side, page));
        if wrong == Wrong::SharedMappings {
            found = found.or_else(|| lookup(self, 1 - side).map(|page| (1 - side, page)));
        }
        let cached = &mut self.sides[side].cached;
        if wrong == Wrong::StaleTranslations && self.sides[side].attached.is_some() {
            found = found.or_else(|| cached.get(&number).map(|page| (side, *page)));
            if let Some((_, page)) = found {
                cached.insert(number, page);
            }
        }
        match found {
            Some((_, page)) if if out { page.write } else { page.read } => Ok(found.unwrap()),
            Some((owner, page)) if wrong == Wrong::ReadOnlyWritten => Ok((owner, page)),
            _ if wrong == Wrong::NothingStopped => {
                Ok((side, Page { slot: 0, offset: 8 * PAGE, read: true, write: true }))
            }
            Some(_) => Err(reason::PERMISSION),
            None => Err(reason::NOT_MAPPED),
        }
    }

    fn access(&mut self, owner: usize, page: Page, offset: u64, side: usize, inside: usize, out: bool) {
        let (region, bytes) = self.sides[owner].regions[page.slot];
        let at = page.offset + offset;
        assert!(at + ACCESS <= bytes);
        let buffer = &mut self.sides[side].edu.buffer;
        // SAFETY: inside the region, as asserted.
        let memory = unsafe { region.add(at as usize) };
        for byte in 0..ACCESS as usize {
            // SAFETY: as above; the driver that owns the memory is not running and has no references to it.
            let memory = unsafe { memory.add(byte) };
            if out {
                // SAFETY: as above.
                unsafe { memory.write_volatile(buffer[inside + byte]) };
            } else {
                // SAFETY: as above.
                buffer[inside + byte] = unsafe { memory.read_volatile() };
            }
        }
    }

    /// Has the server write `faults` into the ring.
    fn tell(&mut self, side: usize, out: bool, faults: &[(u64, u16)]) {
        if !faults.is_empty() {
            let attacks = &mut self.sides[side].attacks;
            *attacks += 1;
            if self.wrong == Wrong::DropsAll || self.wrong == Wrong::DropsSome && *attacks % 2 == 1 {
                for side in &mut self.sides {
                    side.ring[2] += 1;
                    side.signal(Signal::Server);
                }
                return;
            }
        }
        for alike in faults.chunk_by(|a, b| (a.0 / PAGE, a.1) == (b.0 / PAGE, b.1)) {
            for drained in alike.chunks(DRAIN as usize) {
                self.push(side, out, drained[0], drained.len() as u64);
            }
        }
    }

    fn push(&mut self, side: usize, out: bool, (iova, why): (u64, u16), count: u64) {
        let write = out != (self.wrong == Wrong::OtherAccess);
        let iova = if self.wrong == Wrong::OtherIova { iova ^ PAGE } else { iova };
        let why = if self.wrong == Wrong::OtherReason { reason::ADDRESS_SIZE } else { why };
        let access = if write { access::WRITE } else { access::READ };
        let what = Record::pack(0, why, access, true);
        let owners = match self.wrong {
            Wrong::NoRecord => vec![],
            Wrong::RecordsToBoth => vec![0, 1],
            _ => vec![side],
        };
        for owner in owners {
            let side = &mut self.sides[owner];
            let written = side.ring[1];
            let at = 8 + 8 * (written % ring::CAPACITY) as usize;
            let words = [written + 1, iova, count, what, 0x10 + 8 * owner as u64, 0, 0, 0];
            side.ring[at..at + 8].copy_from_slice(&words);
            side.ring[1] += 1;
            side.signal(Signal::Server);
        }
    }
}
