//! Running an image in QEMU.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    board::Board,
    toolchain,
    transcript::{End, Judge, Progress, Verdict},
};

/// Lines that are read ahead of their judgement.
const LINES_AHEAD: usize = 1024;

/// The IOMMU of a machine that is to have none.
pub const NO_IOMMU: &str = "none";

/// The exit status of a command that was interrupted by a signal.
const INTERRUPTED: i32 = 130;

/// A run of an image.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    /// The board.
    pub board: &'a Board,
    /// The image.
    pub image: &'a Path,
    /// The kernel, where it is no part of the image.
    pub kernel: Option<&'a Path>,
    /// The IOMMU of QEMU's machine, instead of the board's.
    pub iommu: Option<&'a str>,
    /// Whether virtual time counts instructions.
    pub icount: bool,
    /// How long the run may take.
    pub timeout: Duration,
    /// The protection domains that must be done.
    pub awaited: &'a [String],
}

/// The latest guest, which a signal ends.
static LATEST: Mutex<Option<Arc<Mutex<Child>>>> = Mutex::new(None);

/// QEMU, killed when dropped.
struct Guest(Arc<Mutex<Child>>);

impl Guest {
    fn kill(child: &mut Child) -> Option<ExitStatus> {
        // Killing fails only if QEMU has ended; then waiting returns at once.
        let _ = child.kill();
        child.wait().ok()
    }

    /// Has a signal to this process end the guest first.
    fn end_when_interrupted(&self) -> Result<()> {
        let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.replace(self.0.clone()).is_some() {
            // The signals are caught since the first guest.
            return Ok(());
        }
        let end = || {
            let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(child) = &*latest {
                // Held to the end, so that nobody judges a run that is being interrupted.
                let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
                Self::kill(&mut child);
                process::exit(INTERRUPTED);
            }
        };
        ctrlc::set_handler(end).context("cannot catch signals")
    }

    fn end(&self) -> Option<ExitStatus> {
        Self::kill(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.end();
    }
}

impl Run<'_> {
    /// QEMU's command line.
    pub fn command(&self) -> Result<Command> {
        let qemu = &self.board.qemu;
        let mut command = Command::new(toolchain::qemu(&qemu.program)?);
        let iommu = self.iommu.unwrap_or(&qemu.iommu);
        // In QEMU's options, a comma in a value is doubled.
        let shown = |path: &Path| path.display().to_string().replace(',', ",,");
        let (image, kernel) = (shown(self.image), self.kernel.map(shown).unwrap_or_default());
        let first = if iommu == NO_IOMMU { &[] } else { &*qemu.iommu_args };
        let boots = if self.kernel.is_some() { &qemu.sel4_args } else { &qemu.embedded_args };
        command.args(first.iter().chain(&qemu.args).chain(boots).map(|arg| {
            arg.replace("{iommu}", iommu).replace("{image}", &image).replace("{kernel}", &kernel)
        }));
        if self.icount {
            command.args(["-icount", "shift=0"]);
        }
        Ok(command)
    }

    /// Runs the image, shows its lines and judges them. QEMU does not outlive this.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn run(&self) -> Result<Verdict> {
        self.watch(|_| ())
    }

    /// Runs the image as [`Run::run`] does, and shows each line to `see` too.
    ///
    /// # Errors
    /// As [`Run::run`].
    pub fn watch(&self, mut see: impl FnMut(&str)) -> Result<Verdict> {
        let mut command = self.command()?;
        let start = Instant::now();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {}", self.board.qemu.program))?;
        let output = child.stdout.take().context("QEMU has no output")?;
        let guest = Guest(Arc::new(Mutex::new(child)));
        guest.end_when_interrupted()?;
        let lines = read_lines(output);
        let mut judge = Judge::new(self.awaited);
        let end = loop {
            match lines.recv_timeout(self.timeout.saturating_sub(start.elapsed())) {
                Ok(line) => {
                    println!("{line}");
                    see(&line);
                    if judge.line(&line) == Progress::Over {
                        break End::Over;
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => break End::TimedOut(self.timeout),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let status = guest.end().map(|status| status.to_string());
                    break End::Exited(status.unwrap_or_else(|| "no status".into()));
                }
            }
        };
        Ok(judge.verdict(&end))
    }
}

/// Reads lines, of whatever bytes, in a thread of their own.
fn read_lines(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(LINES_AHEAD);
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = vec![];
        while output.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_string();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}
