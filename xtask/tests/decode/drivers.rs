//! What the drivers write into memory and queues, and what units answer, decoded back: nothing in it is wrong.

use arm_smmu_v3::{SmmuV3, Stage, spec::registers as smmu};
use intel_vtd::{IntelVtd, spec::registers as vtd};
use iommu_hal::{
    Binding, Carver, Clock, DomainTag, FRAME_BYTES, IovaRange, PhysAddr, Registers, Rights, StreamId,
    TableMemory, Unit,
};
use iommu_model::{intel_vtd as vtd_model, smmu_v3 as smmu_model};
use iommu_pgtable::{Extent, FrameMeta, FramePool, Table};

use super::run;

const STREAM: StreamId = StreamId(0x18);
const TAG: DomainTag = DomainTag(5);
/// A large page, and behind it a small one.
const IOVA: u64 = 0x4020_0000;
const DATA: u64 = 0x9000_0000;
const LARGE: u64 = 1 << 21;
const FRAMES: u32 = 64;

/// Explains words of `kind`: nothing is wrong with them. The sentence.
fn explain(kind: &str, options: &[&str], words: &[u64]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("{word:#x}")).collect();
    let words = words.iter().map(String::as_str);
    let text = run(&[kind].into_iter().chain(options.iter().copied()).chain(words).collect::<Vec<_>>());
    assert!(!text.contains("Wrong: ") && !text.starts_with("error"), "{text}");
    text.lines().find_map(|line| line.strip_prefix("In short: ")).unwrap_or_default().into()
}

fn words<const COUNT: usize>(memory: &impl TableMemory, at: u64) -> [u64; COUNT] {
    std::array::from_fn(|word| memory.read(PhysAddr(at + 8 * word as u64)))
}

/// Attaches the stream to a space with a large and a small page, then takes the small one away.
fn drive<M: TableMemory>(
    unit: &mut impl Unit,
    memory: &mut M,
    clock: &impl Clock,
    rest: (PhysAddr, u64),
) -> PhysAddr {
    let mut meta = vec![FrameMeta::NEW; FRAMES as usize];
    let bytes = u64::from(FRAMES) * FRAME_BYTES;
    assert!(rest.1 >= bytes);
    let mut pool = FramePool::new(rest.0, bytes, &mut meta);
    let mut frames = pool.reserve(FRAMES / 2).expect("frames");
    let geometry = unit.geometry();
    let mut table = Table::new(geometry, &mut pool, &mut frames, memory, true);
    for (at, bytes, rights) in
        [(0, LARGE, Rights::READ_WRITE), (LARGE, 4096, Rights { read: true, write: false })]
    {
        let extent = Extent { iova: IOVA + at, pa: PhysAddr(DATA + at), bytes, rights };
        let done = table.fill(&mut pool, &mut frames, memory, true, &extent, &mut 1000);
        assert_eq!(done, bytes);
    }
    let binding = Binding { tag: TAG, geometry, root: table.root() };
    unit.attach(memory, clock, STREAM, &binding).expect("attach");
    for (pages, tables) in [(1, false), (513, true)] {
        let range = IovaRange::from_length(IOVA, pages * 4096).expect("a range");
        unit.invalidate(memory, clock, TAG, &geometry, range, tables).expect("invalidate");
    }
    let _ = unit.sync(memory, clock).expect("sync");
    table.root()
}

/// Follows the tables to the leaf of `iova`, from level `from`, where `step` is one level down; the leaf's sentence.
fn walk(memory: &impl TableMemory, kind: &str, root: u64, from: i32, step: i32, iova: u64) -> String {
    let (mut table, mut level) = (root, from);
    loop {
        let height = if step > 0 { 3 - level } else { level - 1 };
        let [entry] = words(memory, table + 8 * (iova >> (12 + 9 * height) & 511));
        let text = explain(kind, &["--level", &level.to_string()], &[entry]);
        let next = text.strip_prefix(&format!("a level {} table at 0x", level + step));
        let Some(next) = next.and_then(|next| next.split_whitespace().next()) else { return text };
        table = u64::from_str_radix(next.trim_end_matches(','), 16).expect("an address");
        level += step;
    }
}

