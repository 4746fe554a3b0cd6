//! Children: their faults go to the parent, which stops and restarts them.

use super::*;
use crate::fault::FAULT_BADGE;

const OK: u64 = 0;
const ILLEGAL_OPERATION: u64 = 3;
const TRUNCATED_MESSAGE: u64 = 7;

const WRITE_REGISTERS: u64 = 3;
const SUSPEND: u64 = 12;
const RESUME: u64 = 13;

const PC: usize = 0;
const SP: usize = 1;
const STATUS: usize = 2;

/// The parent, which others may not call, its child of id 5, and a passive server that both call.
const PARENT: usize = 0;
const CHILD: usize = 1;
const SERVER: usize = 2;
const CHILD_ID: u64 = 5;
const TCB: u64 = 202 + CHILD_ID;

fn family() -> Plan {
    let plan = Plan::default().pd(100).pd(50).passive(200).child(1, 0, CHILD_ID as u8);
    plan.channel(0, 1, 2, 1).channel(1, 1, 2, 2)
}

/// The family, its parent waiting and the server too; the child runs.
fn family_at_work() -> Bench {
    let mut bench = family().boot();
    bench.become_passive(SERVER);
    bench.recv(PARENT);
    bench
}

impl Bench {
    fn context_word(&self, pd: usize, word: usize) -> u64 {
        self.machine.register(pd, Register::Context(word))
    }

    fn set_context(&mut self, pd: usize, word: usize, value: u64) {
        self.machine.set_register(pd, Register::Context(word), value);
    }

    fn words(&self, pd: usize, count: usize) -> Vec<u64> {
        (0..count).map(|index| crate::fault::message_word(&self.machine, pd, index)).collect()
    }

    /// The PD that runs makes an exception.
    fn exception(&mut self, exception: Exception) {
        self.machine.exception = Some(exception);
        self.kernel.stop(&mut self.machine, Cause::Exception);
        self.check();
    }

    /// The parent invokes the thread of the child; seL4's error.
    fn invoke(&mut self, label: u64, words: &[u64]) -> u64 {
        for (index, &word) in words.iter().enumerate() {
            match index {
                0..4 => self.machine.registers[PARENT][2 + index] = word,
                _ => self.machine.set_buffer_word(PARENT, index, word),
            }
        }
        self.system_call(PARENT, CALL, TCB, info(label, words.len() as u64));
        let answer = self.info(PARENT);
        assert_eq!(answer & 0xfff, 0, "a thread's invocation answers without words");
        answer >> 12
    }
}

const MEMORY: Exception = Exception::Memory { address: 0xdead_0000, fetch: false, status: 0x9200_0046 };

#[test]
fn a_memory_fault_is_a_message_to_the_parent() {
    let mut bench = family_at_work();
    bench.set_context(CHILD, PC, 0x20_1000);
    bench.exception(MEMORY);
    assert_eq!(bench.running(), Some(PARENT));
    assert_eq!((bench.badge(PARENT), bench.info(PARENT)), (FAULT_BADGE | CHILD_ID, info(6, 4)));
    assert_eq!(bench.words(PARENT, 4), [0x20_1000, 0xdead_0000, 0, 0x9200_0046]);
    assert_eq!(bench.state(CHILD), State::AwaitingReply { from: PARENT });
    assert!(bench.machine.reports.is_empty(), "what a parent handles is not reported");
}

#[test]
fn a_fault_waits_for_a_busy_parent() {
    let mut bench = family().boot();
    bench.become_passive(SERVER);
    bench.system_call(PARENT, WAIT, INPUT, 0);
    bench.exception(MEMORY);
    assert_eq!(bench.state(CHILD), State::Stopped, "a receive without a reply object cannot answer it");

    let mut bench = family().irq(0, 40, 0).boot();
    bench.become_passive(SERVER);
    bench.recv(PARENT);
    bench.interrupt(40);
    assert_eq!(bench.running(), Some(PARENT));
    // The parent is in the middle of its work when the child dies: as if by another processor's interrupt.
    bench.kernel.stop_pd(&mut bench.machine, CHILD, Cause::UnknownSystemCall(77));
    bench.check();
    let badge = FAULT_BADGE | CHILD_ID;
    assert_eq!(bench.state(CHILD), State::Sending { to: PARENT, badge, call: true });
    bench.recv(PARENT);
    assert_eq!((bench.badge(PARENT), bench.info(PARENT)), (badge, info(2, 13)));
}

