//! Driving a supervisor's requests, and those of a client that follow on them, to the bounds of what they can cost.

use core::fmt;

use iommu_client::{Call, ClientError};
use iommu_protocol::{MAX_COPIED, Opcode, Request, stats};

use crate::{
    Figure, Time,
    bounds::{SCATTERED, SHAPES},
    meter::Between,
    session::{DEVICE, PAGE, REGION, Report, Rows, Session},
    supervisor::{CLIENT, Order, one_message},
};

/// How often what costs the same each time is asked for.
const TIMES: u64 = 100;

/// Most mappings that one message takes out.
const MOST: u64 = MAX_COPIED as u64;

/// The costliest shape of a space, tables of all levels for each mapping; and what lies above, for a deep tree.
const COSTLIEST: Rows = SHAPES[2].0;
const ABOVE: Rows = Rows { first: 1 << 38, stride: 2 * PAGE, bytes: PAGE };
const ABOVE_COUNT: u64 = 10_000;

/// As many mappings as one COPY takes from, and more pages than it copies in one message.
const COPIED: Rows = Rows { first: 1 << 21, stride: 11 * PAGE, bytes: 11 * PAGE };

/// Longer than anything that is measured takes.
const DEADLINE_MS: u32 = 60_000;

const HOLD: Request = Request::Hold { client: CLIENT, deadline_ms: DEADLINE_MS };
const REVOKE: Request = Request::Revoke { client: CLIENT, slot: REGION };
const REGRANT: Request = Request::Regrant { client: CLIENT, slot: REGION };
const TEARDOWN: Request = Request::Teardown { client: CLIENT };

/// A supervisor's requests, and what follows on them, as the rows call them.
const OF_SUPERVISOR: [(Opcode, &str); 5] = [
    (Opcode::Teardown, "Teardown"),
    (Opcode::Hold, "Hold"),
    (Opcode::Revoke, "Revoke"),
    (Opcode::Regrant, "Regrant"),
    (Opcode::Stats, "Stats of a client"),
];
const OF_CLIENT: [(Opcode, &str); 2] = [(Opcode::Claim, "Claim"), (Opcode::Enable, "Enable")];

impl<C: Call, T: Time, B: Between, R: Report> Session<'_, C, T, B, R> {
    /// Has `supervisor` make each of its requests in the ways that cost most, and prints the largest message of each and
    /// of CLAIM and ENABLE. What the server does by itself afterwards can fall into other calls: those are to have
    /// been printed before.
    pub fn supervised(
        &mut self,
        supervisor: &mut impl Order,
        clients: impl fmt::Display,
    ) -> Result<(), ClientError> {
        self.start_over()?;
        self.attach()?;
        for _ in 0..TIMES {
            self.hold_and_claim(supervisor)?;
            self.revoke(supervisor)?;
            self.request(Request::Enable { device: DEVICE })?;
            for group in 0..stats::GROUPS {
                self.order(supervisor, Request::Stats { group, client: Some(CLIENT) })?;
            }
        }
        for (rows, count) in SHAPES {
            self.end_both_ways(supervisor, rows, count, 0)?;
            // As many as one message takes out, after which the space itself goes.
            self.end_both_ways(supervisor, rows, MOST, 0)?;
            self.claim_what_is_withdrawn(supervisor, rows)?;
        }
        self.end_both_ways(supervisor, COSTLIEST, MOST, ABOVE_COUNT)?;
        self.claim_half_a_map(supervisor)?;
        self.claim_half_a_copy(supervisor)?;
        for (opcode, name) in OF_SUPERVISOR {
            let largest = supervisor.largest(opcode);
            self.print_one(format_args!("largest {name}{clients}"), largest);
        }
        for (opcode, name) in OF_CLIENT {
            let largest = self.meter().worst(opcode);
            self.print_one(format_args!("largest {name}{clients}"), largest);
        }
        Ok(())
    }

    fn print_one(&mut self, name: impl fmt::Display, instructions: u64) {
        let mut figure = Figure::NEW;
        figure.add(instructions);
        self.print(name, &figure);
    }

    /// One message of `request`. The others do what they do between two calls.
    fn order(&mut self, supervisor: &mut impl Order, request: Request) -> Result<(), ClientError> {
        self.meter().others().between();
        supervisor.order(request)
    }

    /// Withdraws the region and gives it back.
    fn revoke(&mut self, supervisor: &mut impl Order) -> Result<(), ClientError> {
        self.order(supervisor, REVOKE)?;
        supervisor.settle()?;
        self.regrant(supervisor)
    }

    fn regrant(&mut self, supervisor: &mut impl Order) -> Result<(), ClientError> {
        self.order(supervisor, REGRANT)?;
        self.refresh()
    }

    /// CLAIM of what is held. The server has not begun with what is half done: it waits before it does.
    fn hold_and_claim(&mut self, supervisor: &mut impl Order) -> Result<(), ClientError> {
        self.order(supervisor, HOLD)?;
        self.request(Request::Claim)?;
        supervisor.settle()
    }

    /// Withdraws the region of `count` mappings of `rows` below `above` others, and ends a client that has them. Leaves an
    /// empty space, attached.
    fn end_both_ways(
        &mut self,
        supervisor: &mut impl Order,
        rows: Rows,
        count: u64,
        above: u64,
    ) -> Result<(), ClientError> {
        self.fill(ABOVE, 0, above)?;
        self.fill(rows, 0, count)?;
        self.revoke(supervisor)?;
        self.fill(ABOVE, 0, above)?;
        self.fill(rows, 0, count)?;
        self.order(supervisor, TEARDOWN)?;
        supervisor.settle()?;
        self.start_over()?;
        self.attach()?;
        Ok(())
    }

    /// CLAIM takes out as much as REVOKE did before. All is gone then: else the server's next step of its own would
    /// fall into the call.
    fn claim_what_is_withdrawn(
        &mut self,
        supervisor: &mut impl Order,
        rows: Rows,
    ) -> Result<(), ClientError> {
        self.fill(rows, 0, 2 * MOST)?;
        self.order(supervisor, REVOKE)?;
        self.hold_and_claim(supervisor)?;
        self.regrant(supervisor)
    }

    fn claim_half_a_map(&mut self, supervisor: &mut impl Order) -> Result<(), ClientError> {
        self.message(self.map_request(Some(SCATTERED.first), 0, SCATTERED.bytes))?;
        self.hold_and_claim(supervisor)?;
        self.unmap_everything()?;
        Ok(())
    }

    /// The target has the lower number: CLAIM begins with it.
    fn claim_half_a_copy(&mut self, supervisor: &mut impl Order) -> Result<(), ClientError> {
        let (target, source) = (self.space, self.alloc()?);
        self.space = source;
        self.fill(COPIED, 0, MOST)?;
        self.space = target;
        let (flags, first, length) = (Self::flags(false), COPIED.first, MOST * COPIED.bytes);
        self.message(Request::Copy { target, source, flags, iova: 0, first, length })?;
        self.hold_and_claim(supervisor)?;
        self.start_over()
    }

    /// One message of `request`, and no other if that leaves it half done.
    fn message(&mut self, request: Request) -> Result<(), ClientError> {
        let (opcode, words) = request.encode();
        one_message(self.meter().call(opcode.label(), &words))
    }
}
