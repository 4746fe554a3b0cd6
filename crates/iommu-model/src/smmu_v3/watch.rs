//! What the unit could have read of a structure that software changes while it is reachable (IHI 0070, 3.21.3).
//!
//! The unit reads the 64-bit words of a structure in any order and at any time. So between two completed
//! invalidations of an entry, any word may be read with any value that it had since. Whatever such a mix lets
//! pass must be the entry as it was, as it is at the end, or as software switched it on in between: one that is switched
//! on and, as the unit refuses a command, off again.

use std::collections::HashMap;

use super::{
    commands::ConfigScope,
    config::Config,
    context::Cd,
    stream_table::{STE_BYTES, Ste, StreamTable, Treatment, second_level},
};
use crate::SystemMemory;

type Words = [u64; 8];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Stream(u32),
    Context(u32),
}

impl Key {
    const fn is_in(self, scope: &ConfigScope) -> bool {
        match (*scope, self) {
            (ConfigScope::Streams { first, last, .. }, Self::Stream(stream) | Self::Context(stream)) => {
                first <= stream && stream <= last
            }
            (ConfigScope::Context(of), Self::Context(stream)) => of == stream,
            (ConfigScope::Context(_), Self::Stream(_)) => false,
        }
    }
}

/// The states of one entry, one more at each store.
#[derive(Debug, Default)]
struct History {
    states: Vec<Words>,
    /// The first state that the unit may still hold; one past the end: it holds none yet.
    start: usize,
    /// The last state before an invalidation that is consumed and not completed.
    mark: Option<usize>,
    at: u64,
}

/// Entries side by side in memory.
#[derive(Debug, Clone, Copy)]
struct Run {
    at: u64,
    entries: u64,
    first_stream: u32,
}

/// The reachable structures and their histories.
#[derive(Debug, Default)]
pub(super) struct Watch {
    table: Option<StreamTable>,
    /// By index into the upper level; a linear table is one run.
    runs: HashMap<u32, Run>,
    /// The context that each stream's entry points at.
    contexts: HashMap<u32, u64>,
    histories: HashMap<Key, History>,
}

impl Watch {
    /// The unit may read the Stream table from now on.
    pub fn start(&mut self, memory: &SystemMemory, config: &Config, table: StreamTable) {
        self.table = Some(table);
        match table.split {
            None => {
                let entries = 1 << table.size_lg2.min(config.stream_bits);
                self.runs.insert(0, Run { at: table.base, entries, first_stream: 0 });
            }
            Some(split) => {
                let descriptors = (table.bytes() / 8).min(1 << config.stream_bits.saturating_sub(split));
                for index in 0..descriptors {
                    let at = table.base + 8 * index;
                    self.descriptor_stored(config, index as u32, memory.fetch(at).unwrap_or_default());
                }
            }
        }
        for (stream, at) in self.entries_in_region(memory) {
            self.note_context(config, memory, stream, at);
        }
    }

    /// Streams and the places of their entries; tables outside the table region are somebody else's.
    fn entries_in_region(&self, memory: &SystemMemory) -> Vec<(u32, u64)> {
        let region = memory.base()..memory.base() + memory.bytes();
        let runs = self.runs.values().filter(|run| region.contains(&run.at));
        let entries = |run: &Run| {
            let run = *run;
            (0..run.entries).map(move |place| (run.first_stream + place as u32, run.at + STE_BYTES * place))
        };
        runs.flat_map(entries).collect()
    }

    /// The unit reads nothing any more.
    pub fn stop(&mut self) {
        self.table = None;
        self.runs.clear();
        self.contexts.clear();
        for history in self.histories.values_mut() {
            (history.start, history.mark) = (history.states.len(), None);
        }
    }

    fn descriptor_stored(&mut self, config: &Config, index: u32, descriptor: u64) {
        let Some(split) = self.table.and_then(|table| table.split) else { return };
        match second_level(config, descriptor, split, index) {
            Some((at, entries)) => {
                let first_stream = index << split;
                self.runs.insert(index, Run { at, entries, first_stream });
                for (key, history) in &mut self.histories {
                    if let Key::Stream(stream) = key
                        && stream >> split == index
                        && history.at != at + STE_BYTES * u64::from(stream - first_stream)
                    {
                        (history.start, history.mark) = (history.states.len(), None);
                    }
                }
            }
            None => {
                self.runs.remove(&index);
            }
        }
    }

