//! Writers, the printer, and writers that keep no rule.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    fmt::Write,
    rc::Rc,
};

use proptest::{collection::vec, prelude::*};
use serial::{
    LINE_BYTES, LINES_PER_STEP, LINES_PER_TURN, Line, Named, Printer, Reader, Uart, Writer,
    ring::{BEGUN, BYTES, CAPACITY, Load, NAME, Store, TEXT, WORD, WRITTEN},
};

/// Words and what is stored there.
type Stores = Vec<(usize, u64)>;

/// A ring that both ends see.
#[derive(Clone)]
struct Memory {
    words: Rc<RefCell<Vec<u64>>>,
    loads: Rc<Cell<usize>>,
    /// Stored once this many more words are loaded: what the writer does meanwhile.
    meanwhile: Rc<RefCell<Option<(usize, Stores)>>>,
}

impl Memory {
    fn new() -> Self {
        Self {
            words: Rc::new(RefCell::new(vec![0; BYTES / WORD])),
            loads: Rc::default(),
            meanwhile: Rc::default(),
        }
    }
}

impl Store for Memory {
    fn store(&mut self, index: usize, value: u64) {
        self.words.borrow_mut()[index] = value;
    }
}

impl Load for Memory {
    fn load(&self, index: usize) -> u64 {
        let mut meanwhile = self.meanwhile.borrow_mut();
        if let Some((after, stores)) = &mut *meanwhile {
            if *after == 0 {
                stores.iter().for_each(|&(index, value)| self.words.borrow_mut()[index] = value);
                *meanwhile = None;
            } else {
                *after -= 1;
            }
        }
        self.loads.set(self.loads.get() + 1);
        self.words.borrow()[index]
    }
}

/// A UART with room for some bytes.
struct Paper {
    text: String,
    room: usize,
}

impl Uart for Paper {
    fn put(&mut self, byte: u8) -> bool {
        let room = self.room > 0;
        if room {
            self.room -= 1;
            self.text.push(byte.into());
        }
        room
    }
}

thread_local! {
    static SIGNALS: Cell<usize> = const { Cell::new(0) };
}

fn signal() {
    SIGNALS.set(SIGNALS.get() + 1);
}

fn pair(name: &str) -> (Writer<Memory>, Reader<Memory>) {
    let memory = Memory::new();
    (Writer::new(Some(memory.clone()), name, signal), Reader::new(memory))
}

fn lines(reader: &mut Reader<Memory>) -> Vec<String> {
    let mut line = Line::new();
    std::iter::from_fn(|| reader.poll(&mut line).then(|| line.to_string())).collect()
}

fn print(printer: &mut Printer<Memory, 4>) -> String {
    let mut paper = Paper { text: String::new(), room: usize::MAX };
    while printer.step(&mut paper) {}
    paper.text
}

#[test]
fn a_restarted_writer_goes_on_behind_its_last_line() {
    let memory = Memory::new();
    let mut reader = Reader::new(memory.clone());
    let mut expected = vec![];
    for life in 0..100 {
        let mut writer = Writer::new(Some(memory.clone()), "a", signal);
        let line = format!("life {life}{}\n", "x".repeat(life));
        write!(writer, "{line}torn").unwrap();
        expected.extend([line, "torn\n".into()]);
        // Nobody reads for some lives: that is how a writer dies in the middle of its work.
        if life % 7 == 0 {
            let found = lines(&mut reader);
            assert_eq!(found, expected[expected.len() - 1 - found.len()..expected.len() - 1]);
        }
    }
    drop(Writer::new(Some(memory.clone()), "a", signal));
    assert_eq!(lines(&mut reader).last().map(|line| &**line), Some("torn\n"));
}

#[test]
fn whatever_an_earlier_writer_left_a_new_one_is_read() {
    for left in [1, 7, 8, CAPACITY - 1, CAPACITY, u64::MAX - 3, u64::MAX] {
        let mut memory = Memory::new();
        memory.store(WRITTEN, left);
        memory.store(BEGUN, left);
        let mut writer = Writer::new(Some(memory.clone()), "a", signal);
        let mut reader = Reader::new(memory);
        lines(&mut reader);
        writeln!(writer, "here I am").unwrap();
        writeln!(writer, "and again").unwrap();
        let found = lines(&mut reader);
        assert_eq!(found.last().map(|line| &**line), Some("and again\n"), "{left}: {found:?}");
    }
}

