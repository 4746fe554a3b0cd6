//! From the core's refusals to the protocol's statuses.

use iommu_core::{Refusal, Resource};
use iommu_protocol::{MessageError, Status};

/// The status that names the rule that `refusal` names.
pub fn of_refusal(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::NoSuchSpace(_) => Status::NoSuchSpace,
        Refusal::NoSuchDevice(_) => Status::NoSuchDevice,
        Refusal::NoSuchRegion(_) => Status::NoSuchRegion,
        Refusal::StaleRegion { .. } => Status::StaleRegion,
        Refusal::OutOfRegion { .. } => Status::OutOfRegion,
        Refusal::NotPermitted { .. } => Status::NotPermitted,
        Refusal::Misaligned(_) => Status::Misaligned,
        Refusal::ZeroLength => Status::ZeroLength,
        Refusal::Overflow { .. } => Status::Overflow,
        Refusal::Reserved { .. } | Refusal::ReservedByDevice { .. } => Status::Reserved,
        Refusal::Overlap(_) => Status::Overlap,
        Refusal::NoRights => Status::NoRights,
        Refusal::NotExpressible(_) => Status::NotExpressible,
        Refusal::NoSpace { .. } => Status::NoSpace,
        Refusal::NotMapped(_) => Status::NotMapped,
        Refusal::WouldSplit(_) => Status::WouldSplit,
        Refusal::Busy => Status::Busy,
        Refusal::NoMemory(_) => Status::NoMemory,
        Refusal::QuotaExceeded(Resource::Frames | Resource::Areas | Resource::Spaces) => {
            Status::QuotaExceeded
        }
        Refusal::AlreadyAttached(_) => Status::AlreadyAttached,
        Refusal::NotAttached => Status::NotAttached,
        Refusal::Incompatible => Status::Incompatible,
        Refusal::RangeInUse(_) => Status::RangeInUse,
        Refusal::TooMany(_) => Status::TooMany,
        Refusal::NoSuchEntry(_) => Status::NoSuchEntry,
        Refusal::Stopped => Status::Stopped,
        Refusal::NotRevoked => Status::NotRevoked,
        Refusal::HardwareTimeout { .. } => Status::HardwareTimeout,
        Refusal::HardwareFailed(_) => Status::HardwareFailed,
    }
}

/// The status of a message that is no request.
pub fn of_message(error: MessageError) -> Status {
    match error {
        MessageError::UnknownLabel(_) => Status::UnknownRequest,
        MessageError::WrongCount | MessageError::ReservedBits => Status::BadMessage,
    }
}
