//! The supervisor of the client that is measured: a protection domain that makes a supervisor's requests where the
//! client says, and counts their instructions itself.

use iommu_client::{Call, ClientError, Iommu};
use iommu_protocol::{ClientIndex, Opcode, Request, Status, Words, stats};

use crate::{Meter, Time};

/// What the client's number is in the supervisor's list.
pub const CLIENT: ClientIndex = ClientIndex(0);

/// The client's requests to the supervisor, beside those that the server is sent as they are: to leave the server alone
/// until it has done what it does by itself; and for the largest message of the opcode that is added.
const SETTLE: u64 = 0x100;
const LARGEST: u64 = 0x200;

/// How long nothing changes once the server is done: longer than it pauses between two steps, and a step together.
const QUIET_NS: u64 = 300_000;

/// The supervisor, in its protection domain.
#[derive(Debug)]
pub struct Supervisor<C, T> {
    iommu: Iommu<Meter<C, T, ()>>,
}

impl<C: Call, T: Time> Supervisor<C, T> {
    /// A supervisor that has not asked for anything yet.
    ///
    /// # Errors
    /// There is no server, or it speaks another version of the protocol.
    pub fn connect(call: C, time: T) -> Result<Self, ClientError> {
        Iommu::connect(Meter::new(call, time, ())).map(|iommu| Self { iommu })
    }

    /// Does what the client asked for by a message with `label`: sends the server the same message, times it and
    /// answers with its reply; or one of the client's others.
    pub fn answer(&mut self, label: u64, words: &Words) -> (u64, Words) {
        let meter = self.iommu.raw();
        if label == SETTLE {
            return (Status::Ok.label(), meter.settle());
        }
        match label.checked_sub(LARGEST).and_then(Opcode::from_label) {
            Some(opcode) => (Status::Ok.label(), Words::new([meter.worst(opcode)])),
            None => meter.call(label, words),
        }
    }
}

impl<C: Call, T: Time> Meter<C, T, ()> {
    /// Waits until the client's charges have not changed for [`QUIET_NS`]; these calls are not counted. The charges.
    fn settle(&mut self) -> Words {
        let (opcode, words) = Request::Stats { group: stats::MEMORY, client: Some(CLIENT) }.encode();
        let (mut last, mut since) = (Words::default(), self.time().now_ns());
        loop {
            let (_, now) = self.uncounted().call(opcode.label(), &words);
            if now != last {
                (last, since) = (now, self.time().now_ns());
            } else if self.time().now_ns().saturating_sub(since) > QUIET_NS {
                return last;
            }
        }
    }
}

/// What the client says to its supervisor.
pub trait Order: Call {
    /// Has it send the server one message of `request`. Whether there is more to do, is the server's affair.
    ///
    /// # Errors
    /// The server refuses the request, or what answers is no supervisor.
    fn order(&mut self, request: Request) -> Result<(), ClientError> {
        let (opcode, words) = request.encode();
        one_message(self.call(opcode.label(), &words))
    }

    /// Returns when the server does nothing by itself any more.
    ///
    /// # Errors
    /// What answers is no supervisor.
    fn settle(&mut self) -> Result<(), ClientError> {
        one_message(self.call(SETTLE, &Words::default()))
    }

    /// The most instructions that one message with `opcode` took.
    fn largest(&mut self, opcode: Opcode) -> u64 {
        self.call(LARGEST + opcode.label(), &Words::default()).1.get(0)
    }
}

impl<C: Call> Order for C {}

/// Whether a message was accepted: done, or begun.
///
/// # Errors
/// It was not.
pub fn one_message((label, _): (u64, Words)) -> Result<(), ClientError> {
    match Status::from_label(label) {
        Some(Status::Ok | Status::Again) => Ok(()),
        Some(status) => Err(ClientError::Refused(status)),
        None => Err(ClientError::BadReply),
    }
}
