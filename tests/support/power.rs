//! Power cuts without a switch: an ext4 of its own that is shut down under load.
//!
//! `EXT4_IOC_SHUTDOWN` with the flag for "without flushing the log" stops every write to the device
//! at once; what had not been synced is gone, as after a cut. The file system is a file behind a
//! loop device, so it needs root. Reference: ext4(5), and Linux `fs/ext4/ioctl.c`.
//!
//! A power cut stops the processor with the disk, the ioctl does not: so the broker is stopped
//! first, in the middle of whatever it does. Without that, Linux 6.18 answered one `fdatasync` in
//! fifty cuts with success although its bytes were gone: one that was under way when the shutdown
//! came, and whose extents could not be converted any more. No board ever runs on to hear that.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::broker::{Folder, Setup};
use crate::peers;

/// Bytes of the file system; the file is sparse.
const IMAGE_BYTES: u64 = 2 << 30;

/// `EXT4_IOC_SHUTDOWN`, flag 2 (no flush of the log), by the one scripting language that every
/// Debian has: a call of `ioctl` is unsafe in Rust, and these tests are without.
const SHUTDOWN: &str = "open(my $d, '<', $ARGV[0]) or die $!; my $flag = pack('I', 2); \
     ioctl($d, 0x8004587d, $flag) or die $!;";

/// How long a process may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// A mounted file system whose power can be cut.
#[derive(Debug)]
pub struct Device {
    folder: Folder,
}

impl Device {
    /// Makes and mounts one; `None`, said aloud, where that cannot be done.
    pub fn new() -> Option<Self> {
        Self::with(IMAGE_BYTES, &[])
    }

    /// One of another size, or made with options of `mkfs.ext4`.
    pub fn with(bytes: u64, options: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            peers::missing("root (to mount a loop device)", "run the test as root");
            return None;
        }
        for (program, harmless) in [("mkfs.ext4", "-V"), ("losetup", "-V"), ("perl", "-v")] {
            if !peers::has_program(program, harmless) {
                peers::missing(program, "apt-get install e2fsprogs mount perl-base");
                return None;
            }
        }
        let device = Self { folder: Folder::new() };
        let image = File::create(device.image()).expect("the image can be made");
        image.set_len(bytes).expect("a sparse file has any length");
        let mut mkfs = Command::new("mkfs.ext4");
        run(mkfs.args(["-q", "-F"]).args(options).arg(device.image())).expect("mkfs.ext4");
        std::fs::create_dir(device.path()).expect("the mount point can be made");
        if let Err(words) = device.mount() {
            peers::missing("a loop device", &format!("allow mount -o loop ({words})"));
            return None;
        }
        Some(device)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.join("mounted")
    }

    /// Cuts the power of it and of the process that uses it: neither does anything any more.
    /// Whoever calls must still reap the process.
    pub fn cut(&self, process: u32) {
        let number = i32::try_from(process).expect("process numbers are small");
        let pid = Pid::from_raw(number).expect("a process has a number");
        kill_process(pid, Signal::STOP).expect("our child can be stopped");
        let end = Instant::now() + STOP_PATIENCE;
        while !is_stopped(process) {
            assert!(Instant::now() < end, "a process that is told to stop stops");
            thread::yield_now();
        }
        self.fail();
    }

    /// Everything that is asked of it fails from now on, as of a card that died; whoever uses it runs
    /// on.
    pub fn fail(&self) {
        run(Command::new("perl").args(["-e", SHUTDOWN]).arg(self.path())).expect("shut down");
    }

    /// Gives it power again; all who had files open on it must be gone.
    pub fn restore(&self) {
        self.unmount();
        self.mount().expect("it mounts again");
    }

    /// Allows writing to it, or no longer.
    pub fn make_writable(&self, is_writable: bool) {
        let how = if is_writable { "remount,rw" } else { "remount,ro" };
        run(Command::new("mount").args(["-o", how]).arg(self.path())).expect("remounted");
    }

    fn image(&self) -> PathBuf {
        self.folder.join("image")
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.path()))
    }

    fn unmount(&self) {
        let mut last = String::new();
        // A killed process may hold its files for a moment more.
        for _ in 0..100 {
            match run(Command::new("umount").arg(self.path())) {
                Ok(()) => return,
                Err(words) => last = words,
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("it does not unmount: {last}");
    }
}

/// Whether no thread of a process runs: each is stopped, or in a system call that it will not
/// return from (state D), or gone.
fn is_stopped(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it is our child");
    let mut states = threads.flatten().map(|thread| {
        let line = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name before it is in parentheses and may hold anything.
        line.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('X')
    });
    states.all(|state| !matches!(state, 'R' | 'S'))
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("-l").arg(self.path()));
    }
}

/// A broker whose log dir is on the device, and whose words are not: they outlive the cut.
pub fn setup(device: &Device) -> Setup {
    Setup::new(&data(device)).words_at(&device.folder.join("broker.log"))
}

/// A log dir on the device.
pub fn data(device: &Device) -> PathBuf {
    device.path().join("data")
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Whether a path lies on a device of its own, so that a test does not shut down the machine's disk.
pub fn is_mounted_apart(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    device(path) != path.parent().and_then(device)
}
