//! The 16550 driver on ports that are played.

use std::{cell::RefCell, rc::Rc};

use serial::{MAX_DRAIN_READS, Ns16550, Ports, Uart};

const LINE_CONTROL_DLAB: u8 = 0x80;
const THR_EMPTY: u8 = 0x20;
const TRANSMITTER_EMPTY: u8 = 0x40;

/// A UART: what it has sent, its FIFO, its registers.
struct Chip {
    line_status: u8,
    interrupts: u8,
    line_control: u8,
    modem_control: u8,
    scratch: u8,
    divisor: [u8; 2],
    fifo: Vec<u8>,
    status_reads: u32,
    interrupt_writes: u32,
    interrupt_reads: u32,
}

impl Chip {
    fn new() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            line_status: THR_EMPTY | TRANSMITTER_EMPTY,
            interrupts: 0xf,
            line_control: 0,
            modem_control: 0,
            scratch: 0,
            divisor: [0; 2],
            fifo: vec![],
            status_reads: 0,
            interrupt_writes: 0,
            interrupt_reads: 0,
        }))
    }
}

#[derive(Clone)]
struct Port(Rc<RefCell<Chip>>);

impl Ports for Port {
    fn read(&mut self, offset: u8) -> u8 {
        let mut chip = self.0.borrow_mut();
        match offset {
            1 => chip.interrupts,
            2 => {
                chip.interrupt_reads += 1;
                0xc2
            }
            3 => chip.line_control,
            4 => chip.modem_control,
            5 => {
                chip.status_reads += 1;
                chip.line_status
            }
            7 => chip.scratch,
            _ => 0,
        }
    }

    fn write(&mut self, offset: u8, value: u8) {
        let mut chip = self.0.borrow_mut();
        let latch = chip.line_control & LINE_CONTROL_DLAB != 0;
        match offset {
            0 | 1 if latch => chip.divisor[usize::from(offset)] = value,
            0 => {
                assert!(chip.fifo.len() < 16, "the FIFO has 16 bytes");
                chip.fifo.push(value);
                chip.line_status = 0;
            }
            1 => {
                chip.interrupt_writes += 1;
                chip.interrupts = value;
            }
            3 => chip.line_control = value,
            4 => chip.modem_control = value,
            7 => chip.scratch = value,
            _ => (),
        }
    }
}

#[test]
fn the_line_is_set_up_and_no_interrupt_is_on() {
    let chip = Chip::new();
    Ns16550::new(Port(chip.clone())).unwrap();
    let chip = chip.borrow();
    assert_eq!(chip.divisor, [1, 0], "115200 baud");
    assert_eq!((chip.line_control, chip.interrupts), (3, 0), "8 data bits, no parity, 1 stop bit");
    assert_eq!(chip.modem_control & 0b1000, 0b1000, "OUT2, without which a PC's line stays low");
}

#[test]
fn the_fifo_is_filled_once_it_is_known_to_be_empty() {
    let chip = Chip::new();
    let mut uart = Ns16550::new(Port(chip.clone())).unwrap();
    let before = chip.borrow().status_reads;
    let sent = (b'a'..=b'z').take_while(|&byte| uart.put(byte)).count();
    assert_eq!(sent, 16);
    assert_eq!(chip.borrow().status_reads - before, 2, "one for each sixteen");
    assert!(!uart.put(b'q'));
    let fifo = std::mem::take(&mut chip.borrow_mut().fifo);
    assert_eq!(fifo, b"abcdefghijklmnop");
    chip.borrow_mut().line_status = THR_EMPTY;
    assert!(uart.put(b'q'));
    assert_eq!(chip.borrow().fifo, b"q");
}

#[test]
fn the_interrupt_is_switched_where_that_changes_something_and_taken_back_by_reading_it() {
    let chip = Chip::new();
    let mut uart = Ns16550::new(Port(chip.clone())).unwrap();
    let before = chip.borrow().interrupt_writes;
    for wake in [false, true, true, false, false] {
        uart.wake_when_room(wake);
        assert_eq!(chip.borrow().interrupts, if wake { 2 } else { 0 });
    }
    assert_eq!(chip.borrow().interrupt_writes - before, 2);
    let before = chip.borrow().interrupt_reads;
    uart.acknowledge();
    assert_eq!(chip.borrow().interrupt_reads - before, 1);
}

#[test]
fn ports_that_are_nobodys_are_no_uart() {
    struct Nobody(u8);
    impl Ports for Nobody {
        fn read(&mut self, _: u8) -> u8 {
            self.0
        }
        fn write(&mut self, _: u8, _: u8) {}
    }
    for value in [0, 0xff] {
        assert!(Ns16550::new(Nobody(value)).is_err());
    }
}

#[test]
fn one_that_never_says_that_it_has_sent_what_it_was_left_with_is_not_waited_for_longer_than_the_bound() {
    let chip = Chip::new();
    chip.borrow_mut().line_status = 0;
    let mut uart = Ns16550::new(Port(chip.clone())).unwrap();
    assert!((MAX_DRAIN_READS..MAX_DRAIN_READS + 32).contains(&chip.borrow().status_reads));
    assert!(!uart.put(b'a'), "and it has no room");
}