    /// The streams whose entries hold the word at `at`, and where each entry starts.
    pub fn entries_at(&self, at: u64) -> Vec<(u32, u64)> {
        let in_run = |run: &Run| {
            let place = at.checked_sub(run.at)? / STE_BYTES;
            (place < run.entries).then(|| (run.first_stream + place as u32, run.at + STE_BYTES * place))
        };
        self.runs.values().filter_map(in_run).collect()
    }

    /// The streams whose contexts hold the word at `at`, and where each starts.
    pub fn contexts_at(&self, at: u64) -> Vec<(u32, u64)> {
        let holds = |start: u64| start <= at && at < start + STE_BYTES;
        self.contexts
            .iter()
            .filter(|&(_, &start)| holds(start))
            .map(|(&stream, &start)| (stream, start))
            .collect()
    }

    /// Notes that the CPU stored the word at `at`, which held `old`.
    pub fn stored(&mut self, memory: &SystemMemory, config: &Config, at: u64, old: u64) {
        let Some(table) = self.table else { return };
        if table.split.is_some() && (table.base..table.base + table.bytes()).contains(&at) {
            self.descriptor_stored(config, ((at - table.base) / 8) as u32, memory.load(at));
            return;
        }
        for (stream, entry_at) in self.entries_at(at) {
            let state = self.push(memory, Key::Stream(stream), entry_at, at, old);
            Ste(state).check_reserved(config, stream);
            self.note_context(config, memory, stream, entry_at);
        }
        for (stream, context_at) in self.contexts_at(at) {
            let state = self.push(memory, Key::Context(stream), context_at, at, old);
            Cd(state).check_reserved(config, stream);
        }
    }

    fn push(&mut self, memory: &SystemMemory, key: Key, entry_at: u64, at: u64, old: u64) -> Words {
        let state = memory.stored_entry(entry_at).expect("an entry in the table region");
        let history = self.histories.entry(key).or_default();
        if history.at != entry_at {
            (history.at, history.start, history.mark) = (entry_at, history.states.len(), None);
        }
        if history.start == history.states.len() {
            let mut before = state;
            before[((at - entry_at) / 8) as usize] = old;
            history.states.push(before);
        }
        history.states.push(state);
        state
    }

    fn note_context(&mut self, config: &Config, memory: &SystemMemory, stream: u32, at: u64) {
        let Some(ste) = memory.stored_entry(at).map(Ste) else { return };
        if ste.lets_pass() && !ste.is_illegal(config) && ste.treatment() == Treatment::StageOne {
            self.contexts.insert(stream, ste.context_at());
        }
    }

    fn entry_now(&self, memory: &SystemMemory, stream: u32) -> Option<Ste> {
        let run = self.runs.values().find(|run| {
            stream.checked_sub(run.first_stream).is_some_and(|place| u64::from(place) < run.entries)
        })?;
        memory.stored_entry(run.at + STE_BYTES * u64::from(stream - run.first_stream)).map(Ste)
    }

    /// Every state of `stream`'s entry since the first store to it, the one before it first.
    pub fn history(&self, stream: u32) -> Vec<Words> {
        self.histories.get(&Key::Stream(stream)).map_or_else(Vec::new, |history| history.states.clone())
    }

    /// Notes an invalidation that has been consumed: what is read from here on, it does not reach.
    pub fn mark(&mut self, memory: &SystemMemory, scope: &ConfigScope) {
        for (key, history) in &mut self.histories {
            if key.is_in(scope) && memory.is_settled(history.at, 8) {
                history.mark = history.states.len().checked_sub(1).filter(|&last| last >= history.start);
            }
        }
    }

    /// Notes that an invalidation has completed, and judges what the unit could have seen before it.
    pub fn close(&mut self, memory: &SystemMemory, config: &Config, scope: &ConfigScope) {
        for (key, history) in &mut self.histories {
            if !key.is_in(scope) {
                continue;
            }
            if let Some(mark) = history.mark.take() {
                judge(config, *key, &history.states[history.start..=mark]);
                history.start = mark;
            }
        }
        let gone = |(&stream, &at): (&u32, &u64)| {
            let points =
                self.entry_now(memory, stream).is_some_and(|ste| ste.lets_pass() && ste.context_at() == at);
            (Key::Stream(stream).is_in(scope) && !points).then_some(stream)
        };
        for stream in self.contexts.iter().filter_map(gone).collect::<Vec<_>>() {
            self.contexts.remove(&stream);
            if let Some(history) = self.histories.get_mut(&Key::Context(stream)) {
                (history.start, history.mark) = (history.states.len(), None);
            }
        }
    }
}

