//! The rings' readers over memory that says something else at every load.
//!
//! Byte 0 chooses the reader; then come the words that are loaded, in an order of the input's.

use std::{
    cell::{Cell, RefCell},
    fmt::Write,
};

use iommu_client::{Event, FaultRing, RingMemory};
use iommu_protocol::ring;
use serial::{
    LINE_BYTES, LINES_PER_STEP, Line, Printer, Reader, Uart, Writer,
    ring::{BEGUN, BYTES, CAPACITY, Load, Store, WRITTEN},
};

use crate::input::Input;

/// Loads of a poll of the fault ring: its head, a record, its number twice more.
const FAULT_LOADS: u64 = 3 + 8 + 2;

/// Loads of a poll of a print ring beside its text: counters and the name.
const PRINT_LOADS: u64 = 32;

/// The body.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.byte() % 4 {
        0 => faults(input),
        1 => reader(input),
        2 => printer(input),
        _ => writer(input),
    }
}

/// A page whose words the input decides, each time anew or once in a while.
struct Hostile<'a> {
    input: RefCell<Input<'a>>,
    words: RefCell<Vec<u64>>,
    loads: Cell<u64>,
}

impl<'a> Hostile<'a> {
    fn new(input: Input<'a>, bytes: usize) -> Self {
        Self { input: RefCell::new(input), words: RefCell::new(vec![0; bytes / 8]), loads: Cell::new(0) }
    }

    fn get(&self, index: usize) -> u64 {
        self.loads.set(self.loads.get() + 1);
        let (mut input, mut words) = (self.input.borrow_mut(), self.words.borrow_mut());
        match input.byte() {
            0..0x80 => {}
            0x80..0xa0 => words[index] = words[index].wrapping_add(input.byte().into()),
            0xa0..0xc0 => words[index] = ring::MAGIC,
            0xc0..0xe0 => words[index] = input.number(),
            0xe0..0xf0 => {
                let at = usize::from(input.byte()) % words.len();
                words[at] = input.number();
            }
            _ => words[index] = u64::from_le_bytes(input.array()),
        }
        words[index]
    }

    fn taken(&self) -> u64 {
        self.loads.replace(0)
    }

    fn is_empty(&self) -> bool {
        self.input.borrow().is_empty()
    }
}

impl RingMemory for &Hostile<'_> {
    fn load(&self, index: usize) -> u64 {
        self.get(index)
    }
}

impl Load for &Hostile<'_> {
    fn load(&self, index: usize) -> u64 {
        self.get(index)
    }
}

fn faults(input: Input<'_>) {
    let page = Hostile::new(input, ring::BYTES);
    page.words.borrow_mut()[0] = ring::MAGIC;
    let mut ring = FaultRing::new(&page);
    while !page.is_empty() {
        page.taken();
        if let Some(Event::Fault(record)) = ring.poll() {
            assert_ne!(record.sequence, 0, "a record that is being written");
            _ = (record.device(), record.reason(), record.access(), record.iova());
        }
        assert!(page.taken() <= FAULT_LOADS);
        ring.stopped();
    }
}

fn check_line(line: &Line) {
    let text = line.strip_suffix('\n').expect("a line ends");
    assert!(line.len() <= LINE_BYTES && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
}

fn reader(input: Input<'_>) {
    let page = Hostile::new(input, BYTES);
    let (mut reader, mut line) = (Reader::new(&page), Line::new());
    while !page.is_empty() {
        page.taken();
        if reader.poll(&mut line) {
            check_line(&line);
        }
        assert!(page.taken() <= CAPACITY + LINE_BYTES as u64 + PRINT_LOADS);
    }
    // A writer that has stopped is soon read to its end.
    let lines = (0..=2 * CAPACITY).find(|_| !reader.poll(&mut line));
    assert!(lines.is_some(), "the same text is read for ever");
}

/// A UART that has room for some bytes and keeps the last line.
struct Wire(u32, Vec<u8>);

impl Uart for Wire {
    fn put(&mut self, byte: u8) -> bool {
        let room = self.0 > 0;
        if room {
            self.0 -= 1;
            self.1.push(byte);
        }
        room
    }
}

fn printer(mut input: Input<'_>) {
    let first = input.u16();
    let first = Hostile::new(Input::new(input.split(first.into())), BYTES);
    let second = Hostile::new(input, BYTES);
    let mut printer = Printer::<_, 2>::new(heapless::Vec::from_iter([&first, &second]));
    let mut wire = Wire(0, vec![]);
    while !first.is_empty() || !second.is_empty() {
        wire.0 = 300;
        printer.step(&mut wire);
        let most = (LINES_PER_STEP as u64 + 1) * 3 * (CAPACITY + LINE_BYTES as u64 + PRINT_LOADS);
        assert!(first.taken() + second.taken() <= most);
        let printed = std::mem::take(&mut wire.1);
        assert!(printed.iter().all(|&byte| byte == b'\n' || byte == b' ' || byte.is_ascii_graphic()));
    }
}

/// A ring between a writer and a reader of the same program.
struct Shared<'a>(&'a RefCell<Vec<u64>>);

impl Load for Shared<'_> {
    fn load(&self, index: usize) -> u64 {
        self.0.borrow()[index]
    }
}

impl Store for Shared<'_> {
    fn store(&mut self, index: usize, value: u64) {
        self.0.borrow_mut()[index] = value;
    }
}

/// A writer in a ring that an earlier one left in any state: the reader gets what it writes, from some line on.
fn writer(mut input: Input<'_>) {
    let words = RefCell::new(vec![0_u64; BYTES / 8]);
    {
        let mut words = words.borrow_mut();
        (words[BEGUN], words[WRITTEN]) = (input.number(), input.number());
        for _ in 0..input.byte() & 0xf {
            let at = usize::from(input.u16()) % (BYTES / 8 - 2) + 2;
            words[at] = input.u64();
        }
    }
    let mut reader = Reader::new(Shared(&words));
    let mut writer = Writer::new(Some(Shared(&words)), "somebody", || ());
    let mut line = Line::new();
    while !input.is_empty() {
        let length = usize::from(input.byte());
        _ = writer.write_str(&String::from_utf8_lossy(input.split(length)));
        for _ in 0..input.byte() & 3 {
            if reader.poll(&mut line) {
                check_line(&line);
            }
        }
    }
    _ = writer.write_str("\n");
    for _ in 0..=2 * CAPACITY {
        if !reader.poll(&mut line) {
            break;
        }
        check_line(&line);
    }
    assert!(!reader.poll(&mut line), "the same text is read for ever");
    _ = writer.write_str("the last line\n");
    assert!(reader.poll(&mut line) && line == "the last line\n", "{line:?}");
}
