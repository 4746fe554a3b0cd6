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
    board::Board,
    build,
    builder::{Source, describe},
    image, qemu,
};

/// How long the kernel may take to say what is waited for.
const DEADLINE: Duration = Duration::from_secs(60);

/// Boots `system` on `board` with these `programs`, by the names that it has for them, until the kernel has said that as
/// many PDs have stopped as there are: these lines.
fn boot(test: &str, board: &str, system: &str, programs: &[(&str, Elf)]) -> Vec<String> {
    let root = xtask::root();
    let board = Board::read(&root, board).unwrap();
    let source = Source { name: "system.xml".into(), text: system.into() };
    let system = describe(&source, None, &board, vec![]).unwrap().system;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&folder).unwrap();
    let programs = programs.iter().map(|(name, program)| {
        let file = folder.join(name);
        fs::write(&file, program.bytes()).unwrap();
        (name.to_string(), file)
    });
    let packed = image::build(&system, &board, embedded_image::config::DEBUG, &programs.collect()).unwrap();
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

const AARCH64: &str = "qemu_virt_aarch64";
const X86: &str = "x86_64_generic";

/// `brk #0`, and `int3`.
const ARM_BREAKPOINT: u32 = 0xd420_0000;
const X86_BREAKPOINT: u8 = 0xcc;

/// `fmov d0, xzr`, and `movaps xmm0, xmm0`.
const ARM_FLOAT: u32 = 0x9e67_03e0;
const X86_FLOAT: [u8; 3] = [0x0f, 0x28, 0xc0];

#[test]
fn a_protection_domain_without_floating_point_is_stopped_where_it_uses_it() {
    let system = r#"<system>
        <protection_domain name="barred" priority="9" fpu="false"><program_image path="a.elf" /></protection_domain>
        <protection_domain name="free" priority="3"><program_image path="a.elf" /></protection_domain>
    </system>"#;
    let arm = Elf::arm(&[ARM_FLOAT, ARM_BREAKPOINT]);
    let x86 = Elf::x86(&[&X86_FLOAT[..], &[X86_BREAKPOINT]].concat());
    for (board, program) in [(AARCH64, arm), (X86, x86)] {
        let stopped = boot(&format!("float-{board}"), board, system, &[("a.elf", program)]);
        assert_eq!(stopped.len(), 2, "{stopped:?}");
        assert!(
            stopped[0].contains("barred") && stopped[0].contains("floating-point instruction"),
            "{stopped:?}"
        );
        assert!(stopped[1].contains("free") && stopped[1].contains("breakpoint instruction"), "{stopped:?}");
    }
}

/// Looks at the counter until half a second has passed, then stops by an undefined instruction.
const ARM_SPINS: [u32; 6] = [
    0xd53b_e020, // mrs x0, cntpct_el0
    0xd53b_e021, // 1: mrs x1, cntpct_el0
    0xcb00_0021, // sub x1, x1, x0
    0xd359_fc21, // lsr x1, x1, #25
    0xb4ff_ffa1, // cbz x1, 1b
    0,
];
/// The same until 2^31 ticks have passed.
const X86_SPINS: [u8; 32] = [
    0x0f, 0x31, // rdtsc
    0x48, 0xc1, 0xe2, 0x20, // shl rdx, 32
    0x48, 0x09, 0xd0, // or rax, rdx
    0x48, 0x89, 0xc3, // mov rbx, rax
    0x0f, 0x31, // 1: rdtsc
    0x48, 0xc1, 0xe2, 0x20, // shl rdx, 32
    0x48, 0x09, 0xd0, // or rax, rdx
    0x48, 0x29, 0xd8, // sub rax, rbx
    0x48, 0xc1, 0xe8, 0x1f, // shr rax, 31
    0x74, 0xee, // jz 1b
    0x0f, 0x0b, // ud2
];

#[test]
fn a_budget_ends_where_others_of_the_priority_wait() {
    let system = r#"<system>
        <protection_domain name="first" priority="9"><program_image path="spins.elf" /></protection_domain>
        <protection_domain name="second" priority="9"><program_image path="stops.elf" /></protection_domain>
    </system>"#;
    for (board, spins, stops) in [
        (AARCH64, Elf::arm(&ARM_SPINS), Elf::arm(&[ARM_BREAKPOINT; 4])),
        (X86, Elf::x86(&X86_SPINS), Elf::x86(&[X86_BREAKPOINT; 16])),
    ] {
        let programs = [("spins.elf", spins), ("stops.elf", stops)];
        let stopped = boot(&format!("budget-{board}"), board, system, &programs);
        assert_eq!(stopped.len(), 2, "{stopped:?}");
        assert!(stopped[0].contains("second") && stopped[0].contains("breakpoint"), "{stopped:?}");
        assert!(stopped[1].contains("first") && stopped[1].contains("undefined instruction"), "{stopped:?}");
    }
}