#[test]
fn lines_come_whole_and_in_order() {
    let (mut writer, mut reader) = pair("a");
    write!(writer, "one").unwrap();
    assert!(lines(&mut reader).is_empty());
    assert_eq!(SIGNALS.get(), 0);
    write!(writer, ", {}\ntwo\nth", 2).unwrap();
    assert_eq!(SIGNALS.get(), 1);
    assert_eq!(lines(&mut reader), ["one, 2\n", "two\n"]);
    writeln!(writer, "ree").unwrap();
    assert_eq!(lines(&mut reader), ["three\n"]);
}

#[test]
fn a_writer_without_ring_is_mute() {
    let mut writer = Writer::<Memory>::new(None, "a", signal);
    writeln!(writer, "nobody hears").unwrap();
    assert_eq!(SIGNALS.get(), 0);
}

#[test]
fn a_full_ring_loses_nothing_and_one_byte_more_loses_the_oldest_lines() {
    let (mut writer, mut reader) = pair("greedy");
    let count = CAPACITY / 8;
    (0..count).for_each(|number| writeln!(writer, "{number:07}").unwrap());
    let all = lines(&mut reader);
    assert_eq!(all.len() as u64, count);
    assert_eq!((&*all[0], &*all[all.len() - 1]), ("0000000\n", &*format!("{:07}\n", count - 1)));
    (0..count).for_each(|number| writeln!(writer, "{number:07}").unwrap());
    writeln!(writer).unwrap();
    // Where the second line begins is overwritten with the first.
    let all = lines(&mut reader);
    assert_eq!(&all[..2], ["serial: 16 bytes of greedy lost\n", "0000002\n"]);
    assert_eq!(all[all.len() - 1], "\n");
}

#[test]
fn the_rest_of_a_torn_line_is_lost_with_it() {
    let (mut writer, mut reader) = pair("a");
    writeln!(writer, "{}", "x".repeat(20)).unwrap();
    writeln!(writer, "second").unwrap();
    let rest = CAPACITY as usize - 28;
    writeln!(writer, "{}", "y".repeat(rest)).unwrap();
    let all = lines(&mut reader);
    assert_eq!(&all[..2], ["serial: 21 bytes of a lost\n", "second\n"]);
    assert_eq!(all[2..].iter().map(|line| line.len() - 1).sum::<usize>(), rest);
}

#[test]
fn a_text_larger_than_the_ring() {
    let (mut writer, mut reader) = pair("a");
    writeln!(writer, "{}", "x".repeat(3 * CAPACITY as usize)).unwrap();
    writeln!(writer, "after").unwrap();
    let lost = format!("serial: {} bytes of a lost\n", 3 * CAPACITY + 1);
    assert_eq!(lines(&mut reader), [&*lost, "after\n"]);
}

#[test]
fn long_lines_come_in_pieces() {
    let (mut writer, mut reader) = pair("a");
    writeln!(writer, "{}", "x".repeat(LINE_BYTES - 1)).unwrap();
    writeln!(writer, "{}", "y".repeat(LINE_BYTES)).unwrap();
    let lengths: Vec<usize> = lines(&mut reader).iter().map(String::len).collect();
    assert_eq!(lengths, [LINE_BYTES, LINE_BYTES, 2]);
}

#[test]
fn a_writer_does_not_steer_the_terminal() {
    let (mut writer, mut reader) = pair("\u{1b}[2Jé");
    writeln!(writer, "a\u{1b}[2J\rb\té\0").unwrap();
    assert_eq!(lines(&mut reader), ["a?[2J?b????\n"]);
    writeln!(writer, "{}", "x".repeat(CAPACITY as usize)).unwrap();
    assert_eq!(lines(&mut reader), [format!("serial: {} bytes of ?[2J?? lost\n", CAPACITY + 1)]);
}

