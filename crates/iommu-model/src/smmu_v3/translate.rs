//! The path of one access through the configuration (IHI 0070, 3.4 and 7.3.22).

use super::{
    Blocked, Smmu,
    config_cache::Cached,
    context::Cd,
    events::{Event, Found, Why},
    stream_table::{STE_BYTES, Ste, StreamTable, Treatment, bits, second_level},
    walk::Access,
};
use crate::SystemMemory;

/// How an access ended that did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Aborted, and nothing recorded.
    Silent,
    /// For this reason; recorded, aborted.
    Event(Event),
    /// A fault of translation, recorded or aborted as configured (5.5).
    Translation { event: Event, recorded: bool, aborted: bool },
}

impl Stop {
    /// What the device is told, of an access to `iova`.
    pub(super) fn blocked(self, iova: u64) -> Blocked {
        match self {
            Self::Silent => Blocked { iova, event: None, aborted: true },
            Self::Event(event) => Blocked { iova, event: Some(event.number()), aborted: true },
            Self::Translation { event, aborted, .. } => {
                Blocked { iova, event: Some(event.number()), aborted }
            }
        }
    }
}

impl Smmu {
    /// Finds where an access of `stream` to `input` goes.
    pub(super) fn translate(
        &mut self,
        memory: &SystemMemory,
        stream: u32,
        input: u64,
        write: bool,
    ) -> Result<u64, Stop> {
        if self.service_failure {
            return Err(Stop::Silent);
        }
        if !self.registers.is_translating() {
            let passes = !self.registers.aborts_globally() && input >> self.config.output_bits == 0;
            return if passes { Ok(input) } else { Err(Stop::Silent) };
        }
        let plain = Access { write, privileged: false, instruction: false };
        let event = |why| Stop::Event(Event { why, stream, input, access: plain });
        let ste = self.stream_entry(memory, stream).map_err(|why| match why {
            Why::BadStreamId if !self.registers.records_invalid_streams() => Stop::Silent,
            why => event(why),
        })?;
        if ste.is_illegal(&self.config) {
            return Err(event(Why::BadSte));
        }
        let (privileged, instruction) = ste.attributes();
        let access = Access { write, privileged, instruction: instruction && !write };
        let event = |why| Event { why, stream, input, access };
        let too_wide = Stop::Event(event(Why::AddressSize(Found::STAGE_ONE)));
        let fits = input >> self.config.output_bits == 0;
        match ste.treatment() {
            Treatment::Abort => Err(Stop::Silent),
            Treatment::Bypass => {
                if fits {
                    Ok(input)
                } else {
                    Err(too_wide)
                }
            }
            Treatment::StageTwo if !fits => Err(too_wide),
            Treatment::StageTwo => {
                let context = ste.stage_two(&self.config);
                self.walk(memory, &context, input, access).map_err(|why| Stop::Translation {
                    event: event(why),
                    recorded: ste.records(),
                    aborted: true,
                })
            }
            Treatment::StageOne => {
                if ste.substreams(&self.config) != 0 {
                    match ste.default_substream() {
                        0b01 => return if fits { Ok(input) } else { Err(too_wide) },
                        0b10 => {}
                        _ => return Err(Stop::Event(event(Why::StreamDisabled))),
                    }
                }
                let cd = self.context(memory, stream, &ste).map_err(|why| Stop::Event(event(why)))?;
                if cd.is_illegal(&self.config) {
                    return Err(Stop::Event(event(Why::BadCd)));
                }
                let stop = |why| Stop::Translation {
                    event: event(why),
                    recorded: cd.records(),
                    aborted: cd.aborts() || self_aborts(why),
                };
                let context = cd.stage_one(&self.config, ste.vmid(&self.config));
                let context = context.ok_or_else(|| stop(Why::Translation(Found::STAGE_ONE)))?;
                self.walk(memory, &context, input, access).map_err(stop)
            }
        }
    }

    /// Finds `stream`'s entry, cached or in memory.
    fn stream_entry(&mut self, memory: &SystemMemory, stream: u32) -> Result<Ste, Why> {
        let table = self.registers.stream_table();
        if !table.contains(stream) || u64::from(stream) >> self.config.stream_bits != 0 {
            return Err(Why::BadStreamId);
        }
        if let Some(ste) = self.cache.entries.get(&stream) {
            return Ok(ste.value);
        }
        let Cached { value: at, born } = self.entry_address(memory, &table, stream)?;
        let ste = Ste(memory.fetch_entry(at).ok_or(Why::SteFetch(at))?);
        ste.check_reserved(&self.config, stream);
        self.cache.entries.insert(stream, Cached { value: ste, born });
        Ok(ste)
    }

    /// Where `stream`'s entry is, as old as the descriptor that says so.
    fn entry_address(
        &mut self,
        memory: &SystemMemory,
        table: &StreamTable,
        stream: u32,
    ) -> Result<Cached<u64>, Why> {
        let born = self.invalidations;
        let Some(split) = table.split else {
            return Ok(Cached { value: table.base + STE_BYTES * u64::from(stream), born });
        };
        let index = stream >> split;
        let descriptor = match self.cache.descriptors.get(&index) {
            Some(&descriptor) => descriptor,
            None => {
                let at = table.base + 8 * u64::from(index);
                let value = memory.fetch(at).ok_or(Why::SteFetch(at))?;
                self.cache.descriptors.insert(index, Cached { value, born });
                Cached { value, born }
            }
        };
        let (at, entries) =
            second_level(&self.config, descriptor.value, split, index).ok_or(Why::BadStreamId)?;
        let place = bits(u64::from(stream), 0, split - 1);
        let value = at + STE_BYTES * place;
        if place < entries { Ok(Cached { value, ..descriptor }) } else { Err(Why::BadStreamId) }
    }

    fn context(&mut self, memory: &SystemMemory, stream: u32, ste: &Ste) -> Result<Cd, Why> {
        if let Some(cd) = self.cache.contexts.get(&stream) {
            return Ok(cd.value);
        }
        let at = ste.context_at();
        let cd = Cd(memory.fetch_entry(at).ok_or(Why::CdFetch(at))?);
        cd.check_reserved(&self.config, stream);
        let born = self.cache.entries.get(&stream).map_or(self.invalidations, |entry| entry.born);
        self.cache.contexts.insert(stream, Cached { value: cd, born });
        Ok(cd)
    }
}

/// Faults that CD.A says nothing about.
const fn self_aborts(why: Why) -> bool {
    !matches!(why, Why::Translation(_) | Why::AddressSize(_) | Why::Access(_) | Why::Permission(_))
}
