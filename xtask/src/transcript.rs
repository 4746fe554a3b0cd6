//! Judging a run by the lines that it prints.
//!
//! A check is a line `ok PD: ...` or `FAIL PD: ...`; a driver ends with `done PD: N checks`. A protection domain
//! that stops or panics ends the run. What is wrong with the run as a whole counts as failed checks, so that the
//! last line and the exit status never disagree.

use std::{collections::BTreeMap, time::Duration};

/// What errors of Microkit's monitor begin with. It may follow what a protection domain was about to print.
const MONITOR: &str = "MON|ERROR: ";

/// What no run survives: a panic of a protection domain or of Microkit's initialiser, an error of its loader, the
/// end of seL4.
const ENDS: [&str; 3] = ["panicked", "LDR|ERROR", "halting..."];

/// What a line means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more to wait for.
    Running,
    /// All that was waited for has come, or never will.
    Over,
}

/// How a run ended that was not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The judge said so.
    Over,
    /// The time was up.
    TimedOut(Duration),
    /// QEMU ended by itself; its exit status.
    Exited(String),
}

/// What a run amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Checks that passed.
    pub passed: u64,
    /// Checks that failed, and the complaints.
    pub failed: u64,
    /// What is wrong with the run as a whole.
    pub complaints: Vec<String>,
}

/// Follows a run line by line.
#[derive(Debug, Clone)]
pub struct Judge {
    awaited: Vec<String>,
    tallies: BTreeMap<String, Tally>,
    stopped: Option<String>,
    /// The protection domain whose fault Microkit's monitor is reporting.
    faulting: Option<String>,
    last_line: String,
}

#[derive(Debug, Clone, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    announced: Option<u64>,
}

impl Judge {
    /// Judges a run that is over when each of the protection domains `awaited` is done.
    pub fn new(awaited: &[String]) -> Self {
        Self {
            awaited: awaited.to_vec(),
            tallies: BTreeMap::new(),
            stopped: None,
            faulting: None,
            last_line: String::new(),
        }
    }

    /// Takes in a line.
    pub fn line(&mut self, line: &str) -> Progress {
        let line = line.trim_end();
        if !line.is_empty() {
            self.last_line = line.to_string();
        }
        if let Some((_, report)) = line.split_once(MONITOR) {
            return self.monitor(report);
        }
        let of_embedded = line.starts_with("kernel: PD '") && line.contains(" stopped");
        if of_embedded || ENDS.iter().any(|end| line.contains(end)) {
            self.stopped = Some(line.to_string());
            return Progress::Over;
        }
        match line.split_once(' ').and_then(|(word, rest)| Some((word, rest.split_once(": ")?))) {
            Some(("ok", (pd, _))) => self.tally(pd).passed += 1,
            Some(("FAIL", (pd, _))) => self.tally(pd).failed += 1,
            Some(("done", (pd, rest))) => {
                if let Some(count) = rest.strip_suffix(" checks").and_then(|count| count.parse().ok()) {
                    self.tally(pd).announced = Some(count);
                }
            }
            _ => {}
        }
        if self.missing().is_empty() { Progress::Over } else { Progress::Running }
    }

    /// Takes in an error that Microkit's monitor reports. A fault has several lines: that a message came, whose
    /// fault it is, then what happened.
    fn monitor(&mut self, report: &str) -> Progress {
        if report.starts_with("received message") {
            return Progress::Running;
        }
        if let Some(pd) = report.strip_prefix("faulting PD: ") {
            self.faulting = Some(pd.to_string());
            return Progress::Running;
        }
        self.stopped = Some(match &self.faulting {
            Some(pd) => format!("PD '{pd}' stopped: {report}"),
            None => format!("{MONITOR}{report}"),
        });
        Progress::Over
    }

    fn tally(&mut self, pd: &str) -> &mut Tally {
        self.tallies.entry(pd.to_string()).or_default()
    }

    /// The awaited protection domains that are not done.
    fn missing(&self) -> Vec<&str> {
        let done = |pd: &str| self.tallies.get(pd).is_some_and(|tally| tally.announced.is_some());
        self.awaited.iter().map(|pd| &**pd).filter(|pd| !done(pd)).collect()
    }