#[test]
fn smmu_v3_under_either_stage_and_stream_table() {
    for (stage, two_level) in
        [(Stage::One, true), (Stage::Two, true), (Stage::One, false), (Stage::Two, false)]
    {
        let kind = smmu_model::Config { two_level, ..smmu_model::Config::default() };
        let bench = smmu_model::Bench::new(kind.clone());
        let (regs, mut memory, clock) = bench.ports();
        let mut carver = Carver::new(PhysAddr(kind.table_base), kind.table_bytes);
        let config = arm_smmu_v3::Config { streams: &[STREAM], stage: Some(stage), record_unknown: true };
        let mut unit = SmmuV3::bring_up(regs, &mut memory, &clock, &mut carver, &config).expect("bring-up");
        let (mut regs, _, _) = bench.ports();
        let entry = stream_table_entry(&mut regs, &memory);
        assert_eq!(
            explain("smmu-ste", &[], &words::<8>(&memory, entry)),
            "every access aborts, and nothing is recorded."
        );

        let root = drive(&mut unit, &mut memory, &clock, carver.rest()).0;
        let text = explain("smmu-ste", &[], &words::<8>(&memory, entry));
        match stage {
            Stage::Two => {
                assert!(
                    text.starts_with(&format!("stage 2 translates by tables at {root:#x}, VMID 5,")),
                    "{text}"
                );
                assert!(text.ends_with("terminate and are recorded."), "{text}");
            }
            Stage::One => {
                let context =
                    text.strip_prefix("stage 1 translates by the context descriptor at 0x").expect("stage 1");
                let context = u64::from_str_radix(context.trim_end_matches('.'), 16).expect("an address");
                let text = explain("smmu-cd", &[], &words::<8>(&memory, context));
                assert!(text.starts_with(&format!("stage 1 translates by tables at {root:#x}, ")), "{text}");
                assert!(text.ends_with("ASID 5; faults abort and are recorded."), "{text}");
            }
        }
        let entries = match stage {
            Stage::One => "smmu-s1-entry",
            Stage::Two => "smmu-s2-entry",
        };
        let levels = unit.geometry().levels() as i32;
        let text = walk(&memory, entries, root, 4 - levels, 1, IOVA);
        assert_eq!(text, format!("a block of 2 MiB at {DATA:#x}, for reads and writes."));
        let text = walk(&memory, entries, root, 4 - levels, 1, IOVA + LARGE);
        assert_eq!(text, format!("a page of 4 KiB at {:#x}, for reads.", DATA + LARGE));
        let text = walk(&memory, entries, root, 4 - levels, 1, IOVA + LARGE + 4096);
        assert_eq!(text, "nothing is mapped in its 4 KiB: an access faults, F_TRANSLATION.");

        assert!(bench.dma_write(STREAM, 0x1234_5678, &[1]).is_err());
        let fault = unit.next_fault(&mut memory).expect("a fault");
        let text = explain("smmu-event", &[], &fault.raw);
        assert!(
            text.starts_with("a write at 0x12345678 by stream 0x18 was stopped: nothing is mapped"),
            "{text}"
        );
        commands_and_registers(&mut regs, &memory);
    }
}

/// Where the stream's entry is, by the registers.
fn stream_table_entry(regs: &mut impl Registers, memory: &impl TableMemory) -> u64 {
    let base = smmu::Base::from(regs.read64(smmu::offset::STRTAB_BASE)).addr_5() << 5;
    let shape = smmu::StrtabBaseCfg::from(regs.read32(smmu::offset::STRTAB_BASE_CFG));
    let stream = u64::from(STREAM.0);
    if shape.fmt() == 0 {
        return base + 64 * stream;
    }
    let [descriptor] = words(memory, base + 8 * (stream >> shape.split()));
    let text = explain("smmu-l1std", &[], &[descriptor]);
    let (_, at) = text.trim_end_matches('.').rsplit_once("at 0x").expect("a table");
    u64::from_str_radix(at, 16).expect("an address") + 64 * (stream & ((1 << shape.split()) - 1))
}

fn commands_and_registers(regs: &mut impl Registers, memory: &impl TableMemory) {
    let base = smmu::Base::from(regs.read64(smmu::offset::CMDQ_BASE)).addr_5() << 5;
    let count = u64::from(regs.read32(smmu::offset::CMDQ_PROD));
    let said: Vec<_> = (0..count)
        .map(|index| explain("smmu-command", &[], &words::<2>(memory, base + 16 * index)))
        .collect();
    for name in ["CMD_CFGI_ALL", "CMD_CFGI_STE", "CMD_TLBI_", "CMD_SYNC"] {
        assert!(said.iter().any(|text| text.starts_with(name)), "{name} is not in {said:#?}");
    }
    for number in 0..6 {
        let value = regs.read32(smmu::offset::IDR0 + 4 * number);
        explain(&format!("smmu-idr{number}"), &[], &[value.into()]);
    }
    let on = explain("smmu-cr0", &[], &[regs.read32(smmu::offset::CR0).into()]);
    assert!(on.starts_with("translation is on, commands are read, events are queued"), "{on}");
    let off = explain("smmu-gbpa", &[], &[regs.read32(smmu::offset::GBPA).into()]);
    assert_eq!(off, "while SMMUEN is 0, every access aborts.");
    explain("smmu-gerror", &[], &[regs.read32(smmu::offset::GERROR).into()]);
}

