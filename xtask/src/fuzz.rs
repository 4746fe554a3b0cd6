//! `cargo xtask fuzz`: the programs of fuzz/, with libFuzzer, for so many seconds each.
//!
//! Any compiler that builds the project instruments them, as the pass is LLVM's own; libFuzzer comes as the source of
//! a crate, so that a C++ compiler is all that it takes beyond.

use std::{
    env, fs, iter,
    num::NonZero,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use anyhow::{Context, Error, Result, bail, ensure};

use crate::{relative, target_folder};

/// What instruments the code under test: counters of edges, and what is compared.
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg",
    "fuzzing",
];

/// Seconds after which one input hangs.
const HANG_S: u32 = 20;

/// Bytes of the longest input that is made.
const LONGEST: u32 = 1024;

/// Lines of a program's output that are shown when it finds something.
const SHOWN: usize = 12;

/// How it went.
#[derive(Debug)]
pub enum Outcome {
    /// The programs ran; whether they found nothing.
    Ran(bool),
    /// This machine cannot; why.
    Cannot(String),
}

/// What to run.
#[derive(Debug)]
pub struct Fuzz {
    /// The repository.
    pub root: PathBuf,
    /// The target; all of them if `None`.
    pub target: Option<String>,
    /// How long each runs.
    pub time: Duration,
    /// Where the random inputs begin; anywhere if `None`.
    pub seed: Option<u32>,
}

impl Fuzz {
    /// Builds and runs the programs.
    ///
    /// # Errors
    /// There is no such target, or they do not build.
    pub fn run(&self) -> Result<Outcome> {
        let all = targets(&self.root)?;
        let chosen: Vec<&str> = match &self.target {
            Some(target) if all.contains(target) => vec![target],
            Some(target) => bail!("no fuzz target '{target}': there are {}", all.join(", ")),
            None => all.iter().map(|target| &**target).collect(),
        };
        if let Some(why) = self.obstacle()? {
            return Ok(Outcome::Cannot(why));
        }
        let folder = target_folder(&self.root).join("fuzz");
        let programs = self.build(&chosen, &folder)?;
        let verdicts = self.side_by_side(&chosen, &programs, &folder);
        let failed =
            verdicts.into_iter().try_fold(0, |failed, good| Ok::<_, Error>(failed + usize::from(!good?)))?;
        println!("{} passed, {failed} failed", chosen.len() - failed);
        Ok(Outcome::Ran(failed == 0))
    }

