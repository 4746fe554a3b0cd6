//! Images for seL4: what the command refuses and, where `MICROKIT_SDK` names an SDK, the default system and the example
//! of docs/microkit.md booted, on both kernels and all boards.

use std::{
    env,
    io::{self, Write},
    process::{Command, Output},
};

/// The boards, and whether the example's system description is for them.
const BOARDS: [(&str, bool); 3] =
    [("qemu_virt_aarch64", true), ("qemu_virt_aarch64_el1", true), ("x86_64_generic", false)];

/// Seconds for a boot: these machines may be slow and busy.
const TIMEOUT: &str = "300";

/// `cargo xtask`, in the repository and without the variables that choose an image.
fn xtask(arguments: &[&str]) -> Command {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.args(arguments).current_dir(xtask::root());
    for variable in ["BOARD", "CONFIG", "RUNTIME", "MICROKIT_SDK", "IOMMU"] {
        xtask.env_remove(variable);
    }
    xtask
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn refusal(arguments: &[&str]) -> String {
    let output = xtask(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}: {}", text(&output));
    text(&output)
}

#[test]
fn an_image_for_sel4_takes_an_sdk() {
    for command in ["image", "run-image"] {
        let said = refusal(&[command]);
        assert!(
            said.starts_with("error: an image for seL4 takes Microkit's SDK: set MICROKIT_SDK"),
            "{said}"
        );
    }
    let said = refusal(&["image", "--sdk", "docs"]);
    assert!(said.starts_with("error: MICROKIT_SDK names 'docs', which has no file VERSION: "), "{said}");
}

#[test]
fn a_board_a_configuration_and_a_runtime_are_looked_up() {
    let said = refusal(&["image", "--board", "toaster"]);
    assert!(said.starts_with("error: there is no board 'toaster': "), "{said}");
    let said = refusal(&["image", "--config", "fast"]);
    assert!(said.starts_with("error: no configuration 'fast': debug, release or benchmark"), "{said}");
    let said = refusal(&["image", "--runtime", "other"]);
    assert!(said.contains("[possible values: rust-sel4, embedded]"), "{said}");
}

#[test]
fn a_program_that_is_nowhere_is_refused() {
    let description = ["run", "--system", "xtask/tests/systems/unknown.xml"];
    let said = refusal(&description);
    let expected = "error: xtask/tests/systems/unknown.xml: the project has no program 'unknown.elf', and ";
    assert_eq!(said.trim_end(), format!("{expected}--programs names no folder that has it"));
    let said = refusal(&[&description[..], &["--programs", "docs"]].concat());
    assert_eq!(said.trim_end(), format!("{expected}docs does not have it"));
}

#[test]
fn both_runtimes_boot_on_both_kernels_and_all_boards() {
    let sdk = env::var_os("MICROKIT_SDK").filter(|sdk| !sdk.is_empty());
    let Some(sdk) = sdk else { return skip("images for seL4: not booted, MICROKIT_SDK names no SDK") };
    let mut runtimes = vec!["embedded"];
    if env::var_os("RUST_SEL4").is_some() {
        runtimes.push("rust-sel4");
    } else {
        skip("rust-sel4's runtime: not booted, RUST_SEL4 names no repository");
    }
    let mut transcripts = vec![];
    for (board, has_example) in BOARDS {
        for runtime in &runtimes {
            // What seL4's debug kernel prints comes in between the lines.
            let of = ["--board", board, "--config", "release", "--timeout", TIMEOUT];
            let sel4 = boots(xtask(&["run-image", "--runtime", runtime]).args(of).env("MICROKIT_SDK", &sdk));
            let programs = format!("sel4/{board}-release-{runtime}.files");
            let programs = xtask::target_folder(&xtask::root()).join(programs);
            let embedded = boots(xtask(&["run", "--programs"]).arg(programs).args(of));
            for (kernel, checks) in [("seL4", sel4), ("the embedded kernel", embedded)] {
                transcripts.push((format!("{board}, {runtime}, {kernel}"), checks));
            }
            if !has_example {
                continue;
            }
            let example = format!("sel4/one-driver-{board}-release-{runtime}.img");
            let example = xtask::target_folder(&xtask::root()).join(example);
            let system = ["--system", "examples/one-driver/system.xml"];
            let policy = ["--policy", "examples/one-driver/policy.toml", "--output"];
            let mut run = xtask(&["run-image", "--runtime", runtime]);
            boots(run.args(of).args(system).args(policy).arg(example).env("MICROKIT_SDK", &sdk));
        }
    }
    let (first, checks) = &transcripts[0];
    for (other, others) in &transcripts[1..] {
        assert_eq!(checks, others, "{first} and {other} print different checks");
    }
}

/// The checks that were printed, but for addresses, and in alphabetical order: two drivers print at once.
fn boots(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{command:?}: {text}");
    let checks = text.lines().filter(|line| line.starts_with("ok ") || line.starts_with("done "));
    let mut checks: Vec<_> = checks.map(without_addresses).collect();
    checks.sort();
    checks
}

/// `line` with `0x` for each number that begins so: memory regions lie where each kernel has room.
fn without_addresses(line: &str) -> String {
    let mut pieces = line.split("0x");
    let first = pieces.next().unwrap_or_default().to_string();
    let rest = pieces.map(|piece| piece.trim_start_matches(|digit: char| digit.is_ascii_hexdigit()));
    rest.fold(first, |line, piece| line + "0x" + piece)
}

/// Says that something is not tested, which a test that passes cannot by `println`.
fn skip(what: &str) {
    let mut uncaptured = io::stderr();
    writeln!(uncaptured, "{what}").unwrap();
}