#[test]
fn vt_d_in_either_mode() {
    let kinds = [
        vtd_model::Config { scalable: false, ..vtd_model::Config::default() },
        vtd_model::Config { scalable: true, ..vtd_model::Config::default() },
        vtd_model::Config { scalable: true, ..vtd_model::Config::coherent() },
    ];
    for kind in kinds {
        let bench = vtd_model::Bench::new(kind.clone());
        let (regs, mut memory, clock) = bench.ports();
        let mut carver = Carver::new(PhysAddr(kind.table_base), kind.table_bytes);
        let config = intel_vtd::Config { streams: &[STREAM], record_unknown: true, fault_message: None };
        let mut unit = IntelVtd::bring_up(regs, &mut memory, &clock, &mut carver, &config).expect("bring-up");
        let (mut regs, _, _) = bench.ports();
        let scalable = kind.scalable;
        let before = vtd_entry(&mut regs, &memory, scalable);
        assert!(before.ends_with("aborts, and nothing is recorded."), "{before}");

        let root = drive(&mut unit, &mut memory, &clock, carver.rest()).0;
        let text = vtd_entry(&mut regs, &memory, scalable);
        assert!(text.starts_with(&format!("the second stage translates by tables at {root:#x}, ")), "{text}");
        assert!(text.contains("domain 5"), "{text}");
        let levels = unit.geometry().levels() as i32;
        let text = walk(&memory, "vtd-second-stage", root, levels, -1, IOVA);
        assert_eq!(text, format!("a page of 2 MiB at {DATA:#x}, for reads and writes."));
        let text = walk(&memory, "vtd-second-stage", root, levels, -1, IOVA + LARGE);
        assert_eq!(text, format!("a page of 4 KiB at {:#x}, for reads.", DATA + LARGE));

        assert!(bench.dma_write(STREAM, 0x1234_5678, &[1]).is_err());
        let fault = unit.next_fault(&mut memory).expect("a fault");
        let text = explain("vtd-fault", &[], &fault.raw[..2]);
        assert!(
            text.starts_with("a write in the page 0x12345000 by function 00:03.0 was stopped: "),
            "{text}"
        );
        descriptors_and_registers(&mut regs, &memory, scalable);
    }
}

/// The address behind `before` in `text`.
fn address(text: &str, before: &str) -> u64 {
    let (_, after) = text.split_once(before).unwrap_or_else(|| panic!("no '{before}' in {text}"));
    let digits = after.split(|letter: char| !letter.is_ascii_hexdigit()).next().unwrap_or_default();
    u64::from_str_radix(digits, 16).expect("an address")
}

/// What the entry says that decides over the stream.
fn vtd_entry(regs: &mut impl Registers, memory: &impl TableMemory, scalable: bool) -> String {
    let text = explain("vtd-rtaddr", &[], &[regs.read64(vtd::offset::RTADDR)]);
    let root = address(&text, "the root table at 0x") + 16 * u64::from(STREAM.0 >> 8);
    let function = u64::from(STREAM.0 & 0xff);
    if !scalable {
        let text = explain("vtd-root", &[], &words::<2>(memory, root));
        let at = address(&text, "context entries at 0x") + 16 * function;
        return explain("vtd-context", &[], &words::<2>(memory, at));
    }
    let text = explain("vtd-scalable-root", &[], &words::<2>(memory, root));
    let at = address(&text, "context entries at 0x") + 32 * (function & 0x7f);
    let text = explain("vtd-scalable-context", &[], &words::<4>(memory, at));
    if text.starts_with("every request aborts") {
        return text;
    }
    let text =
        explain("vtd-pasid-directory", &[], &words::<1>(memory, address(&text, "PASID directory at 0x")));
    explain("vtd-pasid", &[], &words::<8>(memory, address(&text, "entries at 0x")))
}

fn descriptors_and_registers(regs: &mut impl Registers, memory: &impl TableMemory, scalable: bool) {
    let base = vtd::QueueAddress::from(regs.read64(vtd::offset::IQA)).address_12() << 12;
    let tail = regs.read64(vtd::offset::IQT);
    let (kind, bytes) = if scalable { ("vtd-wide-descriptor", 32) } else { ("vtd-descriptor", 16) };
    let said: Vec<_> = (0..tail / bytes)
        .map(|index| {
            let words = words::<4>(memory, base + bytes * index);
            explain(kind, &[], &words[..bytes as usize / 8])
        })
        .collect();
    for what in ["forgets all context entries", "forgets translations of ", "waits until all invalidations"] {
        assert!(said.iter().any(|text| text.starts_with(what)), "'{what}' is not in {said:#?}");
    }
    explain("vtd-cap", &[], &[regs.read64(vtd::offset::CAP)]);
    explain("vtd-ecap", &[], &[regs.read64(vtd::offset::ECAP)]);
    explain("vtd-fsts", &[], &[regs.read32(vtd::offset::FSTS).into()]);
    let on = explain("vtd-gsts", &[], &[regs.read32(vtd::offset::GSTS).into()]);
    assert!(on.starts_with("translation is on, the invalidation queue is on"), "{on}");
}