#[test]
fn names_are_cut() {
    let (mut writer, mut reader) = pair(&"n".repeat(60));
    writeln!(writer, "{}", "x".repeat(CAPACITY as usize)).unwrap();
    let name = "n".repeat((TEXT - NAME) * WORD);
    assert_eq!(lines(&mut reader), [format!("serial: {} bytes of {name} lost\n", CAPACITY + 1)]);
}

#[test]
fn what_is_overwritten_while_it_is_read_is_not_printed() {
    for after in 0..10 {
        let memory = Memory::new();
        let mut writer = Writer::new(Some(memory.clone()), "a", signal);
        let mut reader = Reader::new(memory.clone());
        writeln!(writer, "honest").unwrap();
        let torn = u64::from_le_bytes(*b"torntorn");
        *memory.meanwhile.borrow_mut() = Some((after, vec![(BEGUN, CAPACITY + 8), (TEXT, torn)]));
        let mut line = Line::new();
        if reader.poll(&mut line) {
            assert_eq!(line, "honest\n", "after {after} loads");
        }
        writeln!(writer, "{}", "x".repeat(CAPACITY as usize - 1)).unwrap();
        assert!(lines(&mut reader).iter().all(|line| !line.contains("torn")));
    }
}

#[test]
fn a_turn_ends() {
    let rings = [Memory::new(), Memory::new()];
    let mut printer = Printer::<_, 4>::new(rings.iter().cloned().collect());
    for (text, ring) in ["a\n", "b\n"].iter().zip(&rings) {
        let mut writer = Writer::new(Some(ring.clone()), "", signal);
        write!(writer, "{}", text.repeat(LINES_PER_TURN + 2)).unwrap();
    }
    let [a, b] = ["a\n", "b\n"].map(|text| text.repeat(LINES_PER_TURN));
    assert_eq!(print(&mut printer), format!("{a}{b}a\na\nb\nb\n"));
}

#[test]
fn lines_of_several_writers_do_not_mix() {
    let rings = [Memory::new(), Memory::new(), Memory::new()];
    let mut printer = Printer::<_, 4>::new(rings.iter().cloned().collect());
    for (name, ring) in ["a", "b", "c"].iter().zip(&rings) {
        let mut writer = Writer::new(Some(ring.clone()), name, signal);
        let mut log = Named::new(&mut writer, name);
        write!(log, "one\ntw").unwrap();
        if *name != "b" {
            writeln!(log, "o").unwrap();
        }
    }
    assert_eq!(print(&mut printer), "a: one\na: two\nb: one\nc: one\nc: two\n");
}

#[test]
fn a_slow_uart_gets_every_byte_once() {
    let ring = Memory::new();
    let mut writer = Writer::new(Some(ring.clone()), "a", signal);
    let mut printer = Printer::<_, 4>::new([ring].into_iter().collect());
    let mut paper = Paper { text: String::new(), room: 0 };
    writeln!(writer, "one\ntwo").unwrap();
    assert!(printer.step(&mut paper));
    while paper.text.len() < 7 {
        paper.room = 1;
        assert!(printer.step(&mut paper));
    }
    paper.room = 9;
    assert!(!printer.step(&mut paper));
    assert!(!printer.step(&mut paper));
    assert_eq!(paper.text, "one\ntwo\n");
}

#[test]
fn a_step_ends() {
    let ring = Memory::new();
    let mut writer = Writer::new(Some(ring.clone()), "a", signal);
    let mut printer = Printer::<_, 4>::new([ring].into_iter().collect());
    writeln!(writer, "{}", "\n".repeat(2 * LINES_PER_STEP - 1)).unwrap();
    let mut paper = Paper { text: String::new(), room: usize::MAX };
    assert!(printer.step(&mut paper));
    assert_eq!(paper.text.len(), LINES_PER_STEP);
    assert!(printer.step(&mut paper));
    assert!(!printer.step(&mut paper));
    assert_eq!(paper.text.len(), 2 * LINES_PER_STEP);
}

