//! Images: programs are refused or patched as Microkit's tool does it, and what is packed is read back.

mod elf;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use elf::{Elf, Segment};
use embedded_image::{Image, NO_PARENT, channel, flags, source};
use xtask::{
    board::{self, Arch, Board},
    builder::{Source, describe},
    image,
    sdf::System,
};

const SYSTEM: &str = r#"<system>
    <memory_region name="shared" size="0x3000" />
    <memory_region name="big" size="0x400000" />
    <memory_region name="uart" size="0x1000" phys_addr="0x9000000" />
    <memory_region name="filled" size="0x2000" prefill_path="page_and_more.bin" />
    <protection_domain name="upper" priority="9" passive="true" stack_size="0x4000">
        <program_image path="upper.elf" />
        <map mr="shared" vaddr="0x20000000" perms="r" setvar_vaddr="shared" setvar_size="shared_bytes" />
        <map mr="filled" vaddr="0x21000000" perms="r" setvar_prefill_size="filled_bytes" />
        <setvar symbol="big_paddr" region_paddr="big" />
        <irq irq="33" id="7" trigger="edge" setvar_id="irq_uart" />
    </protection_domain>
    <protection_domain name="lower" priority="3">
        <program_image path="lower.elf" />
        <map mr="shared" vaddr="0x20000000" />
        <map mr="big" vaddr="0x40000000" />
        <map mr="uart" vaddr="0x22000000" cached="false" />
    </protection_domain>
    <channel>
        <end pd="upper" id="3" setvar_id="lower_channel" />
        <end pd="lower" id="0" pp="true" notify="false" />
    </channel>
</system>
"#;

const SETVARS: [&str; 6] =
    ["shared", "shared_bytes", "filled_bytes", "big_paddr", "irq_uart", "lower_channel"];

/// The address of `symbol`.
fn address(program: &Elf, symbol: &str) -> u64 {
    program.symbols.iter().find(|(name, ..)| name == symbol).unwrap().1
}

fn board() -> Board {
    Board::read(&xtask::root(), board::DEFAULT).unwrap()
}

fn system(text: &str) -> System {
    let source = Source { name: "system.xml".into(), text: text.into() };
    describe(&source, None, &board(), vec!["tests/refusals/base".into()]).unwrap().system
}

/// Writes the programs into a folder of their own and builds the image.
fn build(test: &str, upper: &Elf, lower: &Elf) -> Result<Vec<u8>, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&folder).unwrap();
    let mut programs: HashMap<String, PathBuf> = HashMap::new();
    for (name, elf) in [("upper.elf", upper), ("lower.elf", lower)] {
        fs::write(folder.join(name), elf.bytes()).unwrap();
        programs.insert(name.into(), folder.join(name));
    }
    let config = embedded_image::config::RELEASE;
    image::build(&system(SYSTEM), &board(), config, &programs).map_err(|error| format!("{error:#}"))
}

/// The words of an image: it is read where they are aligned.
fn words(bytes: &[u8]) -> Vec<u64> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(8), 0);
    padded.as_chunks().0.iter().map(|&word| u64::from_le_bytes(word)).collect()
}