#[test]
fn an_instruction_fetch_and_other_exceptions_have_their_own_words() {
    let mut bench = family_at_work();
    bench.exception(Exception::Memory { address: 8, fetch: true, status: 7 });
    assert_eq!(bench.words(PARENT, 4), [0, 8, 1, 7]);
    let mut bench = family_at_work();
    for (word, value) in [(PC, 16), (SP, 32), (STATUS, 1 << 31)] {
        bench.set_context(CHILD, word, value);
    }
    bench.exception(Exception::Other { number: 0x0200_0000, code: 0 });
    assert_eq!(bench.info(PARENT), info(3, 5));
    assert_eq!(bench.words(PARENT, 5), [16, 32, 1 << 31, 0x0200_0000, 0]);
}

#[test]
fn an_unknown_system_call_has_the_registers_and_goes_on_as_the_reply_says() {
    let mut bench = family_at_work();
    for (word, value) in [(PC, 0x104), (SP, 0x8000), (STATUS, 0)] {
        bench.set_context(CHILD, word, value);
    }
    bench.system_call(CHILD, -99, 40, 41);
    assert_eq!(bench.info(PARENT), info(2, 13));
    assert_eq!(
        bench.words(PARENT, 13),
        [40, 41, 0, 0, 0, 0, REPLY, 0, 0x100, 0x8000, 0x104, 0, -99_i64 as u64]
    );
    // x0 is the result, and the child goes on behind the call.
    let reply = [7, 0, 0, 0, 0, 0, 0, 0, 0x104];
    bench.machine.registers[PARENT][2..6].copy_from_slice(&reply[..4]);
    (4..9).for_each(|index| bench.machine.set_buffer_word(PARENT, index, reply[index]));
    bench.system_call(PARENT, REPLY_RECV, INPUT, info(0, 9));
    assert_eq!((bench.running(), bench.badge(CHILD), bench.context_word(CHILD, PC)), (Some(CHILD), 7, 0x104));
    assert_eq!(bench.context_word(CHILD, SP), 0x8000);
}

#[test]
fn a_reply_lets_a_child_try_again_and_a_refusal_does_not() {
    for (label, state) in [(0, State::Running), (1, State::Stopped)] {
        let mut bench = family_at_work();
        bench.exception(Exception::Other { number: 1, code: 0 });
        bench.reply_recv(PARENT, label);
        assert_eq!(bench.state(CHILD), state);
    }
    // After a memory fault any reply will do.
    let mut bench = family_at_work();
    bench.exception(MEMORY);
    bench.reply_recv(PARENT, 1);
    assert_eq!(bench.running(), Some(CHILD));
}

#[test]
fn capability_faults_say_which_and_in_which_phase() {
    let mut bench = family_at_work();
    bench.set_context(CHILD, PC, 0x204);
    bench.system_call(CHILD, RECV, 3, 0);
    assert_eq!((bench.info(PARENT), bench.words(PARENT, 5)), (info(1, 5), [0x200, 3, 1, 2, 0].to_vec()));
    let mut bench = family_at_work();
    bench.set_context(CHILD, PC, 0x204);
    bench.system_call(CHILD, CALL, 512, 0);
    assert_eq!(bench.info(PARENT), info(1, 7));
    assert_eq!(bench.words(PARENT, 7), [0x200, 512, 0, 4, 58, 0, 49]);
}

#[test]
fn a_dead_child_is_restarted_at_another_place() {
    let mut bench = family_at_work();
    bench.set_context(CHILD, SP, 0x7000);
    bench.exception(MEMORY);
    // The parent receives again before it restarts the child: its reply object is needed for others.
    bench.system_call(PARENT, NB_RECV, INPUT, 0);
    assert_eq!(bench.state(CHILD), State::Stopped);
    assert_eq!(bench.invoke(WRITE_REGISTERS, &[1, 1, 0x20_0000]), OK);
    assert_eq!((bench.context_word(CHILD, PC), bench.context_word(CHILD, SP)), (0x20_0000, 0x7000));
    bench.recv(PARENT);
    assert_eq!(bench.running(), Some(CHILD));
    // Its next fault is a new one.
    bench.exception(Exception::Other { number: 9, code: 0 });
    assert_eq!(bench.words(PARENT, 5), [0x20_0000, 0x7000, 0, 9, 0]);
}

#[test]
fn a_child_is_restarted_from_within_its_fault() {
    let mut bench = family_at_work();
    bench.exception(MEMORY);
    assert_eq!(bench.invoke(WRITE_REGISTERS, &[1, 1, 0x20_0000]), OK);
    assert_eq!((bench.state(CHILD), bench.kernel.domains[PARENT].caller), (State::Running, None));
    // The reply that comes too late reaches nobody.
    bench.reply_recv(PARENT, 1);
    assert_eq!((bench.running(), bench.context_word(CHILD, PC)), (Some(CHILD), 0x20_0000));
}