    /// What this machine lacks.
    ///
    /// # Errors
    /// The lock file does not fit the crates: that is the repository's fault.
    fn obstacle(&self) -> Result<Option<String>> {
        let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
        let version = Command::new(&compiler).arg("--version").output();
        if !version.is_ok_and(|output| output.status.success()) {
            let compiler = compiler.display();
            return Ok(Some(format!(
                "no C++ compiler ({compiler}) to build libFuzzer with; `make fuzz` installs one"
            )));
        }
        let fetch = cargo().args(["fetch", "--locked"]).current_dir(self.root.join("fuzz")).output();
        let fetch = fetch.context("cannot run cargo")?;
        if fetch.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&fetch.stderr);
        let line = text.lines().find(|line| line.starts_with("error")).unwrap_or("cargo fetch failed");
        ensure!(
            !line.contains("--locked"),
            "fuzz/Cargo.lock does not fit the crates any longer: run `cargo update --workspace` in fuzz/"
        );
        Ok(Some(format!("the crates of fuzz/Cargo.lock cannot be fetched: {line}")))
    }

    /// Builds the programs of `targets`; the folder that they are in.
    fn build(&self, targets: &[&str], folder: &Path) -> Result<PathBuf> {
        let host = host()?;
        let mut cargo = cargo();
        cargo.current_dir(self.root.join("fuzz")).env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
        // With a target, as build scripts and macros are not to be instrumented.
        cargo
            .args(["build", "--quiet", "--release", "--locked", "--target", &host, "--target-dir"])
            .arg(folder);
        for target in targets {
            cargo.args(["--bin", target]);
        }
        let status = cargo.status().context("cannot run cargo")?;
        ensure!(status.success(), "the fuzz targets do not build");
        Ok(folder.join(host).join("release"))
    }

    /// Runs the programs of `targets`, as many at a time as there are processors; for each, whether it found
    /// nothing.
    fn side_by_side(&self, targets: &[&str], programs: &Path, folder: &Path) -> Vec<Result<bool>> {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let next = AtomicUsize::new(0);
        let worker = || {
            let take = || targets.get(next.fetch_add(1, Ordering::Relaxed));
            iter::from_fn(take).map(|target| self.one(target, &programs.join(target), folder)).collect()
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..processors).map(|_| scope.spawn(worker)).collect();
            let verdicts =
                |worker: ScopedJoinHandle<'_, Vec<_>>| worker.join().expect("a worker does not panic");
            workers.into_iter().flat_map(verdicts).collect()
        })
    }

    /// Runs one program; whether it found nothing.
    fn one(&self, target: &str, program: &Path, folder: &Path) -> Result<bool> {
        let corpus = folder.join("corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
        let found = folder.join(format!("{target}-"));
        let mut command = Command::new(program);
        command.args([
            format!("-max_total_time={}", self.time.as_secs().max(1)),
            // 0 is libFuzzer's anywhere.
            format!("-seed={}", self.seed.unwrap_or(0)),
            format!("-timeout={HANG_S}"),
            format!("-max_len={LONGEST}"),
            "-len_control=0".into(),
            "-print_final_stats=1".into(),
            format!("-artifact_prefix={}", found.display()),
        ]);
        // What is new goes to the first folder; the seeds stay as they are.
        command.arg(&corpus).arg(self.root.join("fuzz/corpus").join(target));
        let output = command.stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot run {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stderr);
        let log = folder.join(format!("{target}.log"));
        fs::write(&log, &*text).with_context(|| format!("cannot write {}", log.display()))?;
        if output.status.success() {
            let figure = |name| figure(&text, name).unwrap_or("?");
            let (inputs, second) = (figure("number_of_executed_units"), figure("average_exec_per_sec"));
            println!("ok {target}: {inputs} inputs, {second} a second");
            return Ok(true);
        }
        let shown: String = told(&text).map(|line| format!("  {line}\n")).collect();
        println!(
            "{shown}FAIL {target}: {}; the input is in a file {}..., all output in {}; once it is mended, keep the \
             input in fuzz/corpus/{target}",
            output.status,
            relative(&found).display(),
            relative(&log).display()
        );
        Ok(false)
    }
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The names of the targets: of the files in fuzz/fuzz_targets.
fn targets(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut targets = vec![];
    for entry in entries {
        let path = entry?.path();
        targets.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    targets.sort();
    Ok(targets)
}

/// What the compiler runs on.
fn host() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--version", "--verbose"]).output().context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_string).context("rustc does not say what it runs on")
}

/// What a program that found something says first: the panic, or what libFuzzer saw.
fn told(text: &str) -> impl Iterator<Item = &str> {
    let before = |line: &&str| !line.contains("panicked at") && !line.contains("ERROR: libFuzzer");
    text.lines().skip_while(before).take(SHOWN)
}

/// A figure of libFuzzer's final ones.
fn figure<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name))?;
    line.strip_prefix(':').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_by_their_whole_names() {
        let text = "#5 DONE\nstat::number_of_executed_units: 12345\nstat::average_exec_per_sec:     67\n";
        assert_eq!(figure(text, "number_of_executed_units"), Some("12345"));
        assert_eq!(figure(text, "average_exec_per_sec"), Some("67"));
        assert_eq!(figure(text, "average"), None);
    }

    #[test]
    fn a_panic_is_shown_from_its_first_line() {
        let text =
            "#5 NEW\nthread 'x' panicked at a.rs:1:1:\nbroken\n==1== ERROR: libFuzzer: deadly signal\n";
        assert_eq!(told(text).take(2).collect::<Vec<_>>(), ["thread 'x' panicked at a.rs:1:1:", "broken"]);
        assert_eq!(told("#5 NEW\n==1== ERROR: libFuzzer: timeout\n").count(), 1);
    }

    #[test]
    fn every_target_has_seeds() {
        let targets = targets(&crate::root()).unwrap();
        assert!(targets.contains(&"server".to_string()), "{targets:?}");
        for target in targets {
            let seeds = fs::read_dir(crate::root().join("fuzz/corpus").join(&target)).unwrap();
            assert!(seeds.count() > 0, "{target}");
        }
    }

    #[test]
    fn a_target_that_there_is_not_is_named() {
        let (target, time) = (Some("nothing".into()), Duration::from_secs(1));
        let fuzz = Fuzz { root: crate::root(), target, time, seed: None };
        let error = fuzz.run().unwrap_err().to_string();
        assert!(error.starts_with("no fuzz target 'nothing': there are builder, "), "{error}");
    }
}
