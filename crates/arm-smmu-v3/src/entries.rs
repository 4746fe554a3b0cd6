//! What stream table entries and context descriptors say for a binding.

use iommu_hal::{Binding, DomainTag, Format, Geometry, PhysAddr, TableMemory};

use crate::{
    features::Features,
    spec::{
        cd::{Cd, CdWord0, CdWord1, MAIR_NORMAL},
        ste::{Ste, SteWord0, SteWord1, SteWord2, SteWord3, StreamConfig},
    },
};

/// Write-back, read and write allocate: cacheability of walks and fetches.
const WRITE_BACK: u8 = 1;
/// Inner shareable.
const INNER_SHAREABLE: u8 = 3;

/// SHCFG: shareability as the access says. RES0 where it cannot be overridden.
fn shareability(features: &Features) -> u8 {
    u8::from(features.idr1().attr_types_ovr())
}

/// Word 0 of an entry that aborts; the other words then mean nothing.
pub(crate) const ABORT: SteWord0 = SteWord0::new().with_valid(true).with_config(StreamConfig::ABORT);

/// The entry of a stream under stage 1, with its context descriptor at `context`.
pub(crate) fn stage1_entry(features: &Features, context: PhysAddr) -> Ste {
    Ste {
        word0: SteWord0::new()
            .with_valid(true)
            .with_config(StreamConfig::STAGE1)
            .with_s1contextptr_6(context.0 >> 6),
        word1: SteWord1::new()
            .with_s1cir(WRITE_BACK)
            .with_s1cor(WRITE_BACK)
            .with_s1csh(INNER_SHAREABLE)
            .with_mev(true)
            // RES0 where stalling does not exist.
            .with_s1stalld(features.idr0().stall_model() == 0)
            .with_shcfg(shareability(features)),
        ..Ste::default()
    }
}

/// The context descriptor for `binding`.
pub(crate) fn context(features: &Features, binding: &Binding) -> Cd {
    Cd {
        word0: CdWord0::new()
            .with_t0sz(64 - binding.geometry.input_bits)
            .with_ir0(WRITE_BACK)
            .with_or0(WRITE_BACK)
            .with_sh0(INNER_SHAREABLE)
            .with_epd1(true)
            .with_valid(true)
            .with_ips(features.output_size())
            .with_aa64(true)
            .with_record(true)
            .with_abort(true)
            .with_aset(true)
            .with_asid(binding.tag.0),
        word1: CdWord1::new().with_ttb0_4(binding.root.0 >> 4),
        mair: MAIR_NORMAL,
    }
}

/// The entry of a stream under stage 2 for `binding`.
pub(crate) fn stage2_entry(features: &Features, binding: &Binding) -> Ste {
    Ste {
        word0: SteWord0::new().with_valid(true).with_config(StreamConfig::STAGE2),
        word1: SteWord1::new().with_mev(true).with_shcfg(shareability(features)),
        word2: SteWord2::new()
            .with_s2vmid(binding.tag.0)
            .with_s2t0sz(64 - binding.geometry.input_bits)
            .with_s2sl0(start_level(&binding.geometry))
            .with_s2ir0(WRITE_BACK)
            .with_s2or0(WRITE_BACK)
            .with_s2sh0(INNER_SHAREABLE)
            .with_s2ps(features.output_size())
            .with_s2aa64(true)
            .with_s2r(true),
        word3: SteWord3::new().with_s2ttb_4(binding.root.0 >> 4),
    }
}

/// S2SL0 of tables whose root is one frame: 0 for two levels, 1 for three, 2 for four.
fn start_level(geometry: &Geometry) -> u8 {
    (geometry.levels() - 2) as u8
}

/// The tag under which the stream whose entry is at `entry` translates; `None` while it aborts.
pub(crate) fn tag_of<M: TableMemory>(memory: &M, entry: PhysAddr) -> Option<(DomainTag, Format)> {
    let word0 = SteWord0::from(memory.read(entry));
    match word0.config() {
        StreamConfig::STAGE1 => {
            let context = CdWord0::from(memory.read(PhysAddr(word0.s1contextptr_6() << 6)));
            Some((DomainTag(context.asid()), Format::ArmStage1))
        }
        StreamConfig::STAGE2 => {
            let word2 = SteWord2::from(memory.read(PhysAddr(entry.0 + 16)));
            Some((DomainTag(word2.s2vmid()), Format::ArmStage2))
        }
        _ => None,
    }
}