/// The bits that count of an entry with this first word; `None`: it lets nothing pass.
fn used(config: &Config, key: Key, state: Words) -> Option<Words> {
    match key {
        Key::Stream(_) => Ste(state).lets_pass().then(|| Ste(state).used(config)),
        Key::Context(_) => Cd(state).is_valid().then(|| Cd(state).used()),
    }
}

fn masked(state: Words, used: Words) -> Words {
    std::array::from_fn(|word| state[word] & used[word])
}

/// Panics if the words of `states` can be mixed into an entry that lets something pass and is neither the first nor the
/// last of them, nor follows on one that lets nothing pass.
fn judge(config: &Config, key: Key, states: &[Words]) {
    let (Some(first), Some(last)) = (states.first(), states.last()) else { return };
    let switched_on =
        states.windows(2).filter(|pair| used(config, key, pair[0]).is_none()).map(|pair| &pair[1]);
    let entries: Vec<_> = [first, last].into_iter().chain(switched_on).collect();
    for state in states {
        let Some(used) = used(config, key, *state) else { continue };
        let whole: Vec<_> = entries.iter().map(|entry| masked(**entry, used)).collect();
        let mut mixes = vec![masked([state[0], 0, 0, 0, 0, 0, 0, 0], used)];
        for word in 1..8 {
            let mut values: Vec<u64> = states.iter().map(|state| state[word] & used[word]).collect();
            values.sort_unstable();
            values.dedup();
            mixes = mixes
                .iter()
                .flat_map(|mix| {
                    values.iter().map(move |&value| {
                        let mut mix = *mix;
                        mix[word] = value;
                        mix
                    })
                })
                .collect();
        }
        for mix in mixes {
            assert!(
                whole.contains(&mix),
                "{key:x?}: the unit could have read {mix:#x?}, which is neither the entry before, {first:#x?}, nor \
                 the one after, {last:#x?} (3.21.3.1)"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key::Stream(8);
    const ABORT: u64 = 0b0001;
    const STAGE_TWO: u64 = 0b1101;

    fn entry(first: u64, config: u64, root: u64) -> Words {
        [first, 0, config, root, 0, 0, 0, 0]
    }

    #[test]
    fn filling_an_aborting_entry_and_then_switching_it_on_in_two_windows_is_safe() {
        let config = Config::default();
        judge(&config, KEY, &[entry(ABORT, 0, 0), entry(ABORT, 5, 0), entry(ABORT, 5, 0x1000)]);
        judge(&config, KEY, &[entry(ABORT, 5, 0x1000), entry(STAGE_TWO, 5, 0x1000)]);
        judge(&config, KEY, &[entry(STAGE_TWO, 5, 0x1000), entry(ABORT, 5, 0x1000)]);
        judge(&config, KEY, &[entry(STAGE_TWO, 5, 0x1000), entry(STAGE_TWO, 5, 0x2000)]);
    }

    #[test]
    fn switching_on_and_off_again_in_one_window_is_no_mix() {
        let (off, on) = (entry(ABORT, 5, 0x1000), entry(STAGE_TWO, 5, 0x1000));
        judge(&Config::default(), KEY, &[off, on, off]);
    }

    #[test]
    #[should_panic(expected = "neither the entry before")]
    fn switching_on_again_with_other_words_in_one_window_can_be_read_mixed() {
        let (off, on) = (entry(ABORT, 5, 0x1000), entry(STAGE_TWO, 5, 0x1000));
        judge(&Config::default(), KEY, &[off, on, off, entry(ABORT, 6, 0x2000), entry(STAGE_TWO, 6, 0x2000)]);
    }

    #[test]
    #[should_panic(expected = "neither the entry before")]
    fn filling_and_switching_on_in_one_window_can_be_read_mixed() {
        let states = [entry(ABORT, 5, 0x2000), entry(ABORT, 5, 0x1000), entry(STAGE_TWO, 5, 0x1000)];
        judge(&Config::default(), KEY, &states);
    }

    #[test]
    #[should_panic(expected = "neither the entry before")]
    fn two_words_of_a_live_entry_cannot_change_in_one_window() {
        let states = [entry(STAGE_TWO, 5, 0x1000), entry(STAGE_TWO, 6, 0x1000), entry(STAGE_TWO, 6, 0x2000)];
        judge(&Config::default(), KEY, &states);
    }
}
