//! What must hold of all tables of fields.

use std::{collections::BTreeMap, fmt::Debug};

use arm_smmu_v3::spec::{cd, commands, events, registers as smmu, ste};
use intel_vtd::spec::{context, descriptors, faults, pasid, registers as vtd, root, second_stage};

use super::{
    entry::Entry,
    field::Field,
    kind::{self, Kind, Place},
};

const GRANULES_LG2: [u32; 3] = [12, 14, 16];

/// Every place that entries of `kind` can have.
fn places(kind: &Kind) -> Vec<Place> {
    let (lowest, highest) = kind.levels.unwrap_or_default();
    let place = |level| GRANULES_LG2.map(|granule_lg2| Place { level, granule_lg2 });
    (lowest..=highest).flat_map(place).collect()
}

/// First words that lead to every layout of `kind`: all low bytes, and the two bits above that layouts depend on.
fn first_words() -> impl Iterator<Item = u64> {
    (0..=0x1ff).chain([u64::MAX])
}

fn layouts(mut each: impl FnMut(&Kind, Vec<Field>)) {
    for kind in kind::all() {
        for place in places(kind) {
            for first in first_words() {
                let mut words = vec![0; kind.words];
                words[0] = first;
                each(kind, (kind.fields)(&words, place));
            }
        }
    }
}

#[test]
fn fields_follow_one_another_and_leave_no_bit_out() {
    layouts(|kind, fields| {
        let mut next = 0;
        for field in fields {
            let at = field.word * kind.word_bits + field.lsb;
            assert_eq!(
                at, next,
                "{}: {} does not begin where the field before it ends",
                kind.name, field.name
            );
            assert!(
                field.lsb + field.bits <= kind.word_bits,
                "{}: {} is longer than its word",
                kind.name,
                field.name
            );
            assert!(field.bits > 0);
            next = at + field.bits;
        }
        assert_eq!(next, kind.words * kind.word_bits, "{}: bits at the end have no name", kind.name);
    });
}

#[test]
fn every_value_of_a_small_field_means_something() {
    layouts(|kind, fields| {
        for field in fields.into_iter().filter(|field| field.bits <= 8) {
            for value in 0..1 << field.bits {
                let text = field.explain(value);
                assert!(!text.is_empty() && !text.contains('\n'), "{}: {} {value}", kind.name, field.name);
            }
        }
    });
}

