//! The fault ring's reader beside writers that keep the protocol, and beside ones that do not.

use std::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicU64, Ordering, fence},
    thread,
};

use iommu_client::{Event, FaultRing, RingMemory};
use iommu_protocol::ring::{BYTES, CAPACITY, MAGIC, Record};
use proptest::prelude::*;

const WORDS: usize = BYTES / 8;

/// The words after `sequence` of record `number`: each tells the number, so that a torn record shows.
fn field(number: u64, word: usize) -> u64 {
    number << 8 | word as u64
}

fn check_whole(record: &Record) -> u64 {
    let number = record.sequence - 1;
    let Record { sequence: _, iova, count, what, stream, time_ns, raw } = *record;
    for (word, value) in [iova, count, what, stream, time_ns, raw[0], raw[1]].into_iter().enumerate() {
        assert_eq!(value, field(number, word), "word {word} of record {number}");
    }
    number
}

/// The stores that append record `number`, in their order.
fn stores(number: u64) -> impl Iterator<Item = (usize, u64)> {
    let at = 8 + 8 * (number % CAPACITY) as usize;
    let fields = (0..7).map(move |word| (at + 1 + word, field(number, word)));
    [(at, 0)].into_iter().chain(fields).chain([(at, number + 1), (1, number + 1)])
}

/// A page whose writer takes some steps at every load of the reader.
struct Raced {
    words: RefCell<[u64; WORDS]>,
    pending: RefCell<Box<dyn Iterator<Item = (usize, u64)>>>,
    steps: RefCell<Box<dyn Iterator<Item = u8>>>,
}

impl Raced {
    fn new(records: u64, steps: Vec<u8>) -> Self {
        let mut words = [0; WORDS];
        words[0] = MAGIC;
        Self {
            words: RefCell::new(words),
            pending: RefCell::new(Box::new((0..records).flat_map(stores))),
            steps: RefCell::new(Box::new(steps.into_iter())),
        }
    }
}

impl RingMemory for &Raced {
    fn load(&self, index: usize) -> u64 {
        let steps = self.steps.borrow_mut().next().unwrap_or(u8::MAX);
        for (at, value) in self.pending.borrow_mut().by_ref().take(steps.into()) {
            self.words.borrow_mut()[at] = value;
        }
        self.words.borrow()[index]
    }
}

proptest! {
    /// Every record is yielded once, whole and in order, or counted as lost, wherever the writer cuts in.
    #[test]
    fn records_are_whole_or_lost(records in 0_u64..300, steps in prop::collection::vec(0_u8..20, 0..1000)) {
        let raced = Raced::new(records, steps);
        let mut ring = FaultRing::new(&raced);
        let (mut next, mut silent) = (0, 0);
        while silent < 500 {
            match ring.poll() {
                Some(Event::Fault(record)) => {
                    prop_assert_eq!(check_whole(&record), next);
                    next += 1;
                }
                Some(Event::Lost(count)) => next += count,
                Some(Event::LostByHardware(_)) => prop_assert!(false, "the hardware lost nothing"),
                None => silent += 1,
            }
        }
        prop_assert_eq!(next, records);
    }

    /// A page that says something else at every load neither stops the reader nor makes it load for ever.
    #[test]
    fn a_hostile_page_is_read_in_bounded_steps(words in prop::collection::vec(hostile_word(), 1..400)) {
        struct Hostile(Vec<u64>, Cell<usize>);
        impl RingMemory for &Hostile {
            fn load(&self, index: usize) -> u64 {
                assert!(index < WORDS);
                self.1.set(self.1.get() + 1);
                self.0[self.1.get() % self.0.len()]
            }
        }
        let page = Hostile(words, Cell::new(0));
        let mut ring = FaultRing::new(&page);
        for _ in 0..200 {
            page.1.set(page.1.get() % 1009);
            let before = page.1.get();
            ring.poll();
            prop_assert!(page.1.get() - before <= 2 + 8 + 2);
        }
    }
}

fn hostile_word() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(MAGIC), 2 => 0_u64..200, 1 => u64::MAX - 100..=u64::MAX, 1 => any::<u64>()]
}

/// A page that stays as it is between polls.
struct Still(RefCell<[u64; WORDS]>);

impl Still {
    fn new() -> Self {
        let mut words = [0; WORDS];
        words[0] = MAGIC;
        Self(RefCell::new(words))
    }

    fn append(&self, numbers: std::ops::Range<u64>) {
        for (at, value) in numbers.flat_map(stores) {
            self.0.borrow_mut()[at] = value;
        }
    }
}