/// What x86-64 programs may not do: the code, and how the kernel's line begins and ends.
const FORBIDDEN: [(&str, &[u8], &str); 16] = [
    (
        "mov rax, 0xffffffff80100000; mov rax, [rax]",
        &[0x48, 0xc7, 0xc0, 0, 0, 0x10, 0x80, 0x48, 0x8b, 0],
        "read fault (not permitted) at address 0xffffffff80100000, pc 0x200007, vector 14, error code 0x5",
    ),
    (
        "mov eax, 0xfee00000; mov eax, [rax]",
        &[0xb8, 0, 0, 0xe0, 0xfe, 0x8b, 0],
        "read fault (not mapped) at address 0xfee00000, pc 0x200005, vector 14, error code 0x4",
    ),
    (
        "mov eax, 0x202000; jmp rax",
        &[0xb8, 0, 0x20, 0x20, 0, 0xff, 0xe0],
        "instruction fetch fault (not permitted) at address 0x202000, pc 0x202000, vector 14, error code 0x15",
    ),
    (
        "mov eax, 0x200000; mov byte ptr [rax], 1",
        &[0xb8, 0, 0, 0x20, 0, 0xc6, 0, 1],
        "write fault (not permitted) at address 0x200000, pc 0x200005, vector 14, error code 0x7",
    ),
    ("in al, 0x60", &[0xe4, 0x60], GENERAL),
    ("hlt", &[0xf4], GENERAL),
    ("cli", &[0xfa], GENERAL),
    ("mov rax, cr3", &[0x0f, 0x20, 0xd8], GENERAL),
    ("mov ecx, 0xc0000082; wrmsr", &[0xb9, 0x82, 0, 0, 0xc0, 0x0f, 0x30], GENERAL),
    ("int 0x80", &[0xcd, 0x80], GENERAL),
    ("mov rax, 0x800000000000; jmp rax", &[0x48, 0xb8, 0, 0, 0, 0, 0, 0x80, 0, 0, 0xff, 0xe0], GENERAL),
    // Flags that the kernel must not run with: single steps, checks of alignment.
    (
        "pushf; or dword ptr [rsp], 0x40100; popf; nop",
        &[0x9c, 0x81, 0x0c, 0x24, 0, 1, 4, 0, 0x9d, 0x90, 0x90],
        "debug exception at address 0x20000a, pc 0x20000a, vector 1, error code 0x0",
    ),
    (
        "mov rax, 0x800000000000; mov rsp, rax; pop rax",
        &[0x48, 0xb8, 0, 0, 0, 0, 0, 0x80, 0, 0, 0x48, 0x89, 0xc4, 0x58],
        GENERAL,
    ),
    (
        "the same stack pointer; mov edx, 5; syscall",
        &[0x48, 0xb8, 0, 0, 0, 0, 0, 0x80, 0, 0, 0x48, 0x89, 0xc4, 0xba, 5, 0, 0, 0, 0x0f, 5],
        "unknown system call 5 at address 0x200012, pc 0x200012",
    ),
    // A segment base that no processor has, and QEMU takes: it is kept while the others run.
    (
        "mov rax, 1 << 63; wrfsbase rax; mov rdx, -11; syscall; int3",
        &[
            0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xf3, 0x48, 0x0f, 0xae, 0xd0, 0x48, 0xc7, 0xc2, 0xf5,
            0xff, 0xff, 0xff, 0x0f, 5, 0xcc,
        ],
        "breakpoint instruction at address 0x200019",
    ),
    (
        "ud2",
        &[0x0f, 0x0b],
        "undefined instruction at address 0x200000, pc 0x200000, vector 6, error code 0x0",
    ),
];
const GENERAL: &str = "general protection fault";

#[test]
fn on_x86_a_protection_domain_that_does_what_it_may_not_stops_alone() {
    let (mut pds, mut programs, mut names) = (String::new(), vec![], vec![]);
    for index in 0..FORBIDDEN.len() {
        names.push(format!("{index:02}.elf"));
        pds += &format!(
            r#"<protection_domain name="pd{index:02}" priority="9"><program_image path="{index:02}.elf" /></protection_domain>"#
        );
    }
    for (name, (_, code, _)) in names.iter().zip(FORBIDDEN) {
        programs.push((&**name, Elf::x86(code)));
    }
    let stopped = boot("forbidden", X86, &format!("<system>{pds}</system>"), &programs);
    for (index, (code, _, expected)) in FORBIDDEN.iter().enumerate() {
        let begin = format!("kernel: PD 'pd{index:02}' stopped: {expected}");
        assert!(stopped.iter().any(|line| line.starts_with(&begin)), "{code}: no {begin:?} in {stopped:#?}");
    }
}

/// Loads XMM3 with R14 and the x87 stack with 1, yields, compares, 1,000 times; then `int3`, or `ud2` if they differ.
const KEEPS_FLOAT: [u8; 37] = [
    0xbb, 0xe8, 3, 0, 0, // mov ebx, 1000
    0x66, 0x49, 0x0f, 0x6e, 0xde, // 1: movq xmm3, r14
    0xd9, 0xe8, // fld1
    0x48, 0xc7, 0xc2, 0xf5, 0xff, 0xff, 0xff, // mov rdx, -11
    0x0f, 5, // syscall
    0x66, 0x48, 0x0f, 0x7e, 0xd8, // movq rax, xmm3
    0x4c, 0x39, 0xf0, // cmp rax, r14
    0x75, 7, // jne 2f
    0xdd, 0xd8, // fstp st(0)
    0xff, 0xcb, // dec ebx
    0x75, 0xe0, // jnz 1b
];

#[test]
fn on_x86_each_protection_domain_keeps_its_floating_point_registers() {
    let program = |mark: u8| {
        // mov r14d, mark
        let code = [&[0x41, 0xbe, mark, 0, 0, 0], &KEEPS_FLOAT[..], &[0xcc, 0x0f, 0x0b]].concat();
        Elf::x86(&code)
    };
    let system = r#"<system>
        <protection_domain name="one" priority="9"><program_image path="one.elf" /></protection_domain>
        <protection_domain name="two" priority="9"><program_image path="two.elf" /></protection_domain>
    </system>"#;
    let programs = [("one.elf", program(1)), ("two.elf", program(2))];
    let stopped = boot("float-kept", X86, system, &programs);
    assert_eq!(stopped.len(), 2, "{stopped:?}");
    assert!(stopped.iter().all(|line| line.contains("breakpoint instruction")), "{stopped:?}");
}
