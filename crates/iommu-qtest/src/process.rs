//! A running QEMU and the protocol spoken with it.

use std::{
    cell::RefCell,
    fmt, fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::Machine;

/// The longest wait for QEMU to start and for each of its replies.
pub const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// How often a starting QEMU is looked at.
const START_STEP: Duration = Duration::from_millis(5);

/// Why QEMU cannot be driven.
#[derive(Debug)]
pub enum Error {
    /// The program is not installed.
    NotInstalled {
        /// The program.
        program: String,
        /// What to do about it.
        packages: &'static str,
    },
    /// The host refused something: a process, a directory, a socket.
    Host(io::Error),
    /// QEMU ended or went silent; what it was asked, and what it said on its error output.
    Lost {
        /// The command that had no answer.
        command: String,
        /// The error.
        error: io::Error,
        /// QEMU's error output.
        output: String,
    },
    /// QEMU refused a command.
    Refused {
        /// The command.
        command: String,
        /// The reply.
        reply: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled { program, packages } => write!(f, "{program} is not installed: {packages}"),
            Self::Host(error) => write!(f, "cannot start QEMU: {error}"),
            Self::Lost { command, error, output } => {
                write!(f, "QEMU gave no answer to `{command}`: {error}; its error output: {output:?}")
            }
            Self::Refused { command, reply } => write!(f, "QEMU answered `{reply}` to `{command}`"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

/// A directory of this process's own, gone when dropped.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("iommu-qtest-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Left-over files in a temporary directory harm nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A child process, killed when dropped.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Debug)]
struct Connection {
    stream: BufReader<UnixStream>,
    line: String,
    // Dropped in this order.
    _process: Process,
    directory: Directory,
}

impl Connection {
    fn start(machine: &Machine) -> Result<Self, Error> {
        let directory = Directory::new()?;
        let socket = directory.0.join("qtest");
        let firmware = directory.0.join("firmware");
        fs::write(&firmware, &machine.firmware)?;
        let listener = UnixListener::bind(&socket)?;
        listener.set_nonblocking(true)?;
        let errors = fs::File::create(directory.0.join("errors"))?;
        let child = Command::new(&machine.program)
            .args(&machine.arguments)
            .args(["-nodefaults", "-display", "none", "-accel", "tcg", "-icount", "shift=0,sleep=off"])
            .arg("-bios")
            .arg(&firmware)
            .arg("-qtest")
            .arg(format!("unix:{}", socket.display()))
            .args(["-qtest-log", "none"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn();
        let mut process = match child {
            Ok(child) => Process(child),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotInstalled {
                    program: machine.program.clone(),
                    packages: machine.packages,
                });
            }
            Err(error) => return Err(error.into()),
        };
        let started = Instant::now();
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
                Err(_) => {}
            }
            let ended = process.0.try_wait()?.map(|status| format!("it ended with {status}"));
            let late = (started.elapsed() > REPLY_LIMIT).then(|| "it did not start in time".to_owned());
            if let Some(why) = ended.or(late) {
                let command = format!("{} {}", machine.program, machine.arguments.join(" "));
                let output = error_output(&directory);
                return Err(Error::Lost { command, error: io::Error::other(why), output });
            }
            thread::sleep(START_STEP);
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(REPLY_LIMIT))?;
        stream.set_write_timeout(Some(REPLY_LIMIT))?;
        let stream = BufReader::new(stream);
        let mut started = Self { stream, line: String::new(), _process: process, directory };
        // QEMU connects before it looks at most of its arguments, and answers after.
        started.command("endianness")?;
        for command in &machine.preparation {
            started.command(command)?;
        }
        Ok(started)
    }

    /// Sends a command; what follows `OK` in the answer.
    fn command(&mut self, command: &str) -> Result<&str, Error> {
        if let Err(error) = self.exchange(command) {
            let output = error_output(&self.directory);
            return Err(Error::Lost { command: command.into(), error, output });
        }
        match self.line.trim_end().strip_prefix("OK") {
            Some(rest) => Ok(rest.trim_start()),
            None => Err(Error::Refused { command: command.into(), reply: self.line.trim_end().to_owned() }),
        }
    }

    fn exchange(&mut self, command: &str) -> io::Result<()> {
        let mut stream = self.stream.get_ref();
        stream.write_all(format!("{command}\n").as_bytes())?;
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
        }
        Ok(())
    }
}

fn error_output(directory: &Directory) -> String {
    fs::read_to_string(directory.0.join("errors")).unwrap_or_default()
}

/// A running QEMU. Clones share it; it ends with the last one.
///
/// Accesses panic, with what was asked and what QEMU said, when QEMU does not answer: there is no test to go
/// on with.
#[derive(Debug, Clone)]
pub struct Qemu(Rc<RefCell<Connection>>);

impl Qemu {
    /// Starts a machine.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::Host`], [`Error::Lost`] when QEMU ends at once, as for an argument
    /// that it does not know.
    pub fn start(machine: &Machine) -> Result<Self, Error> {
        Ok(Self(Rc::new(RefCell::new(Connection::start(machine)?))))
    }

    /// Sends one line of the protocol; what follows `OK` in the answer.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::Refused`].
    pub fn command(&self, command: &str) -> Result<String, Error> {
        self.0.borrow_mut().command(command).map(str::to_owned)
    }

    fn number(&self, command: &str) -> u64 {
        let mut connection = self.0.borrow_mut();
        let answer = connection.command(command).unwrap_or_else(|error| panic!("{error}"));
        let digits = answer.trim_start_matches("0x");
        u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("`{command}` answered {answer:?}"))
    }

    fn order(&self, command: &str) {
        if let Err(error) = self.0.borrow_mut().command(command) {
            panic!("{error}");
        }
    }

    /// Reads 32 bits at a physical address.
    pub fn read32(&self, at: u64) -> u32 {
        self.number(&format!("readl {at:#x}")) as u32
    }

    /// Writes 32 bits at a physical address.
    pub fn write32(&self, at: u64, value: u32) {
        self.order(&format!("writel {at:#x} {value:#x}"));
    }

    /// Reads 64 bits at a physical address.
    pub fn read64(&self, at: u64) -> u64 {
        self.number(&format!("readq {at:#x}"))
    }

    /// Writes 64 bits at a physical address.
    pub fn write64(&self, at: u64, value: u64) {
        self.order(&format!("writeq {at:#x} {value:#x}"));
    }

    /// Reads bytes from a physical address.
    pub fn read(&self, at: u64, bytes: usize) -> Vec<u8> {
        if bytes == 0 {
            return Vec::new();
        }
        let command = format!("read {at:#x} {bytes:#x}");
        let mut connection = self.0.borrow_mut();
        let answer = connection.command(&command).unwrap_or_else(|error| panic!("{error}"));
        let digits = answer.trim_start_matches("0x").as_bytes();
        let parsed: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        parsed.filter(|read| read.len() == bytes).unwrap_or_else(|| panic!("`{command}` answered {answer:?}"))
    }

    /// Writes bytes from a physical address on.
    pub fn write(&self, at: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        self.order(&format!("write {at:#x} {:#x} 0x{digits}", data.len()));
    }

    /// Fills bytes from a physical address on.
    pub fn fill(&self, at: u64, bytes: u64, value: u8) {
        if bytes != 0 {
            self.order(&format!("memset {at:#x} {bytes:#x} {value:#x}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_what_to_install() {
        let machine = Machine { program: "qemu-system-nowhere".into(), ..Machine::arm_virt() };
        let error = Qemu::start(&machine).unwrap_err().to_string();
        assert!(error.contains("qemu-system-nowhere is not installed"), "{error}");
        assert!(error.contains("qemu-system-arm"), "{error}");
    }

    #[test]
    fn a_wrong_argument_is_told_in_qemus_words() {
        let error = Qemu::start(&Machine::arm_virt().with("-device no-such-device")).unwrap_err();
        assert!(error.to_string().contains("no-such-device' is not a valid device"), "{error}");
    }

    #[test]
    fn memory_and_registers_are_reached_and_the_process_ends() {
        let qemu = Qemu::start(&Machine::arm_virt()).unwrap_or_else(|error| panic!("{error}"));
        qemu.write64(0x4000_0000, 0x0123_4567_89ab_cdef);
        assert_eq!(qemu.read(0x4000_0000, 4), [0xef, 0xcd, 0xab, 0x89]);
        qemu.write(0x4000_0004, &[1, 2, 3, 4]);
        assert_eq!(qemu.read64(0x4000_0000), 0x0403_0201_89ab_cdef);
        qemu.fill(0x4000_0001, 2, 0xff);
        assert_eq!(qemu.read32(0x4000_0000), 0x89ff_ffef);
        assert_ne!(qemu.read32(0x0905_0000), 0, "SMMU_IDR0");
        assert!(matches!(qemu.command("nonsense"), Err(Error::Refused { .. })));

        let directory = qemu.0.borrow().directory.0.clone();
        assert!(directory.exists());
        let copy = qemu.clone();
        drop(qemu);
        assert_eq!(copy.read32(0x4000_0000), 0x89ff_ffef, "a clone keeps it running");
        drop(copy);
        assert!(!directory.exists());
    }
}