#[test]
fn names_of_kinds_are_told_apart() {
    let mut names: Vec<_> = kind::all().map(|kind| kind.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    assert_eq!(kind::find("smmu-ste").map(|kind| kind.words), Some(8));
}

/// The bits of each field of a `spec` type, as its own `Debug` shows that they change it.
fn spec_fields<T: Debug>(from: impl Fn(u64) -> T, bits: usize) -> BTreeMap<String, u64> {
    let shown = |value: u64| -> BTreeMap<String, String> {
        let text = format!("{:?}", from(value));
        let (_, inside) = text.split_once(" { ").expect("fields");
        let fields = inside.trim_end_matches(" }").split(", ");
        fields
            .filter_map(|field| field.split_once(": "))
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    };
    let zero = shown(0);
    let mut fields = BTreeMap::new();
    for bit in 0..bits {
        let changed = shown(1 << bit);
        for (name, _) in changed.iter().filter(|(name, value)| zero.get(*name) != Some(value)) {
            *fields.entry(name.clone()).or_default() |= 1 << bit;
        }
    }
    fields
}

/// Asserts that each field of a `spec` type is a field, or some that follow one another, in word `word` of `kind` where
/// its first word is `first`, and that no bit of it is reserved there.
fn agrees<T: Debug>(kind: &str, first: u64, level: u8, word: usize, from: impl Fn(u64) -> T) {
    let kind = kind::find(kind).unwrap_or_else(|| panic!("no kind {kind}"));
    let mut words = vec![0; kind.words];
    words[0] = first;
    let table = (kind.fields)(&words, Place { level, granule_lg2: 12 });
    let spec = spec_fields(from, kind.word_bits);
    assert!(!spec.is_empty());
    for (name, mask) in spec {
        let inside = table.iter().filter(|field| field.word == word && field.mask() & mask != 0);
        let found = inside.inspect(|field| {
            assert!(
                !field.is_reserved(),
                "{}: {name} is {}, reserved in the table",
                kind.name,
                field.place(kind.word_bits)
            );
        });
        let union = found.fold(0, |union, field| union | field.mask());
        assert_eq!(union, mask, "{}: {name} is not what fields of word {word} make", kind.name);
    }
}

#[test]
fn the_tables_of_smmu_v3_agree_with_the_drivers_types() {
    const NESTED: u64 = 0b1111;
    agrees("smmu-ste", NESTED, 0, 0, ste::SteWord0::from);
    agrees("smmu-ste", NESTED, 0, 1, ste::SteWord1::from);
    agrees("smmu-ste", NESTED, 0, 2, ste::SteWord2::from);
    agrees("smmu-ste", NESTED, 0, 3, ste::SteWord3::from);
    agrees("smmu-l1std", 0, 0, 0, ste::L1Descriptor::from);
    agrees("smmu-cd", 1 << 31, 0, 0, cd::CdWord0::from);
    agrees("smmu-cd", 1 << 31, 0, 1, cd::CdWord1::from);
    agrees("smmu-event", 0x10, 0, 0, events::EventWord0::from);
    agrees("smmu-event", 0x10, 0, 1, events::EventWord1::from);
    agrees("smmu-command", 0x03, 0, 0, commands::ConfigWord0::from);
    agrees("smmu-command", 0x04, 0, 1, commands::ConfigWord1::from);
    agrees("smmu-command", 0x12, 0, 0, commands::TlbiWord0::from);
    agrees("smmu-command", 0x12, 0, 1, commands::TlbiWord1::from);
    agrees("smmu-idr0", 0, 0, 0, |bits| smmu::Idr0::from(bits as u32));
    agrees("smmu-idr1", 0, 0, 0, |bits| smmu::Idr1::from(bits as u32));
    agrees("smmu-idr3", 0, 0, 0, |bits| smmu::Idr3::from(bits as u32));
    agrees("smmu-idr5", 0, 0, 0, |bits| smmu::Idr5::from(bits as u32));
    agrees("smmu-cr0", 0, 0, 0, |bits| smmu::Cr0::from(bits as u32));
}

#[test]
fn what_the_drivers_take_together_lies_where_the_tables_say() {
    // GBPA's attributes and GERROR's other bits are one field each in the driver, with reserved bits among them.
    let gbpa = spec_fields(|bits| smmu::Gbpa::from(bits as u32), 32);
    let errors = spec_fields(|bits| smmu::GlobalErrors::from(bits as u32), 32);
    let field = |kind: &str, name: &str| {
        let fields = (kind::find(kind).unwrap().fields)(&[0], Place { level: 0, granule_lg2: 12 });
        fields.into_iter().find(|field| field.name == name).unwrap().mask()
    };
    assert_eq!((gbpa["abort"], gbpa["update"]), (field("smmu-gbpa", "ABORT"), field("smmu-gbpa", "Update")));
    for name in ["MemAttr", "MTCFG", "ALLOCCFG", "SHCFG", "PRIVCFG", "INSTCFG"] {
        assert_eq!(field("smmu-gbpa", name) & !gbpa["attributes"], 0, "{name}");
    }
    let messages = ["MSI_CMDQ_ABT_ERR", "MSI_EVENTQ_ABT_ERR", "MSI_PRIQ_ABT_ERR", "MSI_GERROR_ABT_ERR"];
    assert_eq!(messages.map(|name| field("smmu-gerror", name)).iter().sum::<u64>(), errors["msi_abt"]);
    for (name, of) in [
        ("cmdq", "CMDQ_ERR"),
        ("eventq_abt", "EVENTQ_ABT_ERR"),
        ("priq_abt", "PRIQ_ABT_ERR"),
        ("sfm", "SFM_ERR"),
    ] {
        assert_eq!(errors[name], field("smmu-gerror", of), "{name}");
    }
    assert_eq!((field("smmu-gerror", "CMDQP_ERR") | field("smmu-gerror", "DPT_ERR")) & !errors["others"], 0);
}

#[test]
fn the_tables_of_vt_d_agree_with_the_drivers_types() {
    agrees("vtd-root", 1, 0, 0, root::RootWord::from);
    agrees("vtd-scalable-root", 1, 0, 0, root::RootWord::from);
    agrees("vtd-scalable-root", 1, 0, 1, root::RootWord::from);
    agrees("vtd-context", 1, 0, 0, context::ContextWord0::from);
    agrees("vtd-context", 1, 0, 1, context::ContextWord1::from);
    agrees("vtd-scalable-context", 1, 0, 0, context::ScalableContextWord0::from);
    agrees("vtd-scalable-context", 1, 0, 1, context::ScalableContextWord1::from);
    agrees("vtd-pasid-directory", 1, 0, 0, pasid::DirectoryEntry::from);
    agrees("vtd-pasid", 1 | 3 << 6, 0, 0, pasid::PasidWord0::from);
    agrees("vtd-pasid", 1 | 3 << 6, 0, 1, pasid::PasidWord1::from);
    agrees("vtd-second-stage", 3, 1, 0, second_stage::SecondStageEntry::from);
    agrees("vtd-descriptor", 1, 0, 0, descriptors::ContextInvalidate::from);
    agrees("vtd-descriptor", 2, 0, 0, descriptors::IotlbInvalidate0::from);
    agrees("vtd-descriptor", 2, 0, 1, descriptors::IotlbInvalidate1::from);
    agrees("vtd-descriptor", 7, 0, 0, descriptors::PasidInvalidate::from);
    agrees("vtd-descriptor", 5, 0, 0, descriptors::Wait::from);
    agrees("vtd-fault", 0, 0, 1, faults::FaultWord1::from);
    agrees("vtd-cap", 0, 0, 0, vtd::Cap::from);
    agrees("vtd-ecap", 0, 0, 0, vtd::Ecap::from);
    agrees("vtd-gsts", 0, 0, 0, |bits| vtd::Gcmd::from(bits as u32));
    agrees("vtd-gcmd", 0, 0, 0, |bits| vtd::Gcmd::from(bits as u32));
    agrees("vtd-fsts", 0, 0, 0, |bits| vtd::FaultStatus::from(bits as u32));
    agrees("vtd-rtaddr", 0, 0, 0, vtd::RootAddress::from);
    agrees("vtd-iqercd", 0, 0, 0, vtd::QueueError::from);
}

#[test]
fn every_reserved_bit_that_is_set_is_reported() {
    let mut reported = 0;
    layouts(|kind, fields| {
        for field in fields.into_iter().filter(Field::is_reserved) {
            // The layout is that of the same first word: reserved bits never choose one.
            for bit in [field.lsb, field.lsb + field.bits - 1] {
                let mut words = vec![0; kind.words];
                words[field.word] = 1 << bit;
                let entry = Entry { words: &words, fields: vec![field] };
                let [wrong] = &entry.reserved(kind.word_bits)[..] else { panic!("{}: {field:?}", kind.name) };
                assert!(wrong.contains(&field.place(kind.word_bits)), "{wrong}");
                reported += 1;
            }
        }
    });
    assert!(reported > 1000);
}

#[test]
fn reserved_bits_are_reported_in_entries_that_are_used_and_not_in_others() {
    let wrong = |kind: &str, words: &[u64]| {
        let kind = kind::find(kind).unwrap();
        kind.entry(words, Place { level: 1, granule_lg2: 12 }).reserved(kind.word_bits).len()
    };
    for (kind, used, unused) in [
        (
            "smmu-ste",
            [0b1101 | 1 << 56, 0, 0, 1 << 56, 0, 0, 0, 0],
            [0b0001 | 1 << 56, 0, 0, 1 << 56, 0, 0, 0, 0],
        ),
        ("smmu-cd", [1 << 31, 1 << 56, 0, 0, 0, 1 << 63, 0, 0], [0, 1 << 56, 0, 0, 0, 1 << 63, 0, 0]),
        ("vtd-pasid", [1 | 1 << 11, 1 << 16, 0, 0, 0, 0, 0, 0], [1 << 11, 1 << 16, 0, 0, 0, 0, 0, 0]),
    ] {
        assert_eq!(wrong(kind, &used), 2, "{kind}");
        assert_eq!(wrong(kind, &unused), 0, "{kind}");
    }
    assert_eq!((wrong("vtd-context", &[0x11, 1 << 63]), wrong("vtd-context", &[0x10, 1 << 63])), (2, 0));
    assert_eq!((wrong("vtd-root", &[3, 1]), wrong("vtd-scalable-root", &[3, 2])), (2, 1));
}
