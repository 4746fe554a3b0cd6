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
    /// Bit r: the PD of rank r is not blocked.
    pub(crate) running: PdSet,
    /// Bit r: the PD of rank r has a scheduling context.
    pub(crate) funded: PdSet,
    pd_at: [u8; MAX_PDS],
    /// The ranks that share a rank's priority.
    peers: [PdSet; MAX_PDS],
    /// The rank whose turn it is, in the entry of the lowest rank of its priority.
    turn: [u8; MAX_PDS],
}

impl Scheduler {
    /// All of `pds`, ready, and the rank of each.
    pub(crate) fn new(pds: &[Pd]) -> (Self, [u8; MAX_PDS]) {
        let ready = pds.iter().fold(0, |set, _| set << 1 | 1);
        let mut new = Self {
            running: ready,
            funded: ready,
            pd_at: [0; MAX_PDS],
            peers: [0; MAX_PDS],
            turn: [0; MAX_PDS],
        };
        let mut ranks = [0; MAX_PDS];
        let rank = |pd: usize| {
            let key = |other: usize| (pds[other].priority, other);
            (0..pds.len()).filter(|&other| key(other) < key(pd)).count()
        };
        for pd in 0..pds.len() {
            ranks[pd] = rank(pd) as u8;
            new.pd_at[rank(pd)] = pd as u8;
            let peers = (0..pds.len()).filter(|&other| pds[other].priority == pds[pd].priority);
            new.peers[rank(pd)] = peers.fold(0, |set, other| set | 1 << rank(other));
        }
        (new, ranks)
    }

    /// The PD to run, which has the turn of its priority from now on, and whether others wait for that turn.
    pub(crate) fn choose(&mut self) -> Option<(usize, bool)> {
        let ready = self.running & self.funded;
        let highest = ready.checked_ilog2()? as usize;
        let peers = self.peers[highest];
        let here = ready & peers;
        let turn = &mut self.turn[peers.trailing_zeros() as usize % MAX_PDS];
        let after = here & (PdSet::MAX << (*turn % MAX_PDS as u8));
        let rank = if after != 0 { after.trailing_zeros() } else { here.trailing_zeros() } as usize;
        *turn = rank as u8;
        Some((usize::from(self.pd_at[rank]), !here.is_power_of_two()))
    }

    /// Ends the turn of `rank`, if it has it.
    pub(crate) fn end_turn(&mut self, rank: u8) {
        let turn = &mut self.turn[self.peers[usize::from(rank)].trailing_zeros() as usize % MAX_PDS];
        if *turn == rank {
            // Past the last rank nobody is found, and the search begins again at the lowest.
            *turn = (rank + 1) % MAX_PDS as u8;
        }
    }
}