#[test]
fn a_printer_of_nobody() {
    assert_eq!(print(&mut Printer::<Memory, 4>::new([].into_iter().collect())), "");
}

/// What a writer does to its ring: words that matter, and any others.
fn hostile() -> impl Strategy<Value = Stores> {
    let counts = prop_oneof![0..3 * CAPACITY, (u64::MAX - 2 * CAPACITY)..=u64::MAX, any::<u64>()];
    let text = prop_oneof![any::<u64>(), Just(u64::from_le_bytes([b'\n'; WORD]))];
    let store = prop_oneof![(Just(BEGUN), counts.clone()), (Just(WRITTEN), counts), (0..BYTES / WORD, text),];
    vec(store, 0..40)
}

proptest! {
    #[test]
    fn an_honest_writer_beside_a_hostile_one(
        rounds in vec((hostile(), 0_usize..200, hostile(), 0_usize..4), 1..8),
    ) {
        let (honest, other) = (Memory::new(), Memory::new());
        let mut writer = Writer::new(Some(honest.clone()), "honest", signal);
        let mut printer = Printer::<_, 4>::new([other.clone(), honest].into_iter().collect());
        let mut wanted = vec![];
        let mut text = String::new();
        for (stores, after, meanwhile, count) in rounds {
            stores.into_iter().for_each(|(index, value)| other.clone().store(index, value));
            *other.meanwhile.borrow_mut() = Some((after, meanwhile));
            for _ in 0..count {
                let line = format!("honest {}", wanted.len());
                writeln!(writer, "{line}").unwrap();
                wanted.push(line);
            }
            other.loads.set(0);
            let mut paper = Paper { text: String::new(), room: usize::MAX };
            // At the most, all of a ring is printed as empty lines, twice if it changed meanwhile.
            let most = 2 * (CAPACITY as usize + 2) / LINES_PER_STEP + 2;
            prop_assert!((0..most).any(|_| !printer.step(&mut paper)), "a writer that does nothing is heard");
            text += &paper.text;
        }
        let seen: Vec<&str> = text.lines().filter(|line| line.starts_with("honest ")).collect();
        prop_assert_eq!(seen, wanted);
        prop_assert!(text.lines().all(|line| line.len() < LINE_BYTES));
        prop_assert!(text.bytes().all(|byte| byte == b'\n' || byte == b' ' || byte.is_ascii_graphic()));
    }

    #[test]
    fn one_poll_loads_boundedly(stores in hostile(), polls in 1_usize..4) {
        let mut memory = Memory::new();
        stores.into_iter().for_each(|(index, value)| memory.store(index, value));
        let mut reader = Reader::new(memory.clone());
        for _ in 0..polls {
            memory.loads.set(0);
            reader.poll(&mut Line::new());
            prop_assert!(memory.loads.get() <= CAPACITY as usize + LINE_BYTES + 16);
        }
    }

    #[test]
    fn what_is_printed_and_what_is_lost_is_what_was_written(
        chunks in vec(vec(0_usize..240, 1..150), 1..6),
    ) {
        let (mut writer, mut reader) = pair("a");
        let mut text = String::new();
        let mut number = 0;
        let (mut printed, mut lost) = (vec![], 0);
        for chunk in chunks {
            for length in chunk {
                let line = format!("{number} {}", "x".repeat(length));
                writeln!(writer, "{line}").unwrap();
                text += &line;
                text.push('\n');
                number += 1;
            }
            for line in lines(&mut reader) {
                match line.strip_prefix("serial: ").and_then(|rest| rest.strip_suffix(" bytes of a lost\n")) {
                    Some(count) => lost += count.parse::<usize>().unwrap(),
                    None => printed.push(line),
                }
            }
        }
        let bytes: usize = printed.iter().map(String::len).sum();
        prop_assert_eq!(bytes + lost, text.len());
        let written: HashSet<&str> = text.split_inclusive('\n').collect();
        prop_assert!(printed.iter().all(|line| written.contains(&**line)));
    }
}
