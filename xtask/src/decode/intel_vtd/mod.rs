//! Structures and registers of VT-d (Intel VT-d rev 4.1).

use super::kind::Kind;

/// The kinds.
pub const KINDS: &[Kind] = &[];