#[test]
fn what_is_packed_is_read_back() {
    let packed = build("good", &Elf::good(&SETVARS), &Elf::good(&[])).unwrap();
    let words = words(&packed);
    let image = Image::parse(zerocopy::IntoBytes::as_bytes(&words[..])).unwrap();
    assert_eq!((image.header.board, image.header.config), (1, embedded_image::config::RELEASE));
    assert_eq!(image.header.total_bytes, packed.len() as u64);

    let names: Vec<_> =
        image.pds.iter().map(|pd| (pd.name(), pd.priority, pd.passive, pd.budget_us)).collect();
    assert_eq!(names, [("upper", 9, 1, 1000), ("lower", 3, 0, 1000)]);
    assert!(image.pds.iter().all(|pd| pd.fpu == 1));
    assert!(image.pds.iter().all(|pd| pd.entry == elf::CODE && pd.stack_top == 0xff_ffff_e000));
    assert!(image.pds.iter().all(|pd| pd.ipc_buffer == 0xff_ffff_f000));

    let channel = image.channels[0];
    assert_eq!((channel.a_pd, channel.a_id, channel.b_pd, channel.b_id), (0, 3, 1, 0));
    assert_eq!(channel.flags, channel::A_NOTIFIES | channel::B_CALLS);
    let irq = image.irqs[0];
    assert_eq!((irq.pd, irq.number, irq.id, irq.edge), (0, 33, 7, 1));

    let map = |pd, vaddr| *image.maps.iter().find(|map| map.pd == pd && map.vaddr == vaddr).unwrap();
    assert_eq!(map(0, elf::CODE).flags, flags::READ | flags::EXECUTE | flags::CACHED);
    assert_eq!(map(0, elf::DATA).flags, flags::READ | flags::WRITE | flags::CACHED);
    assert_eq!(map(0, 0xff_ffff_a000).bytes, 0x4000);
    assert_eq!(map(1, 0xff_ffff_c000).bytes, 0x2000);
    assert_eq!(map(0, 0xff_ffff_f000).flags, flags::READ | flags::WRITE | flags::CACHED);
    assert_eq!(map(0, 0x2000_0000).flags, flags::READ | flags::CACHED);
    assert_eq!(map(0, 0x2000_0000).paddr, map(1, 0x2000_0000).paddr);
    assert_eq!(
        (map(1, 0x2200_0000).paddr, map(1, 0x2200_0000).flags),
        (0x900_0000, flags::READ | flags::WRITE)
    );
    assert!(map(1, 0x4000_0000).paddr.is_multiple_of(0x20_0000));

    // All RAM that is mapped is filled, and nothing else is.
    let ram = board().memory.ram;
    for map in image.maps.iter().filter(|map| map.paddr >= ram.first) {
        assert!(image.loads.iter().any(|load| (load.paddr, load.bytes) == (map.paddr, map.bytes)));
    }
    assert!(image.loads.iter().all(|load| load.paddr >= ram.first));

    let data = |pd, vaddr| {
        let at = map(pd, vaddr).paddr;
        image.data(image.loads.iter().find(|load| load.paddr == at).unwrap())
    };
    assert_eq!(data(0, 0x2100_0000), fs::read("tests/refusals/base/page_and_more.bin").unwrap());
    let upper = Elf::good(&SETVARS);
    let symbol = |name: &str| {
        let first = (address(&upper, name) - elf::DATA) as usize;
        data(0, elf::DATA).get(first..).map_or(0, |rest| {
            let mut word = [0; 8];
            word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            u64::from_le_bytes(word)
        })
    };
    assert_eq!(symbol("microkit_name"), u64::from_le_bytes(*b"upper\0\0\0"));
    assert_eq!(symbol("microkit_passive"), 1);
    assert_eq!(symbol("microkit_irqs"), 1 << 7);
    assert_eq!(symbol("microkit_notifications"), 1 << 3);
    assert_eq!(symbol("microkit_pps"), 0);
    assert_eq!((symbol("shared"), symbol("shared_bytes")), (0x2000_0000, 0x3000));
    assert_eq!((symbol("filled_bytes"), symbol("irq_uart"), symbol("lower_channel")), (4097, 7, 3));
    assert_eq!(symbol("big_paddr"), map(1, 0x4000_0000).paddr);
}