    /// Judges the run, which ended so.
    pub fn verdict(&self, end: &End) -> Verdict {
        let mut complaints = vec![];
        let faulting = || self.faulting.as_ref().map(|pd| format!("PD '{pd}' stopped"));
        if let Some(line) = self.stopped.clone().or_else(faulting) {
            complaints.push(format!("the run cannot go on after: {line}"));
        }
        let ending = match end {
            End::Over => None,
            End::TimedOut(after) => Some(format!("the run took longer than {} s", after.as_secs())),
            End::Exited(status) => Some(format!("QEMU ended by itself ({status})")),
        };
        let missing = self.missing();
        if let Some(ending) = ending {
            let last = if self.last_line.is_empty() { "there was none" } else { &*self.last_line };
            complaints.push(format!("{ending}; waiting for: {}; last line: {last}", missing.join(", ")));
        }
        for (pd, tally) in &self.tallies {
            let seen = tally.passed + tally.failed;
            match tally.announced {
                Some(announced) if announced != seen => {
                    complaints.push(format!("{pd} announced {announced} checks, but {seen} were seen"));
                }
                None if missing.is_empty() => {
                    complaints.push(format!("{pd} had {seen} checks, but did not say that it was done"));
                }
                _ => {}
            }
        }
        for pd in &self.awaited {
            if self.tallies.get(pd).is_some_and(|tally| tally.announced == Some(0)) {
                complaints.push(format!("{pd} is done without a single check"));
            }
        }
        let passed = self.tallies.values().map(|tally| tally.passed).sum();
        let failed: u64 = self.tallies.values().map(|tally| tally.failed).sum();
        if passed + failed == 0 && complaints.is_empty() {
            complaints.push("there was not a single check".into());
        }
        Verdict { passed, failed: failed + complaints.len() as u64, complaints }
    }
}