#[test]
fn all_registers_are_written_in_the_order_of_a_user_context() {
    let mut bench = family_at_work();
    bench.exception(MEMORY);
    let words: Vec<u64> = [1, 36].into_iter().chain(1000..1036).collect();
    assert_eq!(bench.invoke(WRITE_REGISTERS, &words), OK);
    let written: Vec<u64> = (0..36).map(|word| bench.context_word(CHILD, word)).collect();
    assert_eq!(written, (1000..1036).collect::<Vec<_>>());
    assert_eq!(bench.badge(CHILD), 1003, "x0");
    // More than there are is not an error on seL4.
    let words: Vec<u64> = [0, 50].into_iter().chain(0..50).collect();
    assert_eq!(bench.invoke(WRITE_REGISTERS, &words), OK);
}

#[test]
fn short_messages_and_other_labels_are_refused() {
    let mut bench = family_at_work();
    bench.set_context(CHILD, PC, 5);
    bench.exception(MEMORY);
    for words in [&[][..], &[1], &[1, 1], &[1, 3, 7, 8], &[1, u64::MAX, 7]] {
        assert_eq!(bench.invoke(WRITE_REGISTERS, words), TRUNCATED_MESSAGE, "{words:?}");
    }
    for label in [0, 1, 2, 4, 11, 14, 27, 31, u64::MAX >> 12] {
        assert_eq!(bench.invoke(label, &[1, 1, 7]), ILLEGAL_OPERATION, "label {label}");
    }
    assert_eq!(bench.context_word(CHILD, PC), 5);
    assert_eq!(bench.state(CHILD), State::AwaitingReply { from: PARENT });
}

#[test]
fn a_suspended_child_makes_its_system_call_again() {
    // The child waits for a signal when it is stopped.
    let mut bench = family().channel(0, 2, 1, 7).boot();
    bench.become_passive(SERVER);
    bench.recv(PARENT);
    bench.set_context(CHILD, PC, 0x304);
    // Channel (0, 2, 1, 7) lets the parent call the child, so that it waits at its endpoint.
    bench.recv(CHILD);
    assert_eq!(bench.state(CHILD), State::Receiving { reply: true });
    bench.kernel.interrupt(&mut bench.machine, 99);
    bench.kernel.signal(&mut bench.machine, PARENT, 1);
    bench.kernel.settle(&mut bench.machine);
    assert_eq!(bench.invoke(SUSPEND, &[]), OK);
    assert_eq!((bench.state(CHILD), bench.context_word(CHILD, PC)), (State::Stopped, 0x300));
    assert_eq!(bench.invoke(SUSPEND, &[]), OK, "stopping twice is stopping");
    assert_eq!(bench.context_word(CHILD, PC), 0x300);
    assert_eq!(bench.invoke(RESUME, &[]), OK);
    assert_eq!((bench.state(CHILD), bench.context_word(CHILD, PC)), (State::Running, 0x300));
    // A child that runs goes on where it is.
    assert_eq!(bench.invoke(SUSPEND, &[]), OK);
    assert_eq!(bench.invoke(RESUME, &[]), OK);
    assert_eq!(bench.context_word(CHILD, PC), 0x300);
}

#[test]
fn signals_stay_for_the_restarted_child() {
    let mut bench = family().irq(1, 40, 9).boot();
    bench.become_passive(SERVER);
    bench.recv(PARENT);
    bench.exception(MEMORY);
    bench.interrupt(40);
    assert_eq!(bench.invoke(WRITE_REGISTERS, &[1, 1, 0x20_0000]), OK);
    bench.recv(PARENT);
    assert_eq!(bench.running(), Some(CHILD));
    bench.system_call(CHILD, WAIT, INPUT, 0);
    assert_eq!((bench.running(), bench.badge(CHILD)), (Some(CHILD), 1 << 9));
}