#[test]
fn children_are_packed_with_their_parents() {
    let pd = |name: &str, more: &str, children: &str| {
        let program = r#"<program_image path="pd.elf" />"#;
        format!(r#"<protection_domain name="{name}" {more}>{program}{children}</protection_domain>"#)
    };
    let grandchild = pd("grandchild", r#"id="61""#, "");
    let first = pd("first", r#"id="7" setvar_id="first_child""#, &grandchild);
    let second = pd("second", r#"id="9""#, "");
    let system =
        system(&format!("<system>{}{}</system>", pd("root", "", &(first + &second)), pd("last", "", "")));
    let names: Vec<_> = system.pds.iter().map(|pd| &*pd.name).collect();
    assert_eq!(names, ["root", "first", "grandchild", "second", "last"]);
    assert_eq!(
        system.pds[0].setvars.iter().find(|var| var.symbol == "first_child").unwrap().number(),
        Some(7)
    );

    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("children.elf");
    fs::write(&file, Elf::good(&["first_child"]).bytes()).unwrap();
    let programs = HashMap::from([("pd.elf".to_string(), file)]);
    let packed = image::build(&system, &board(), embedded_image::config::DEBUG, &programs).unwrap();
    let words = words(&packed);
    let image = Image::parse(zerocopy::IntoBytes::as_bytes(&words[..])).unwrap();
    let parents: Vec<_> = image.pds.iter().map(|pd| (pd.parent, pd.child)).collect();
    assert_eq!(parents, [(NO_PARENT, 0), (0, 7), (1, 61), (0, 9), (NO_PARENT, 0)]);
}

/// What is refused when the program of `upper` is `elf`.
fn refusal(test: &str, elf: &Elf) -> String {
    build(test, elf, &Elf::good(&[])).unwrap_err()
}

#[test]
fn bad_programs_are_refused() {
    let good = || Elf::good(&SETVARS);
    let segment = |at, bytes| Segment { at, bytes, flags: 4 };
    let with = |extra| Elf { segments: [good().segments, vec![extra]].concat(), ..good() };
    let renamed = |from: &str| {
        let mut elf = good();
        elf.symbols.iter_mut().filter(|symbol| symbol.0 == from).for_each(|symbol| symbol.0 = "other".into());
        elf
    };
    let resized = |name: &str, bytes| {
        let mut elf = good();
        elf.symbols.iter_mut().filter(|symbol| symbol.0 == name).for_each(|symbol| symbol.2 = bytes);
        elf
    };
    let moved = |name: &str, at| {
        let mut elf = good();
        elf.symbols.iter_mut().filter(|symbol| symbol.0 == name).for_each(|symbol| symbol.1 = at);
        elf
    };
    let cases = [
        (
            "machine",
            Elf { machine: 62, ..good() },
            "7:9: 'upper.elf' is not an executable for AArch64 with fixed addresses",
        ),
        (
            "relocatable",
            Elf { kind: 3, ..good() },
            "7:9: 'upper.elf' is not an executable for AArch64 with fixed addresses",
        ),
        (
            "entry",
            Elf { entry: elf::DATA, ..good() },
            "7:9: 'upper.elf' begins at 0x202000, where it has no code",
        ),
        (
            "shared_page",
            with(segment(elf::DATA + 0x800, 8)),
            "7:9: 'upper.elf' has two segments in the page at 0x202000; align them to pages",
        ),
        (
            "in_map",
            with(segment(0x2000_2000, 8)),
            "8:9: 'shared' at 0x20000000 overlaps the segment of 'upper.elf' at 0x20002000 to 0x20002fff; map it \
             elsewhere",
        ),
        (
            "in_stack",
            with(segment(0xff_ffff_a000, 8)),
            "7:9: 'upper.elf' has a segment at 0xffffffa000 to 0xffffffafff, but the stack of 'upper' begins at \
             0xffffffa000; link it lower",
        ),
        (
            "wraps",
            with(segment(u64::MAX - 0xfff, 0x1000)),
            "7:9: 'upper.elf' has a segment at 0xfffffffffffff000 that passes the last address",
        ),
        (
            "no_own_symbol",
            renamed("microkit_pps"),
            "7:9: 'upper.elf' has no symbol 'microkit_pps'; link it with the protection domain runtime",
        ),
        (
            "no_setvar",
            renamed("big_paddr"),
            "10:17: 'upper.elf' has no symbol 'big_paddr'; correct the name or add it to the program",
        ),
        (
            "setvar_size",
            resized("irq_uart", 4),
            "11:45: the symbol 'irq_uart' of 'upper.elf' has 4 bytes, not 8; correct the name or add it to the \
             program",
        ),
        (
            "setvar_place",
            moved("irq_uart", 0x100),
            "11:45: the symbol 'irq_uart' of 'upper.elf' is not in memory that is loaded; correct the name or add \
             it to the program",
        ),
    ];
    for (test, elf, expected) in cases {
        assert_eq!(refusal(test, &elf), format!("system.xml:{expected}"), "{test}");
    }
}

#[test]
fn files_that_are_no_programs_are_refused() {
    for bytes in [&b""[..], b"#!/bin/sh\n", &Elf::good(&[]).bytes()[..100]] {
        assert!(
            image::elf::Program::parse(bytes, Arch::Aarch64)
                .unwrap_err()
                .starts_with("is not a 64-bit ELF file")
        );
    }
    let mut cut = Elf::good(&[]);
    cut.segments[0].bytes = 1 << 40;
    assert!(image::elf::Program::parse(&cut.bytes(), Arch::Aarch64).is_err());
}

#[test]
fn the_kernel_is_laid_out_before_the_image() {
    let board = board();
    let base = board.memory.kernel.first;
    let kernel = |end| Elf {
        entry: base,
        segments: vec![Segment { at: base, bytes: 0x1800, flags: 5 }],
        symbols: vec![("__image".into(), end, 0)],
        ..Elf::good(&[])
    };
    // The symbol is past the segment's end: it must be exactly there, as the linker script says.
    assert!(image::flatten(&kernel(base + 0x2000).bytes(), &board, b"image").is_err());
    let whole =
        Elf { segments: vec![Segment { at: base, bytes: 0x2000, flags: 5 }], ..kernel(base + 0x2000) };
    let flat = image::flatten(&whole.bytes(), &board, b"image").unwrap();
    assert_eq!((flat.len(), &flat[0x2000..]), (0x2005, &b"image"[..]));
    assert!(image::flatten(&whole.bytes(), &board, &vec![0; 0x1000_0000]).is_err());
    assert!(image::flatten(&Elf { symbols: vec![], ..whole }.bytes(), &board, b"image").is_err());
    assert!(image::flatten(&Elf::good(&[]).bytes(), &board, b"image").is_err());
}

#[test]
fn an_x86_image_says_where_interrupts_come_from_and_which_ports_are_whose() {
    let board = Board::read(&xtask::root(), board::X86_64).unwrap();
    let text = r#"<system>
        <protection_domain name="upper" priority="9">
            <program_image path="upper.elf" />
            <irq pin="21" trigger="edge" polarity="low" vector="41" id="7" />
            <irq pcidev="0:3.1" handle="2" vector="107" id="8" />
        </protection_domain>
        <protection_domain name="lower" priority="3">
            <program_image path="upper.elf" />
            <irq pin="4" vector="0" id="61" />
            <ioport id="5" addr="0x3f8" size="8" />
            <ioport id="0" addr="0xffff" size="1" />
        </protection_domain>
    </system>"#;
    let source = Source { name: "system.xml".into(), text: text.into() };
    let system = describe(&source, None, &board, vec![]).unwrap().system;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("x86");
    fs::create_dir_all(&folder).unwrap();
    let program = folder.join("upper.elf");
    fs::write(&program, Elf::x86(&[0xf4; 16]).bytes()).unwrap();
    let programs = HashMap::from([("upper.elf".to_string(), program)]);
    let packed = image::build(&system, &board, embedded_image::config::DEBUG, &programs).unwrap();
    let words = words(&packed);
    let image = Image::parse(zerocopy::IntoBytes::as_bytes(&words[..])).unwrap();
    assert_eq!(image.header.board, embedded_image::board::X86_64_GENERIC);
    assert_eq!(image.pds[0].ipc_buffer, 0x7fff_ffff_e000);
    let irqs: Vec<_> = image
        .irqs
        .iter()
        .map(|irq| (irq.pd, irq.number, irq.id, irq.source, [irq.edge, irq.low, irq.io_apic, irq.pin]))
        .collect();
    let expected = [
        (0, 41, 7, source::IO_APIC, [1, 1, 0, 21]),
        (0, 107, 8, source::MESSAGE, [1, 0, 0, 0]),
        (1, 0, 61, source::IO_APIC, [0, 0, 0, 4]),
    ];
    assert_eq!(irqs, expected);
    let ports: Vec<_> = image.io_ports.iter().map(|of| (of.pd, of.id, of.first, of.last)).collect();
    assert_eq!(ports, [(1, 5, 0x3f8, 0x3ff), (1, 0, 0xffff, 0xffff)]);
}

#[test]
fn an_x86_kernel_says_itself_where_it_is_loaded() {
    let board = Board::read(&xtask::root(), board::X86_64).unwrap();
    let at = |base| Elf {
        machine: 62,
        entry: base,
        segments: vec![Segment { at: base, bytes: 0x1000, flags: 5 }],
        symbols: vec![("__image".into(), base + 0x1000, 0)],
        ..Elf::good(&[])
    };
    let flat = image::flatten(&at(0x10_0000).bytes(), &board, b"image").unwrap();
    assert_eq!((flat.len(), &flat[0x1000..]), (0x1005, &b"image"[..]));
    let outside = image::flatten(&at(board.memory.kernel.last + 1).bytes(), &board, b"image").unwrap_err();
    assert!(outside.to_string().contains("outside its memory"), "{outside}");
    let large = vec![0; board.memory.kernel.last as usize - 0x10_0000];
    assert!(image::flatten(&at(0x10_0000).bytes(), &board, &large).is_err());
}
