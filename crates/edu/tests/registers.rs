//! The device's registers as its documentation gives them, and its limits.

use edu::{BUFFER_BYTES, Direction, Edu, FINISHED, Registers, TransferError, bus_address};

/// Keeps what is written, and answers from a list.
#[derive(Default)]
struct Played {
    written: Vec<(u32, u64)>,
    command: u64,
    status: u32,
}

impl Registers for &mut Played {
    fn read32(&mut self, register: u32) -> u32 {
        match register {
            0x00 => 0x0100_00ed,
            0x04 => !0xabcd,
            0x24 => self.status,
            _ => panic!("{register:#x}"),
        }
    }

    fn write32(&mut self, register: u32, value: u32) {
        self.written.push((register, value.into()));
    }

    fn read64(&mut self, register: u32) -> u64 {
        assert_eq!(register, 0x98);
        self.command
    }

    fn write64(&mut self, register: u32, value: u64) {
        self.written.push((register, value));
    }
}

#[test]
fn a_transfer_is_source_destination_count_command() {
    let mut played = Played::default();
    assert_eq!(Edu::new(&mut played).start(Direction::In, 0xabc_d000, BUFFER_BYTES), Ok(()));
    assert_eq!(played.written, [(0x80, 0xabc_d000), (0x88, 0x4_0000), (0x90, 4096), (0x98, 5)]);
    played.written.clear();
    assert_eq!(Edu::new(&mut played).start(Direction::Out, 0xabc_d000, 0), Ok(()));
    assert_eq!(played.written, [(0x80, 0x4_0000), (0x88, 0xabc_d000), (0x90, 0), (0x98, 7)]);
}

#[test]
fn what_would_damage_or_be_ignored_is_not_started() {
    let mut played = Played::default();
    assert_eq!(Edu::new(&mut played).start(Direction::In, 0, 4097), Err(TransferError::TooLong));
    played.command = 1;
    assert_eq!(Edu::new(&mut played).start(Direction::In, 0, 4096), Err(TransferError::Busy));
    assert_eq!(played.written, []);
}

#[test]
fn an_interrupt_is_acknowledged_with_its_own_status() {
    let mut played = Played { status: FINISHED | 2, ..Played::default() };
    assert_eq!(Edu::new(&mut played).take_interrupt(), 0x102);
    Edu::new(&mut played).raise_interrupt(8);
    assert_eq!(played.written, [(0x64, 0x102), (0x60, 8)]);
}

#[test]
fn the_device_says_who_it_is() {
    let mut played = Played::default();
    assert_eq!(Edu::new(&mut played).identity(), 0x0100_00ed);
    assert_eq!(Edu::new(&mut played).liveness(0xabcd), !0xabcd);
    assert!(!Edu::new(&mut played).is_busy());
}

#[test]
fn addresses_lose_the_bits_above_the_mask() {
    assert_eq!(bus_address(0x4abc_d000), 0x0abc_d000);
    assert_eq!(bus_address(0x0fff_ffff), 0x0fff_ffff);
}
