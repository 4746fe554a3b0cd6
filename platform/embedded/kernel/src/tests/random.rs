//! Whatever PDs do, the core's state stays sound.

use proptest::prelude::*;

use super::*;

/// The thread of the PD 2's child.
const CHILD_TCB: u64 = 206;

const WRITE_REGISTERS: u64 = 3;
const SUSPEND: u64 = 12;
const RESUME: u64 = 13;

#[derive(Debug, Clone)]
enum Step {
    SystemCall { number: i64, capability: u64, info: u64, reply: u64, destination: u64 },
    Interrupt(u32),
    Pass(u64),
    Stop,
}

fn slot() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => Just(INPUT),
        3 => Just(REPLY),
        2 => Just(MONITOR),
        4 => (0_u64..3).prop_map(notification),
        6 => (0_u64..3).prop_map(endpoint),
        2 => Just(irq(9)),
        3 => Just(CHILD_TCB),
        1 => 0_u64..520,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let call = (-12_i64..0, slot(), any::<u64>(), slot(), slot()).prop_map(
        |(number, capability, info, reply, destination)| Step::SystemCall {
            number,
            capability,
            info,
            reply,
            destination,
        },
    );
    // Mostly what a PD's loop does, so that not everybody dies at once.
    let usual =
        (prop_oneof![Just(CALL), Just(REPLY_RECV), Just(NB_SEND_RECV), Just(SEND), Just(RECV)], slot())
            .prop_map(|(number, other)| {
                // Now and then a parent does something to its child.
                if other == CHILD_TCB {
                    let info =
                        [SUSPEND, RESUME, WRITE_REGISTERS][number.unsigned_abs() as usize % 3] << 12 | 3;
                    return Step::SystemCall {
                        number: CALL,
                        capability: CHILD_TCB,
                        info,
                        reply: REPLY,
                        destination: 0,
                    };
                }
                let receives = matches!(number, REPLY_RECV | NB_SEND_RECV | RECV);
                let capability = if receives { INPUT } else { other };
                Step::SystemCall { number, capability, info: 3, reply: REPLY, destination: other }
            });
    prop_oneof![
        1 => call,
        20 => usual,
        4 => Just(Step::Interrupt(40)),
        2 => (0_u64..20_000).prop_map(Step::Pass),
        1 => prop_oneof![9 => Just(Step::Pass(1)), 1 => Just(Step::Stop)],
    ]
}

fn plan() -> Plan {
    Plan::default()
        .pd(50)
        .pd(50)
        .pd(60)
        .passive(100)
        .passive(110)
        .passive(110)
        .pd(40)
        .channel(0, 0, 3, 0)
        .channel(1, 0, 3, 1)
        .channel(2, 0, 3, 2)
        .channel(3, 4, 4, 0)
        .channel(2, 1, 4, 1)
        .channel(3, 5, 5, 0)
        .channel(4, 2, 5, 1)
        .irq(0, 40, 9)
        .irq(3, 41, 9)
        .child(6, 2, 4)
        .channel(6, 3, 3, 3)
}

proptest! {
    #[test]
    fn any_sequence_of_steps_keeps_the_state_sound(steps in prop::collection::vec(step(), 1..200)) {
        let mut bench = plan().boot();
        for step in steps {
            match step {
                Step::SystemCall { number, capability, info, reply, destination } => {
                    let Some(pd) = bench.running() else { continue };
                    let registers = &mut bench.machine.registers[pd];
                    (registers[0], registers[1], registers[6], registers[8]) = (capability, info, reply, destination);
                    bench.kernel.system_call(&mut bench.machine, number);
                }
                Step::Interrupt(number) => {
                    bench.interrupt(number);
                    bench.interrupt(number + 1);
                }
                Step::Pass(ticks) => bench.pass(ticks),
                Step::Stop => bench.kernel.stop(&mut bench.machine, Cause::Exception),
            }
            bench.check();
        }
    }
}