impl RingMemory for &Still {
    fn load(&self, index: usize) -> u64 {
        self.0.borrow()[index]
    }
}

fn number(event: Option<Event>) -> Option<u64> {
    match event {
        Some(Event::Fault(record)) => Some(check_whole(&record)),
        _ => None,
    }
}

#[test]
fn nothing_is_read_before_the_server_is_up() {
    let page = Still::new();
    page.append(0..1);
    page.0.borrow_mut()[0] = 0;
    let mut ring = FaultRing::new(&page);
    assert_eq!(ring.poll(), None);
    page.0.borrow_mut()[0] = MAGIC;
    assert_eq!(number(ring.poll()), Some(0));
}

#[test]
fn a_full_ring_loses_nothing_and_one_more_loses_the_oldest() {
    let page = Still::new();
    page.append(0..CAPACITY);
    let mut ring = FaultRing::new(&page);
    assert_eq!(number(ring.poll()), Some(0));
    page.append(CAPACITY..CAPACITY + 3);
    assert_eq!(ring.poll(), Some(Event::Lost(2)));
    for expected in 3..CAPACITY + 3 {
        assert_eq!(number(ring.poll()), Some(expected));
    }
    assert_eq!(ring.poll(), None);
}

#[test]
fn a_record_without_its_number_is_lost() {
    let page = Still::new();
    page.append(0..2);
    page.0.borrow_mut()[8] = 0;
    let mut ring = FaultRing::new(&page);
    assert_eq!(ring.poll(), Some(Event::Lost(1)));
    assert_eq!(number(ring.poll()), Some(1));
}

#[test]
fn what_the_hardware_lost_is_told_once() {
    let page = Still::new();
    let mut ring = FaultRing::new(&page);
    page.append(0..1);
    page.0.borrow_mut()[2] = 5;
    assert_eq!(number(ring.poll()), Some(0), "records first");
    assert_eq!(ring.poll(), Some(Event::LostByHardware(5)));
    assert_eq!(ring.poll(), None);
    page.0.borrow_mut()[2] = 7;
    assert_eq!(ring.poll(), Some(Event::LostByHardware(2)));
}

#[test]
fn a_server_that_starts_anew_is_followed() {
    let page = Still::new();
    page.append(0..5);
    page.0.borrow_mut()[2] = 9;
    let mut ring = FaultRing::new(&page);
    while ring.poll().is_some() {}
    *page.0.borrow_mut() = *Still::new().0.borrow();
    page.append(0..2);
    page.0.borrow_mut()[2] = 3;
    assert_eq!(number(ring.poll()), Some(0));
    assert_eq!(number(ring.poll()), Some(1));
    assert_eq!(ring.poll(), Some(Event::LostByHardware(3)));
}

#[test]
fn a_writer_on_another_core_is_followed() {
    const RECORDS: u64 = 200_000;
    struct Shared<'a>(&'a [AtomicU64; WORDS]);
    impl RingMemory for Shared<'_> {
        fn load(&self, index: usize) -> u64 {
            self.0[index].load(Ordering::Acquire)
        }
    }
    let page = [const { AtomicU64::new(0) }; WORDS];
    page[0].store(MAGIC, Ordering::Release);
    thread::scope(|scope| {
        scope.spawn(|| {
            for (at, value) in (0..RECORDS).flat_map(stores) {
                page[at].store(value, Ordering::Release);
                fence(Ordering::Release);
            }
        });
        let mut ring = FaultRing::new(Shared(&page));
        let (mut next, mut whole) = (0, 0);
        while next < RECORDS {
            match ring.poll() {
                Some(Event::Fault(record)) => {
                    assert_eq!(check_whole(&record), next);
                    (next, whole) = (next + 1, whole + 1);
                }
                Some(Event::Lost(count)) => next += count,
                Some(Event::LostByHardware(count)) => panic!("the hardware lost {count}"),
                None => thread::yield_now(),
            }
        }
        assert_eq!(next, RECORDS);
        assert!(whole > 0, "not one record was read whole");
    });
}

#[test]
fn the_header_says_which_devices_are_stopped() {
    let page = Raced::new(0, vec![]);
    page.words.borrow_mut()[3] = 0b101;
    let ring = FaultRing::new(&page);
    assert_eq!(ring.stopped(), 0b101);
    page.words.borrow_mut()[0] = 0;
    assert_eq!(ring.stopped(), 0, "no server yet");
}