impl Verdict {
    /// Adds a complaint.
    pub fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
        self.failed += 1;
    }

    /// Adds what another run amounts to.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.complaints.extend(other.complaints);
    }

    /// Prints the complaints, then the counts as the last line; whether all is well.
    pub fn print(&self) -> bool {
        for complaint in &self.complaints {
            println!("FAIL run: {complaint}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `lines` to a judge that waits for drivers a and b; its verdict, and how many lines it wanted.
    fn judge(lines: &[&str], end: End) -> (Verdict, usize) {
        let mut judge = Judge::new(&["a".into(), "b".into()]);
        let over = lines.iter().position(|line| judge.line(line) == Progress::Over);
        (judge.verdict(&end), over.map_or(lines.len(), |index| index + 1))
    }

    const GOOD: [&str; 6] =
        ["iommu: up", "ok a: one", "ok b: one", "ok a: two", "done a: 2 checks", "done b: 1 checks"];

    #[test]
    fn a_good_run() {
        let (verdict, lines) = judge(&GOOD, End::Over);
        assert_eq!((verdict.passed, verdict.failed, lines), (3, 0, 6));
        assert!(verdict.complaints.is_empty());
    }

    #[test]
    fn line_ends_of_a_terminal_do_not_matter() {
        let lines = GOOD.map(|line| format!("{line}\r\n"));
        let (verdict, _) = judge(&lines.each_ref().map(|line| &**line), End::Over);
        assert_eq!((verdict.passed, verdict.failed), (3, 0));
    }

    #[test]
    fn a_failed_check_fails_the_run() {
        let (verdict, _) =
            judge(&["ok a: x", "FAIL a: y", "done a: 2 checks", "ok b: z", "done b: 1 checks"], End::Over);
        assert_eq!((verdict.passed, verdict.failed), (2, 1));
        assert!(verdict.complaints.is_empty());
    }

    #[test]
    fn a_lost_check_fails_the_run() {
        let (verdict, _) = judge(&["ok a: x", "done a: 2 checks", "ok b: z", "done b: 1 checks"], End::Over);
        assert_eq!((verdict.passed, verdict.failed), (2, 1));
        assert_eq!(verdict.complaints, ["a announced 2 checks, but 1 were seen"]);
    }

    #[test]
    fn a_driver_without_checks_fails_the_run() {
        let (verdict, _) = judge(&["ok a: x", "done a: 1 checks", "done b: 0 checks"], End::Over);
        assert_eq!((verdict.passed, verdict.failed), (1, 1));
        assert_eq!(verdict.complaints, ["b is done without a single check"]);
    }

    #[test]
    fn nobody_to_wait_for_fails_the_run() {
        let mut judge = Judge::new(&[]);
        assert_eq!(judge.line("hello"), Progress::Over);
        assert_eq!(judge.verdict(&End::Over).complaints, ["there was not a single check"]);
    }

    #[test]
    fn somebody_else_must_be_done_too() {
        let mut lines = vec!["ok c: x"];
        lines.extend(GOOD);
        let (verdict, _) = judge(&lines, End::Over);
        assert_eq!(verdict.complaints, ["c had 1 checks, but did not say that it was done"]);
        assert_eq!((verdict.passed, verdict.failed), (4, 1));
    }

    #[test]
    fn a_stopped_domain_ends_the_run() {
        let stop = "kernel: PD 'iommu_server' stopped: data abort at 0x0";
        let (verdict, lines) = judge(&["ok a: x", stop, "ok a: y"], End::Over);
        assert_eq!((verdict.passed, verdict.failed, lines), (1, 1, 2));
        assert_eq!(verdict.complaints, [format!("the run cannot go on after: {stop}")]);
    }

    #[test]
    fn a_fault_that_the_monitor_reports_ends_the_run() {
        let lines = [
            "ok a: x",
            "ok b: MON|ERROR: received message 0x00000006  badge: 0x0000000000000001  tcb cap: 0x000000000000004a",
            "MON|ERROR: faulting PD: b",
            "Registers: ",
            "pc : 0x0000000000200ff4",
            "MON|ERROR: VMFault: ip=0x0000000000200ff4  fault_addr=0x0000000000000000",
            "ok a: y",
        ];
        let (verdict, wanted) = judge(&lines, End::Over);
        assert_eq!((verdict.passed, verdict.failed, wanted), (1, 1, 6));
        let fault = "PD 'b' stopped: VMFault: ip=0x0000000000200ff4  fault_addr=0x0000000000000000";
        assert_eq!(verdict.complaints, [format!("the run cannot go on after: {fault}")]);
    }

    #[test]
    fn a_fault_whose_report_is_cut_short_fails_the_run() {
        let (verdict, _) = judge(&["MON|ERROR: faulting PD: b"], End::Exited("status".into()));
        assert_eq!(verdict.complaints[0], "the run cannot go on after: PD 'b' stopped");
    }

    #[test]
    fn what_microkit_and_sel4_end_with_ends_the_run() {
        for line in [
            "MON|ERROR: could not bind scheduling context to notification object",
            "LDR|ERROR: invalid magic",
            "halting...",
        ] {
            let (verdict, wanted) = judge(&[line, "ok a: x"], End::Over);
            assert_eq!((verdict.failed, wanted), (1, 1), "{line}");
            assert_eq!(verdict.complaints, [format!("the run cannot go on after: {line}")]);
        }
        let (_, wanted) = judge(&["MON|INFO: PD 'a' is now passive!", "ok a: x"], End::Over);
        assert_eq!(wanted, 2);
    }

    #[test]
    fn a_panic_ends_the_run() {
        let (verdict, lines) = judge(&["b panicked at src/main.rs:1:1", "ok a: y"], End::Over);
        assert_eq!((verdict.failed, lines), (1, 1));
    }

    #[test]
    fn a_timeout_says_what_was_waited_for() {
        let (verdict, _) =
            judge(&["done a: 0 checks", "b: thinking"], End::TimedOut(Duration::from_secs(60)));
        assert_eq!(
            verdict.complaints[0],
            "the run took longer than 60 s; waiting for: b; last line: b: thinking"
        );
        let (silent, _) = judge(&[], End::TimedOut(Duration::from_secs(1)));
        assert_eq!(
            silent.complaints,
            ["the run took longer than 1 s; waiting for: a, b; last line: there was none"]
        );
        assert_eq!((silent.passed, silent.failed), (0, 1));
    }

    #[test]
    fn an_early_end_fails_the_run() {
        let (verdict, _) = judge(&GOOD[..4], End::Exited("exit status: 1".into()));
        assert_eq!((verdict.passed, verdict.failed), (3, 1));
        assert!(
            verdict.complaints[0].starts_with("QEMU ended by itself (exit status: 1); waiting for: a, b;")
        );
    }

    #[test]
    fn what_only_looks_like_a_check_is_none() {
        let mut judge = Judge::new(&["a".into()]);
        for line in
            ["okay a: x", "ok a", "done a: many checks", "done a: 3", " ok a: x", "kernel: PD 'a' started"]
        {
            assert_eq!(judge.line(line), Progress::Running, "{line}");
        }
        let verdict = judge.verdict(&End::TimedOut(Duration::ZERO));
        assert_eq!((verdict.passed, verdict.failed), (0, 1));
    }
}
