//! Who runs: fixed priorities, and turns of one budget each among PDs of one priority.

use embedded_image::{MAX_PDS, Pd};

use crate::PdSet;

/// The PDs that are ready, by priority.
///
/// PDs are ranked by priority, so that the highest ready bit finds the priority to serve. PDs of one priority
/// have neighbouring ranks and take turns in that order: whoever has the turn keeps it until it blocks or its
/// budget is spent, also while a higher priority runs in between.
#[derive(Debug, Clone)]
pub(crate) struct Scheduler {
    /// Bit r: the PD of rank r is ready.
    ready: PdSet,
    rank_of: [u8; MAX_PDS],
    pd_at: [u8; MAX_PDS],
    /// The ranks that share a rank's priority.
    peers: [PdSet; MAX_PDS],
    /// The rank whose turn it is, in the entry of the lowest rank of its priority.
    turn: [u8; MAX_PDS],
}

impl Scheduler {
    /// All of `pds`, none of them ready.
    pub(crate) fn new(pds: &[Pd]) -> Self {
        let mut new = Self {
            ready: 0,
            rank_of: [0; MAX_PDS],
            pd_at: [0; MAX_PDS],
            peers: [0; MAX_PDS],
            turn: [0; MAX_PDS],
        };
        let rank = |pd: usize| {
            let key = |other: usize| (pds[other].priority, other);
            (0..pds.len()).filter(|&other| key(other) < key(pd)).count()
        };
        for pd in 0..pds.len() {
            new.rank_of[pd] = rank(pd) as u8;
            new.pd_at[rank(pd)] = pd as u8;
            let peers = (0..pds.len()).filter(|&other| pds[other].priority == pds[pd].priority);
            new.peers[rank(pd)] = peers.fold(0, |set, other| set | 1 << rank(other));
        }
        new
    }

    /// Enters `pd` or takes it out.
    pub(crate) fn set_ready(&mut self, pd: usize, ready: bool) {
        let bit = 1 << self.rank_of[pd];
        if ready {
            self.ready |= bit;
        } else {
            self.ready &= !bit;
        }
    }

    /// The PD to run, which has the turn of its priority from now on, and whether others wait for that turn.
    pub(crate) fn choose(&mut self) -> Option<(usize, bool)> {
        let highest = self.ready.checked_ilog2()? as usize;
        let peers = self.peers[highest];
        let here = self.ready & peers;
        let turn = &mut self.turn[peers.trailing_zeros() as usize % MAX_PDS];
        let after = here & (PdSet::MAX << (*turn % MAX_PDS as u8));
        let rank = if after != 0 { after.trailing_zeros() } else { here.trailing_zeros() } as usize;
        *turn = rank as u8;
        Some((usize::from(self.pd_at[rank]), !here.is_power_of_two()))
    }

    /// Ends the turn of `pd`, if it has it.
    pub(crate) fn end_turn(&mut self, pd: usize) {
        let rank = self.rank_of[pd];
        let turn = &mut self.turn[self.peers[usize::from(rank)].trailing_zeros() as usize % MAX_PDS];
        if *turn == rank {
            // Past the last rank nobody is found, and the search begins again at the lowest.
            *turn = (rank + 1) % MAX_PDS as u8;
        }
    }
}