#[test]
fn a_child_that_waits_for_a_server_is_taken_out() {
    let plan = Plan::default().pd(100).pd(50).pd(210).child(1, 0, CHILD_ID as u8);
    let mut bench = plan.channel(1, 1, 2, 2).irq(0, 40, 0).boot();
    bench.recv(2);
    bench.recv(PARENT);
    bench.call(CHILD, 1, &[]);
    // The server never comes to its reply.
    bench.system_call(2, CALL, INPUT, 0);
    bench.interrupt(40);
    assert_eq!(bench.state(CHILD), State::AwaitingReply { from: 2 });
    assert_eq!(bench.invoke(SUSPEND, &[]), OK);
    assert_eq!((bench.state(CHILD), bench.kernel.domains[2].caller), (State::Stopped, None));
    // Called again, the server does not even receive.
    assert_eq!(bench.invoke(RESUME, &[]), OK);
    bench.recv(PARENT);
    bench.call(CHILD, 1, &[]);
    assert_eq!(bench.kernel.domains[2].senders, [2, 1]);
    bench.interrupt(40);
    assert_eq!(bench.invoke(SUSPEND, &[]), OK);
    assert_eq!((bench.state(CHILD), &bench.kernel.domains[2].senders[..]), (State::Stopped, &[2][..]));
}

#[test]
fn a_parent_above_the_server_strands_the_context_of_a_child_that_it_stops_inside_a_call() {
    // As on seL4, and why the image builder refuses it (decision 18).
    let mut bench = Plan::default()
        .pd(250)
        .pd(50)
        .passive(200)
        .child(1, 0, CHILD_ID as u8)
        .channel(1, 1, 2, 2)
        .irq(0, 40, 0)
        .boot();
    bench.recv(PARENT);
    bench.become_passive(SERVER);
    bench.call(CHILD, 1, &[]);
    // The first call of a passive server runs on its own context: the second borrows.
    bench.reply_recv(SERVER, 0);
    bench.call(CHILD, 1, &[]);
    assert_eq!((bench.running(), bench.context(SERVER)), (Some(SERVER), Some(CHILD)));
    bench.interrupt(40);
    assert_eq!(bench.invoke(WRITE_REGISTERS, &[1, 1, 0x20_0000]), OK);
    bench.recv(PARENT);
    assert_eq!((bench.running(), bench.state(CHILD)), (Some(SERVER), State::Running));
    bench.reply_recv(SERVER, 0);
    assert_eq!((bench.running(), bench.context(CHILD)), (None, None), "the child has nothing to run on");
}

#[test]
fn a_parent_below_the_server_stops_a_child_between_calls() {
    let mut bench = family_at_work();
    for _ in 0..3 {
        bench.call(CHILD, 1, &[]);
        bench.reply_recv(SERVER, 0);
        assert_eq!(bench.running(), Some(CHILD));
        bench.exception(MEMORY);
        assert_eq!(bench.invoke(WRITE_REGISTERS, &[1, 1, 0x20_0000]), OK);
        bench.recv(PARENT);
        assert_eq!((bench.running(), bench.context(CHILD)), (Some(CHILD), Some(CHILD)));
    }
}

#[test]
fn a_passive_parent_handles_a_fault_on_the_childs_time() {
    let mut bench = Plan::default().passive(100).pd(50).child(1, 0, CHILD_ID as u8).boot();
    bench.become_passive(0);
    bench.exception(MEMORY);
    // The first comes on the parent's own context, which it then gives back.
    bench.reply_recv(0, 0);
    bench.exception(MEMORY);
    assert_eq!((bench.running(), bench.context(0)), (Some(0), Some(1)));
    bench.reply_recv(0, 0);
    assert_eq!((bench.running(), bench.context(1)), (Some(1), Some(1)));
}

#[test]
fn only_a_parent_has_its_childs_thread() {
    let mut bench = family_at_work();
    bench.system_call(CHILD, CALL, TCB, info(SUSPEND, 0));
    assert_eq!(bench.info(CHILD), info(2, 1));
    // What a child sends to its fault endpoint comes to the parent as a message of a child.
    bench.system_call(CHILD, CALL, 2, info(9, 0));
    assert_eq!((bench.running(), bench.badge(PARENT)), (Some(PARENT), FAULT_BADGE | CHILD_ID));
    bench.reply_recv(PARENT, 4);
    assert_eq!((bench.running(), bench.info(CHILD)), (Some(CHILD), info(4, 0)));
}

#[test]
fn two_children_of_one_id_are_refused() {
    let plan = Plan::default().pd(9).pd(8).pd(7).child(1, 0, 3).child(2, 0, 3);
    assert_eq!(plan.try_boot().err(), Some(SetupError::ChildTwice { pd: 0, id: 3 }));
}

#[test]
fn images_with_impossible_parents_are_malformed() {
    for (child, parent, id) in [(0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 7, 0), (1, 0, 62)] {
        let plan = Plan::default().pd(9).pd(8).child(child, parent, id);
        assert_eq!(plan.parse_error(), Some(embedded_image::ImageError::BadEntry("PDs", child)));
    }
}
