//! What the embedded kernel does with programs that no compiler makes.

mod elf;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use elf::Elf;
use xtask::{
    board::{self, Board},
    build,
    builder::{Source, describe},
    image, qemu,
};

/// How long the kernel may take to say what is waited for.
const DEADLINE: Duration = Duration::from_secs(60);

/// `fmov d0, xzr`.
const USE_FLOAT: u32 = 0x9e67_03e0;
/// `brk #0`.
const BREAKPOINT: u32 = 0xd420_0000;

/// Boots `system`, whose program images are all `program`, until the kernel has said that as many PDs have stopped
/// as there are: these lines.
fn boot(test: &str, system: &str, program: &Elf) -> Vec<String> {
    let root = xtask::root();
    let board = Board::read(&root, board::DEFAULT).unwrap();
    let source = Source { name: "system.xml".into(), text: system.into() };
    let system = describe(&source, None, &board, vec![]).unwrap().system;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("program.elf");
    fs::write(&file, program.bytes()).unwrap();
    let programs = system.pds.iter().map(|pd| (pd.program.clone(), file.clone())).collect();
    let packed = image::build(&system, &board, embedded_image::config::DEBUG, &programs).unwrap();
    let kernel = build::build_kernel(&root, board.arch).unwrap();
    let whole = folder.join("image.bin");
    let flat = image::flatten(&fs::read(kernel).unwrap(), &board, &packed).unwrap();
    fs::write(&whole, flat).unwrap();
    let run = qemu::Run {
        board: &board,
        image: &whole,
        kernel: None,
        iommu: None,
        icount: false,
        timeout: DEADLINE,
        awaited: &[],
    };
    let mut child = run.command().unwrap().stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let end = Instant::now() + DEADLINE;
    let lines = output.lines().map_while(Result::ok).take_while(|_| Instant::now() < end);
    let stopped = lines.filter(|line| line.contains("stopped")).take(system.pds.len()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    stopped
}

#[test]
fn a_protection_domain_without_floating_point_is_stopped_where_it_uses_it() {
    let system = r#"<system>
        <protection_domain name="barred" priority="9" fpu="false"><program_image path="a.elf" /></protection_domain>
        <protection_domain name="free" priority="3"><program_image path="a.elf" /></protection_domain>
    </system>"#;
    let program = Elf { code: vec![USE_FLOAT, BREAKPOINT], ..Elf::good(&[]) };
    let stopped = boot("float", system, &program);
    assert_eq!(stopped.len(), 2, "{stopped:?}");
    assert!(
        stopped[0].contains("barred") && stopped[0].contains("floating-point instruction"),
        "{stopped:?}"
    );
    assert!(stopped[1].contains("free") && stopped[1].contains("breakpoint instruction"), "{stopped:?}");
}
